"""The process that services and commands of tests are forked from (`forked`). It has their libraries loaded, once for all test
processes of a run, and ends when the last of them has disconnected.
"""

import ctypes
import fcntl
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PRELOADED = (
    "sqlalchemy.dialects.postgresql.psycopg",
    "celery.app.trace",
    "celery.apps.worker",
    "celery.worker.consumer",
    "celery.concurrency.solo",
    "kombu.transport.redis",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.loops.uvloop",
    "thorax.commands.cli",
    "auth_service.__main__",
    "aggregator.__main__",
    "aggregator.sweeper",
    "model_worker.__main__",
    "gateway.dimse.__main__",
    "gateway.__main__",
)
NUMBER = struct.Struct("i")  # what is told of a process: its id, and when it has ended its exit status
MESSAGE = 1 << 18  # bytes
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded before any fork


class Server:
    """Forks what test processes ask for."""

    def __init__(self, listener: socket.socket, lock: Path) -> None:
        self._listener, self._lock = listener, lock
        self._clients: set[socket.socket] = set()
        self._running: dict[
            int, tuple[int, int, socket.socket]
        ] = {}  # by pidfd: process id, whom to tell, who asked
        self._watch = selectors.DefaultSelector()
        self._watch.register(listener, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any] | None:
        """None when nobody is left. In a process that was forked: what it is to run."""
        while True:
            for key, _ in self._watch.select():
                if key.fileobj is self._listener:
                    client, _ = self._listener.accept()
                    self._clients.add(client)
                    self._watch.register(client, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    if asked := self._asked(key.fileobj):
                        return asked
                else:
                    self._ended(key.fd)
            if not self._clients and self._unwanted():
                return None

    def _asked(self, client: socket.socket) -> dict[str, Any] | None:
        """Fork for a test process, or forget one that has ended, with what it had started."""
        message, (*tell,), _, _ = socket.recv_fds(client, MESSAGE, 1)
        if not message:
            self._watch.unregister(client)
            self._clients.discard(client)
            client.close()
            for pid, _, asker in self._running.values():
                if asker is client:
                    os.kill(pid, signal.SIGKILL)
            return None
        if not (pid := os.fork()):
            self._close(*tell)
            return dict(json.loads(message))
        ends = os.pidfd_open(pid)
        self._running[ends] = (pid, tell[0], client)
        self._watch.register(ends, selectors.EVENT_READ)
        self._tell(tell[0], pid)
        return None

    def _ended(self, ends: int) -> None:
        pid, tell, _ = self._running.pop(ends)
        self._watch.unregister(ends)
        self._tell(tell, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os.close(tell)
        os.close(ends)

    def _tell(self, where: int, number: int) -> None:
        with suppress(BrokenPipeError):  # a test process that has ended, or does not care
            os.write(where, NUMBER.pack(number))

    def _unwanted(self) -> bool:
        """Whether nobody connects any more; from then on nobody can."""
        with suppress(FileNotFoundError), self._lock.open("w") as lock:  # the folder may be gone, too
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._watch.select(0):
                return False
            Path(self._listener.getsockname()).unlink()
        return True

    def _close(self, *others: int) -> None:
        """In the child: nothing of the server's stays open."""
        self._watch.close()
        for one in (self._listener, *self._clients):
            one.close()
        for ends, (_, tell, _) in self._running.items():
            os.close(ends)
            os.close(tell)
        for fd in others:
            os.close(fd)


def _become(server: int, asked: dict[str, Any]) -> None:
    """In the child: what lies between fork and exec elsewhere, and then `main`."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    for place, descriptor in ((asked["stdout"], 1), (asked["stderr"], 2)):
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.argv = [asked["module"], *asked["words"]]
    importlib.import_module(_entry(asked["module"])).main()


def _entry(module: str) -> str:
    """Where the `main` of `python -m MODULE` is."""
    spec = find_spec(module)
    assert spec is not None, module
    return f"{module}.__main__" if spec.submodule_search_locations else module


def main(listener: int, lock: str) -> None:
    """Serve on this descriptor; whoever connects holds the lock."""
    for name in _PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    server = os.getpid()
    if asked := Server(socket.socket(fileno=listener), Path(lock)).serve():
        _become(server, asked)
