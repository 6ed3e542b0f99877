"""Decodes hostile files, one at a time, in children that may die of it.

The worker never touches an upload's bytes. It passes them to `model_worker.sandbox.server`, a fork server of our own that
has the decoders loaded: a child (`children`) with limits on memory, time, files and output, and an answer that is
plain bytes (`answers`).
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from model_worker.sandbox.answers import CODES, Answer, Decoded, read_decoded, read_digest, read_forms
from model_worker.sandbox.children import Child, child_for, keep
from model_worker.sandbox.fork_servers import server_of
from thorax.bundle import InputSpec
from thorax.errors import Code, CodedError
from thorax.forms import Forms
from thorax.image_headers import DICOM, PNG

GRACE_S = 2.0
TRIES = 4  # whether the file killed a child or somebody else did shows when a second one is tried


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
    return _answered(wanted, data, lambda answer: read_decoded(answer, specs), tenant)


def pixel_digest(data: bytes, *, timeout_s: float = 20.0) -> str | None:
    """What tells the pixels of two DICOM files apart, whatever their encoding; None if they can't be decoded."""
    wanted = {"media_type": DICOM, "timeout_s": timeout_s}
    try:
        return _answered(wanted, data, read_digest)
    except CodedError as error:
        if error.code not in CODES:
            raise
        return None


def make_forms(data: bytes, *, timeout_s: float = 20.0) -> tuple[Forms, dict[str, bytes]]:
    """What DICOMweb serves of a DICOM file besides the file (see `thorax.forms`), and the blobs by name.

    Raises CodedError as `decode` does.
    """
    wanted = {"media_type": DICOM, "timeout_s": timeout_s, "forms": True}
    return _answered(wanted, data, lambda answer: read_forms(answer, len(data)))


_T = TypeVar("_T")


def _answered(
    wanted: dict[str, Any], data: bytes, read: Callable[[Answer], _T], tenant: UUID | None = None
) -> _T:
    request, timeout_s = json.dumps({**wanted, "bytes": len(data)}).encode(), float(wanted["timeout_s"])
    started, blamed = time.monotonic(), 0
    for _ in range(TRIES):
        server = server_of(wanted["media_type"])
        try:
            child = child_for(server, tenant, timeout_s, len(data))
            answer = _ask(child, request, data, read, timeout_s)
        except ConnectionError:  # the server was killed a moment ago
            server.stop()
            continue
        except CodedError:
            if child.decoded > 1:
                continue  # what a file before it may have caused is not believed
            raise
        if answer is not None:
            keep(child, tenant, usual=isinstance(answer, Decoded) and not answer.warnings)
            return answer
        blamed += server.outlives_its_child()
        if blamed == 2 or (blamed and time.monotonic() - started > timeout_s / 2):
            raise _at_its_limit()
    raise CodedError(Code.INTERNAL, "The decoder was killed several times, though not by the file.")


def _at_its_limit() -> CodedError:
    return CodedError(Code.DECODE_LIMIT, "Decoding the image exceeded the limit of memory or time.")


def _ask(
    child: Child, request: bytes, data: bytes, read: Callable[[Answer], _T], timeout_s: float
) -> _T | None:
    """A child's answer; None if it ended, or was ended, without one. It is closed unless it answered well."""
    answer = None
    try:
        child.send(request, data)
        answer = read(Answer(child.connection, time.monotonic() + timeout_s + GRACE_S))
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
    """Start the fork servers; they load their decoders (about half a second) while the caller continues."""
    for media_type in (PNG, DICOM):
        server_of(media_type)
