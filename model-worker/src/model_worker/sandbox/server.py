"""The fork server behind `decode`: decoders loaded once, then a limited child per file, or per few files of one tenant.

`multiprocessing`'s own forkserver imports the worker's main module again in every child, and a child of it
outlives a worker that is killed. Here both ends are ours: the server ends with the worker's socket, the child
with the server (PR_SET_PDEATHSIG), and an alarm that only the kernel handles ends a decoder that never returns.
"""

import codecs
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
from thorax.image_headers import DICOM, JPEG

MEMORY = 512 * 2**20
LEFT_BEHIND = 64 * 2**10  # bytes that a file may leave in use, for caches
CLEAN = b"\1"  # after an answer: the child may decode another file
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NO_FILES = 16

_libc = ctypes.CDLL(None, use_errno=True)


class _MallocInfo(ctypes.Structure):
    """struct mallinfo2 (mallinfo(3)); `uordblks` and `hblkhd`: bytes in use, of the heap and mapped."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())


_libc.mallinfo2.restype = _MallocInfo


def serve(control: socket.socket) -> None:
    """Fork one child per message until the worker's end closes.

    A message: JSON with `files` (how many, at most), `room` (for their bytes) and `lives_s`, and two descriptors: where
    the worker leaves each file's bytes, and a connection on which the child is asked and answers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker handles Ctrl-C
    signal.signal(signal.SIGCHLD, _reap)
    me = os.getpid()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    memory = pages * resource.getpagesize() + MEMORY
    control.send(b"ready")
    while True:
        message, fds, _, _ = socket.recv_fds(control, 65536, 2)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _child(me, memory, json.loads(message), *fds)
        for fd in fds:
            os.close(fd)


def _reap(*_: object) -> None:
    """Take the ended children's status, so that their CPU time counts as ours."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _child(server: int, memory: int, limits: dict[str, Any], upload: int, connection: int) -> None:
    """Decode and answer until the worker asks no more, or a file has left something behind; never returns."""
    try:
        _limit(server, float(limits["lives_s"]), memory + int(limits["room"]))
        before = _held()
        for left in reversed(range(limits["files"])):
            request = json.loads(_read(connection, int.from_bytes(_read(connection, 4))))
            _write(connection, _answer(os.pread(upload, request["bytes"], 0), request))
            if not left or not _clean(before):
                break
            _write(connection, [CLEAN])
    finally:
        os._exit(0)


def _read(connection: int, size: int) -> bytes:
    """Exactly `size` bytes; EOFError when the worker has closed its end."""
    data = b""
    while len(data) < size:
        piece = os.read(connection, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _write(connection: int, parts: list[bytes]) -> None:
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(connection, view) :]


def _held() -> int:
    """Bytes that are in use of what C's malloc has given."""
    info = _libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def _clean(before: int) -> bool:
    """Give what is free back to the kernel, so that the next file finds zeros; whether nothing else was left in use."""
    gc.collect()
    _libc.malloc_trim(0)
    return _held() - before < LEFT_BEHIND


def _limit(server: int, lives_s: float, memory: int) -> None:
    """From here on, nothing the file makes a decoder do can last, grow, be written or reach anything."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, lives_s)
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, math.ceil(lives_s) + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, NO_FILES),
    ):
        resource.setrlimit(limit, (value, value))
    confine()


def _answer(data: bytes, request: dict[str, Any]) -> list[bytes]:
    """The picture, or a code and a sentence; never an exception's own text, which may quote the file."""
    from model_worker.decoding.images import canonical, read_image, shown
    from thorax.errors import Code, CodedError
    from thorax.image_headers import unreadable

    try:
        if request.get("forms"):
            import orjson

            from model_worker.decoding.forms import make_forms

            made = make_forms(data)
            parts = [orjson.dumps(made.forms), made.metadata, *made.pictures]
            return [piece for part in parts for piece in _sized(part)] + made.explicit
        if "inputs" not in request:
            from model_worker.decoding.dicom import pixel_digest

            return _sized(pixel_digest(data).encode())
        inputs: list[Any] = [SimpleNamespace(**spec) for spec in request["inputs"]]
        image = read_image(data, request["media_type"], force=request["force"])
        grids = [canonical(image.grey, spec).tobytes() for spec in inputs]
        display = shown(image.grey)
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
            "display": display.shape,
            "rows": image.rows,
            "columns": image.columns,
            "orientation": image.orientation,
            "warnings": image.warnings,
            "dicom_attributes": attributes,
        }
        return [*_sized(json.dumps(header).encode()), display.tobytes(), *grids]
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
        for module in ("model_worker.decoding.dicom", "model_worker.decoding.forms"):
            import_module(module)
        for encoding in set(import_module("pydicom.charset").python_encoding.values()):
            codecs.lookup(encoding)  # Python imports each at its first use, and a child can't open its file
    cv2.setNumThreads(0)
    warnings.simplefilter("ignore")
    _rehearse()
    gc.freeze()


def _rehearse() -> None:
    """Read a picture of our own, so that what is made at the first use is made once and not in each child."""
    import cv2
    import numpy as np

    grey = np.tile(np.arange(1024, dtype=np.uint8), (1024, 1))
    data = cv2.imencode(".jpg", grey)[1].tobytes()
    request = {"media_type": JPEG, "force": True, "inputs": [{"size": 224, "equalise": True, "crop": None}]}
    _answer(data, request)
    _libc.malloc_trim(0)


if __name__ == "__main__":
    _load(sys.argv[2])
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)  # no network either, where the kernel lets us
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders print warnings, and those may quote the file
    serve(socket.socket(fileno=int(sys.argv[1])))
