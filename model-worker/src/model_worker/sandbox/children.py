"""The children that decode. One is kept for a few more files of its tenant while nothing about it is unusual (docs/adr/0020)."""

import os
import socket
import struct
import threading
import time
from uuid import UUID

from model_worker.sandbox.fork_servers import ForkServer
from model_worker.sandbox.server import CLEAN

FILES = 16  # that a kept child decodes, at most
ROOM = 64 * 2**20  # their bytes
KEPT_S = 10.0
READY_S = 1.0  # after which a kept child that has not said that it is clean is replaced
KEPT = 4  # children of as many tenants


class Child:
    """A child of a fork server, which decodes one file, or with `shared` some; `decoded`: how many so far.

    ConnectionError without a server.
    """

    def __init__(self, server: ForkServer, timeout_s: float, size: int, *, shared: bool) -> None:
        self.server, self.decoded = server, 0
        self._files, self._room = (FILES, ROOM) if shared else (1, size)
        lives_s = timeout_s + (KEPT_S if shared else 0)
        self._kept_until = time.monotonic() + KEPT_S
        self._upload = os.memfd_create("upload")
        self.connection, childs = socket.socketpair()
        limits = {"files": self._files, "room": self._room, "lives_s": lives_s}
        try:
            with childs:
                server.fork(limits, self._upload, childs)
        except BaseException:
            self.close()
            raise

    def send(self, request: bytes, data: bytes) -> None:
        """Give it a file; its answer follows on `connection`."""
        os.ftruncate(self._upload, 0)
        with open(self._upload, "wb", closefd=False) as file:
            file.seek(0)  # after the file before
            file.write(data)
        self.connection.sendall(struct.pack(">I", len(request)) + request)
        self.decoded, self._room = self.decoded + 1, self._room - len(data)

    def takes_another(self) -> bool:
        """Whether there is room for one more file, in number, bytes and time."""
        return self.decoded < self._files and self._room > 0 and time.monotonic() < self._kept_until

    def ready(self) -> bool:
        """Whether it has said that the last file left nothing behind."""
        self.connection.settimeout(READY_S)
        try:
            return self.connection.recv(1) == CLEAN
        except OSError:
            return False

    def close(self) -> None:
        """Let it end."""
        self.connection.close()
        os.close(self._upload)


_lock = threading.Lock()
_kept: dict[tuple[str, UUID | None], Child] = {}  # by kind and tenant, the one used last at the end


def child_for(server: ForkServer, tenant: UUID | None, timeout_s: float, size: int) -> Child:
    """A child for a file of so many bytes: the one that was kept for its tenant, or a new one."""
    shared = tenant is not None and size < ROOM
    return (_kept_for(server, tenant) if shared else None) or Child(server, timeout_s, size, shared=shared)


def _kept_for(server: ForkServer, tenant: UUID | None) -> Child | None:
    with _lock:
        child = _kept.pop((server.kind, tenant), None)
    if child and child.server is server and child.takes_another() and child.ready():
        return child
    if child:
        child.close()
    return None


def keep(child: Child, tenant: UUID | None, *, usual: bool) -> None:
    """Keep a child for its tenant, or close it; the tenants that sent nothing for the longest time lose theirs."""
    key, dropped = (child.server.kind, tenant), [child]
    if usual and child.takes_another():
        with _lock:
            dropped = [_kept.pop(key)] if key in _kept else []
            _kept[key] = child
            dropped += [_kept.pop(next(iter(_kept))) for _ in range(len(_kept) - KEPT)]
    for other in dropped:
        other.close()
