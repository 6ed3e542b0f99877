"""The fork server behind `decode`: decoders loaded once, then one limited child per file.

`multiprocessing`'s own forkserver imports the worker's main module again in every child, and a child of it
outlives a worker that is killed. Here both ends are ours: the server ends with the worker's socket, the child
with the server (PR_SET_PDEATHSIG), and an alarm that only the kernel handles ends a decoder that never returns.
"""

import ctypes
import gc
import json
import math
import os
import resource
import signal
import socket
import struct
import sys
import warnings
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from model_worker.sandbox.seccomp import confine
from thorax.image_headers import DICOM

MEMORY = 512 * 2**20
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NO_FILES = 16

_libc = ctypes.CDLL(None, use_errno=True)


def serve(control: socket.socket) -> None:
    """Fork one child per request until the worker's end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker handles Ctrl-C
    signal.signal(signal.SIGCHLD, _reap)
    me = os.getpid()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    memory = pages * resource.getpagesize() + MEMORY
    control.send(b"ready")
    while True:
        request, fds, _, _ = socket.recv_fds(control, 65536, 2)
        if not request:
            return
        if os.fork() == 0:
            control.close()
            _child(me, memory, json.loads(request), *fds)
        for fd in fds:
            os.close(fd)


def _reap(*_: object) -> None:
    """Take the ended children's status, so that their CPU time counts as ours."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _child(server: int, memory: int, request: dict[str, Any], upload: int, answer: int) -> None:
    """Decode, answer, end; never returns."""
    try:
        data = os.pread(upload, os.fstat(upload).st_size, 0)
        _limit(server, float(request["timeout_s"]), memory + len(data))
        with socket.socket(fileno=answer) as connection:
            for part in _answer(data, request):
                connection.sendall(part)
    finally:
        os._exit(0)


def _limit(server: int, timeout_s: float, memory: int) -> None:
    """From here on, nothing the file makes a decoder do can last, grow, be written or reach anything."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, math.ceil(timeout_s) + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, NO_FILES),
    ):
        resource.setrlimit(limit, (value, value))
    confine()


def _answer(data: bytes, request: dict[str, Any]) -> list[bytes]:
    """The picture, or a code and a sentence; never an exception's own text, which may quote the file."""
    from model_worker.decoding.images import canonical, png, read_image, shown
    from thorax.errors import Code, CodedError
    from thorax.image_headers import unreadable

    try:
        if "inputs" not in request:
            from model_worker.decoding.dicom import pixel_digest

            return _sized(pixel_digest(data).encode())
        inputs: list[Any] = [SimpleNamespace(**spec) for spec in request["inputs"]]
        image = read_image(data, request["media_type"], force=request["force"])
        made = [canonical(image.grey, spec).tobytes() for spec in inputs]
        display = png(shown(image.grey))
    except CodedError as error:
        coded = error
    except Exception as error:
        coded = (
            CodedError(Code.DECODE_LIMIT, "Decoding the image needed too much memory.")
            if _is_out_of_memory(error)
            else unreadable("The image is truncated, damaged or of a kind that can't be decoded.")
        )
    else:
        attributes = asdict(image.dicom_attributes) if image.dicom_attributes else None
        header = {
            "rows": image.rows,
            "columns": image.columns,
            "orientation": image.orientation,
            "warnings": image.warnings,
            "dicom_attributes": attributes,
        }
        return [*_sized(json.dumps(header).encode()), *_sized(display), *made]
    return _sized(json.dumps({"code": coded.code, "detail": coded.detail}).encode())


def _sized(part: bytes) -> list[bytes]:
    return [struct.pack(">I", len(part)), part]


def _is_out_of_memory(error: BaseException | None) -> bool:
    """MemoryError here or behind; C++ decoders say it in words."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or "bad_alloc" in text or "insufficient memory" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def _load(kind: str) -> None:
    """Import the decoders once for all children, and nothing else: a fork costs by the page."""
    import cv2

    for module in ("model_worker.decoding.images", "numpy.ma"):  # np.percentile asks for numpy.ma
        import_module(module)
    if kind == DICOM:
        import_module("model_worker.decoding.dicom")
    cv2.setNumThreads(0)
    warnings.simplefilter("ignore")
    import_module("model_worker.decoding.recognition").load()
    gc.freeze()


if __name__ == "__main__":
    _load(sys.argv[2])
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)  # no network either, where the kernel lets us
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print warnings, and those may quote the file
    serve(socket.socket(fileno=int(sys.argv[1])))
