"""Services and commands as processes that are forked from one that has their libraries loaded: importing them costs seconds of
CPU each time. A process of its own in all else: signals, memory, environment, output. `python -m` is tried by `make run`'s tests.
"""

import ctypes
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.factories.patience import PATIENCE_S

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded before any fork
_context = get_context("forkserver")


def _entry(module: str) -> str:
    """Where the `main` of `python -m MODULE` is."""
    spec = find_spec(module)
    assert spec is not None, module
    return f"{module}.__main__" if spec.submodule_search_locations else module


_context.set_forkserver_preload(
    [
        __name__,
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
    ]
)


class Forked:
    """A running process, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        module: str,
        *words: str,
        env: Mapping[str, str],
        stdout: Path,
        stderr: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Run `python -m MODULE WORDS`; what it says is added to the files."""
        self._module = module
        places = (stdout, stderr or stdout, cwd or Path.cwd())
        self._process = _context.Process(target=_run, args=(module, words, dict(env), *map(str, places)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit status if it has ended, negative for a signal."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired(self._module, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended."""
        with suppress(ProcessLookupError):  # between the look and the signal
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def ended(
    module: str, *words: str, env: Mapping[str, str], cwd: Path | None = None, timeout: float = PATIENCE_S
) -> "subprocess.CompletedProcess[str]":
    """What `python -m MODULE WORDS` says, once it has ended."""
    with TemporaryDirectory() as folder:
        said, complained = Path(folder, "out"), Path(folder, "err")
        process = Forked(module, *words, env=env, stdout=said, stderr=complained, cwd=cwd)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess([module, *words], status, said.read_text(), complained.read_text())


def _run(
    module: str, words: tuple[str, ...], environment: dict[str, str], stdout: str, stderr: str, cwd: str
) -> None:
    """In the child: what lies between fork and exec elsewhere, and then `main`."""
    os.setsid()
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the fork server ends with the tests
    for place, descriptor in ((stdout, 1), (stderr, 2)):
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = [module, *words]
    importlib.import_module(_entry(module)).main()
