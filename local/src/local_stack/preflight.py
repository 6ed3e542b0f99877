"""Checks before anything starts, so that an obstacle is one clear sentence and not a traceback."""

import errno
import fcntl
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_stack.process import StartError
from local_stack.server import HOST
from local_stack.settings import LocalSettings
from thorax.bundle import load_bundle
from thorax.errors import Code, CodedError

NEEDED_MB = 300


def check(settings: LocalSettings) -> None:
    """Raises StartError or CodedError when the platform could not start, or would soon fail."""
    _bundle_is_there(settings.bundle)
    _port_is_free(settings.port)
    free = shutil.disk_usage(settings.state).free // 1_000_000
    if free < NEEDED_MB:
        where = settings.state.absolute()
        raise StartError(f"The disk of {where} is full: {free} MB are free, {NEEDED_MB} MB are needed.")


def runs(state: Path) -> bool:
    """Whether a platform runs on this state folder, or is just starting."""
    try:
        with only_one(state):
            return False
    except StartError:
        return True


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the lock of the state folder. Raises StartError when another supervisor holds it. A crash releases it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            sentence = f"Thorax already runs here: another process uses {state.absolute()}."
            raise StartError(sentence) from error
        yield


def _bundle_is_there(folder: Path) -> None:
    try:
        load_bundle(folder)
    except CodedError as error:
        if error.code is Code.BUNDLE_MISSING:
            sentence = f"No model bundle is in {folder.absolute()}; name the folder of one by BUNDLE=."
            raise StartError(sentence) from error
        raise


def _port_is_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except PermissionError as error:
            raise StartError(f"Port {port} needs root. Choose one above 1023 with PORT=.") from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            sentence = f"Port {port} is taken by another program; choose another one by PORT=."
            raise StartError(sentence) from error
