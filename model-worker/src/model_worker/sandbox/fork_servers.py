"""The worker's fork servers, a process each: pydicom makes one three times as large, and a fork costs by the page."""

import array
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress

from thorax.image_headers import DICOM

_RASTER = "raster"  # what is not DICOM


class ForkServer:
    """The running `model_worker.sandbox.server`. It ends when our end of the control socket closes, however we die."""

    def __init__(self, kind: str) -> None:
        self.kind, self.pid, self._ready = kind, os.getpid(), False
        self._control, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with childs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "model_worker.sandbox.server", str(childs.fileno()), kind],
                pass_fds=[childs.fileno()],
                stdin=subprocess.DEVNULL,
                env=_environment(),
            )

    def wait(self) -> None:
        """Wait until it says that its decoders are loaded."""
        if not self._ready and not self._control.recv(16):
            raise ConnectionResetError
        self._ready = True

    def alive(self) -> bool:
        return self.pid == os.getpid() and self._process.poll() is None

    def outlives_its_child(self) -> bool:
        """Whether a child that ended without an answer did so alone: no file can kill the server as well."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)
        return self._process.poll() is None

    def fork(self, limits: dict[str, float], upload: int, connection: socket.socket) -> None:
        """Have a child forked that reads files from `upload` and answers on `connection`."""
        self.wait()
        fds = array.array("i", [upload, connection.fileno()])
        self._control.sendmsg([json.dumps(limits).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])

    def stop(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


_lock = threading.Lock()
_running: dict[str, ForkServer] = {}


def server_of(media_type: str) -> ForkServer:
    """This process's fork server for such files; a new one after a fork of ours, or when somebody killed it."""
    kind = DICOM if media_type == DICOM else _RASTER
    with _lock:
        if kind not in _running or not _running[kind].alive():
            _running[kind] = ForkServer(kind)
        return _running[kind]


def _environment() -> dict[str, str]:
    """No secrets for a process that reads hostile files, and no threads: a fork copies only one.

    Large pages, and arrays from the heap, where what one leaves another takes: a child faults a third of the pages in.
    """
    kept = {
        k: os.environ[k] for k in ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV") if k in os.environ
    }
    tunables = {"hugetlb": 1, "mmap_threshold": 2**26, "trim_threshold": 2**26}
    return {
        **kept,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "OPENCV_LOG_LEVEL": "SILENT",
        "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in tunables.items()),
    }
