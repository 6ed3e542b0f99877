"""Decodes hostile files, one at a time, in children that may die of it.

The worker never touches an upload's bytes. It passes them to `model_worker.sandbox.server`, a fork server of our own that
has the decoders loaded: a child with limits on memory, time, files and output, and an answer that is plain
bytes, checked here, since a child that a file took over could send anything. Pictures and DICOM have a server each:
pydicom makes one three times as large, and a fork costs by the page. A child is kept for a few more files of its tenant
while nothing about it is unusual (docs/adr/0020).
"""

import array
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter

from model_worker.decoding.attributes import DicomAttributes, iso_date, short_string, uid
from model_worker.decoding.orientation import AS_STORED, UNDO
from model_worker.sandbox.server import CLEAN
from thorax.bundle import InputSpec
from thorax.errors import Code, CodedError
from thorax.forms import EXPLICIT, METADATA, PICTURES, Forms, Part
from thorax.image_headers import DICOM
from thorax.image_warnings import ImageWarning, WarningCode

CODES = frozenset(
    {
        Code.UNREADABLE_IMAGE,
        Code.DECODE_LIMIT,
        Code.IMAGE_TOO_LARGE,
        Code.IMAGE_SIZE,
        Code.NOT_A_CHEST,
        Code.NOT_FRONTAL,
    }
)
_FORMS = TypeAdapter(Forms)
_DIGEST = re.compile("[0-9a-f]{64}")
RASTER = "raster"
MAX_DISPLAY = 4 * 2**20
MAX_HEADER = 64 * 2**10
MAX_FORMS, MAX_METADATA, MAX_EXPLICIT = 2**18, 4 * 2**20, 160 * 2**20
MAX_WARNINGS = 20
GRACE_S = 2.0
TRIES = 4  # whether the file killed a child or somebody else did shows when a second one is tried
FILES, ROOM, KEPT_S = (
    16,
    64 * 2**20,
    10.0,
)  # of a child that is kept: files and bytes at most, and for how long
KEPT = 4  # children of as many tenants


@dataclass(frozen=True)
class Decoded:
    """A decoded file. `inputs`: uint8 `[size, size]` by `InputSpec.key`; `rows` and `columns`: native size.

    `display_png`: 8-bit grey, bone light, upright, longest side at most 1024. `orientation`: how stored pixels were
    turned, as EXIF numbers it (see `decoding.orientation`). `dicom_attributes`: of a DICOM file only.
    """

    inputs: dict[str, NDArray[np.uint8]]
    display_png: bytes
    rows: int
    columns: int
    dicom_attributes: DicomAttributes | None
    orientation: int = AS_STORED
    warnings: tuple[ImageWarning, ...] = ()


def decode(
    data: bytes,
    media_type: str,
    inputs: Sequence[InputSpec],
    *,
    timeout_s: float = 20.0,
    force: bool = False,
    tenant: UUID | None = None,
) -> Decoded:
    """Decode `data` (media type image/png, image/jpeg or application/dicom) in a sandboxed child.

    Files of one `tenant` may share a child; without one each file has its own. Raises CodedError: UNREADABLE_IMAGE,
    IMAGE_SIZE, IMAGE_TOO_LARGE, NOT_A_CHEST and NOT_FRONTAL (which `force` turns into warnings), or DECODE_LIMIT as soon
    as the child is stopped by its limits. Safe to call from several threads.
    """
    specs = list({spec.key: spec for spec in inputs}.values())
    wanted = {
        "media_type": media_type,
        "inputs": [spec.model_dump() for spec in specs],
        "timeout_s": timeout_s,
        "force": force,
    }
    return _answered(wanted, data, lambda answer: _read_answer(answer, specs), tenant)


def pixel_digest(data: bytes, *, timeout_s: float = 20.0) -> str | None:
    """What tells the pixels of two DICOM files apart, whatever their encoding; None if they can't be decoded."""
    wanted = {"media_type": DICOM, "timeout_s": timeout_s}
    try:
        return _answered(wanted, data, _read_digest)
    except CodedError as error:
        if error.code not in CODES:
            raise
        return None


def make_forms(data: bytes, *, timeout_s: float = 20.0) -> tuple[Forms, dict[str, bytes]]:
    """What DICOMweb serves of a DICOM file besides the file (see `thorax.forms`), and the blobs by name.

    Raises CodedError as `decode` does.
    """
    wanted = {"media_type": DICOM, "timeout_s": timeout_s, "forms": True}
    return _answered(wanted, data, lambda answer: _read_forms(answer, len(data)))


_T = TypeVar("_T")


def _answered(
    wanted: dict[str, Any], data: bytes, read: Callable[["_Answer"], _T], tenant: UUID | None = None
) -> _T:
    request, timeout_s = json.dumps({**wanted, "bytes": len(data)}).encode(), float(wanted["timeout_s"])
    key = (DICOM if wanted["media_type"] == DICOM else RASTER, tenant)
    shared = tenant is not None and len(data) < ROOM
    started, blamed = time.monotonic(), 0
    for _ in range(TRIES):
        server = _server(key[0])
        kept = _take(key, server) if shared else None
        try:
            child = kept or _Child(server, timeout_s, len(data), shared=shared)
            answer = _ask(child, request, data, read, timeout_s)
        except ConnectionError:  # the server was killed a moment ago
            server.stop()
            continue
        except CodedError:
            if kept:
                continue  # what a file before it may have caused is not believed
            raise
        if answer is not None:
            _keep(key, child, usual=isinstance(answer, Decoded) and not answer.warnings)
            return answer
        blamed += server.outlives_its_child()
        if blamed == 2 or (blamed and time.monotonic() - started > timeout_s / 2):
            raise _at_its_limit()
    raise CodedError(Code.INTERNAL, "The decoder was killed several times, though not by the file.")


def _at_its_limit() -> CodedError:
    return CodedError(Code.DECODE_LIMIT, "Decoding the image exceeded the limit of memory or time.")


def _ask(
    child: "_Child", request: bytes, data: bytes, read: Callable[["_Answer"], _T], timeout_s: float
) -> _T | None:
    """A child's answer; None if it ended, or was ended, without one. It is closed unless it answered well."""
    answer = None
    try:
        child.send(request, data)
        answer = read(_Answer(child.connection, time.monotonic() + timeout_s + GRACE_S))
    except (EOFError, BrokenPipeError, ValueError, KeyError, TypeError, RecursionError):
        pass  # killed, or taken over
    except TimeoutError:
        child.server.stop()  # the alarm should have ended the child; now its parent's death does
        raise _at_its_limit() from None
    finally:
        if answer is None:
            child.close()
    return answer


def start() -> None:
    """Start the fork servers; they load their decoders (about half a second) while the caller goes on."""
    for kind in (RASTER, DICOM):
        _server(kind)


class _ForkServer:
    """The running `model_worker.sandbox.server`. It ends when our end of the control socket closes, however we die."""

    def __init__(self, kind: str) -> None:
        self.pid, self._ready = os.getpid(), False
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


class _Child:
    """A child of a fork server, which decodes one file, or with `shared` some. ConnectionError without a server."""

    def __init__(self, server: _ForkServer, timeout_s: float, size: int, *, shared: bool) -> None:
        self.server, self._left, self._room = server, FILES if shared else 1, ROOM if shared else size
        lives_s = timeout_s + (KEPT_S if shared else 0)
        self._kept_until = time.monotonic() + KEPT_S
        self._upload = os.memfd_create("upload")
        self.connection, childs = socket.socketpair()
        limits = {"files": self._left, "room": self._room, "lives_s": lives_s}
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
        self._left, self._room = self._left - 1, self._room - len(data)

    def takes_another(self) -> bool:
        """Whether there is room for one more file, in number, bytes and time."""
        return self._left > 0 and self._room > 0 and time.monotonic() < self._kept_until

    def ready(self) -> bool:
        """Whether it has said that the last file left nothing behind."""
        self.connection.settimeout(1)
        try:
            return self.connection.recv(1) == CLEAN
        except OSError:
            return False

    def close(self) -> None:
        """Let it end."""
        self.connection.close()
        os.close(self._upload)


_lock = threading.Lock()
_running: dict[str, _ForkServer] = {}
_kept: dict[tuple[str, UUID | None], _Child] = {}  # by kind and tenant, the one used last at the end


def _take(key: tuple[str, UUID | None], server: _ForkServer) -> _Child | None:
    """The child that was kept for a tenant, if it may decode one more file."""
    with _lock:
        child = _kept.pop(key, None)
    if child and child.server is server and child.takes_another() and child.ready():
        return child
    if child:
        child.close()
    return None


def _keep(key: tuple[str, UUID | None], child: _Child, *, usual: bool) -> None:
    """Keep a child for its tenant, or close it; the tenants that sent nothing for the longest time lose theirs."""
    dropped = [child]
    if usual and child.takes_another():
        with _lock:
            dropped = [_kept.pop(key)] if key in _kept else []
            _kept[key] = child
            dropped += [_kept.pop(next(iter(_kept))) for _ in range(len(_kept) - KEPT)]
    for other in dropped:
        other.close()


def _server(kind: str = RASTER) -> _ForkServer:
    """This process's fork server of a kind; a new one after a fork of ours, or when somebody killed it."""
    with _lock:
        if kind not in _running or not _running[kind].alive():
            _running[kind] = _ForkServer(kind)
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


class _Answer:
    """The child's answer, read to a deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes; EOFError if the child ended before, TimeoutError past the deadline."""
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            self._connection.settimeout(max(0.001, self._deadline - time.monotonic()))
            try:
                count = self._connection.recv_into(view)
            except ConnectionResetError:
                count = 0
            if not count:
                raise EOFError
            view = view[count:]
        return bytes(buffer)

    def read_sized(self, most: int) -> bytes:
        """Bytes that follow their length; our code never sends more than `most`."""
        (size,) = struct.unpack(">I", self.read(4))
        if size > most:
            raise EOFError
        return self.read(size)


def _read_digest(answer: _Answer) -> str:
    """A digest, or the JSON of a refusal."""
    text = answer.read_sized(MAX_HEADER).decode()
    if _DIGEST.fullmatch(text):
        return text
    raise CodedError(Code.UNREADABLE_IMAGE, str(json.loads(text)["detail"])[:300])


def _read_forms(answer: _Answer, stored_size: int) -> tuple[Forms, dict[str, bytes]]:
    """The forms and their blobs, checked: the metadata is JSON, and each part lies within its file."""
    header = json.loads(answer.read_sized(MAX_FORMS))
    if "code" in header:
        raise _refusal(header)
    forms = _FORMS.validate_python(header)
    blobs = {METADATA: answer.read_sized(MAX_METADATA)}
    if not isinstance(orjson.loads(blobs[METADATA]), dict):
        raise ValueError("no data set")
    for name, size in zip(PICTURES, forms.pictures, strict=False):
        blobs[name] = answer.read_sized(size)
    if forms.explicit_size is not None:
        if forms.explicit_size > MAX_EXPLICIT:
            raise EOFError
        blobs[EXPLICIT] = answer.read(forms.explicit_size)
    explicit_size = stored_size if forms.explicit_size is None else forms.explicit_size
    _check_within(explicit_size, (*forms.frames, *forms.bulk.values()))
    _check_within(stored_size, [part for frame in forms.stored_frames for part in frame])
    return forms, blobs


def _check_within(size: int, parts: Iterable[Part]) -> None:
    if not all(0 <= start <= end <= size for start, end in parts):
        raise ValueError("a part outside of its file")


def _refusal(header: dict[str, Any]) -> CodedError:
    code = Code(header["code"])
    return CodedError(code if code in CODES else Code.UNREADABLE_IMAGE, str(header["detail"])[:300])


def _read_answer(answer: _Answer, specs: Sequence[InputSpec]) -> Decoded:
    header: dict[str, Any] = json.loads(answer.read_sized(MAX_HEADER))
    if "code" in header:
        raise _refusal(header)
    display = answer.read_sized(MAX_DISPLAY)
    inputs = {
        spec.key: np.frombuffer(answer.read(spec.size**2), np.uint8).reshape(spec.size, spec.size)
        for spec in specs
    }
    attributes = header["dicom_attributes"]
    if header["orientation"] not in UNDO:
        raise ValueError("not an orientation")
    warnings = [ImageWarning(WarningCode(code), str(detail)[:300]) for code, detail in header["warnings"]]
    return Decoded(
        inputs,
        display,
        int(header["rows"]),
        int(header["columns"]),
        attributes and _attributes(attributes),
        int(header["orientation"]),
        tuple(warnings[:MAX_WARNINGS]),
    )


def _attributes(fields: dict[str, Any]) -> DicomAttributes:
    fields |= {name: uid(value) for name, value in fields.items() if name.endswith("_uid")}
    fields["study_date"] = iso_date(fields["study_date"])
    fields["accession"] = short_string(fields["accession"])
    if fields["patient"] is not None and not _DIGEST.fullmatch(fields["patient"]):
        raise ValueError("no digest")
    return DicomAttributes(**fields)
