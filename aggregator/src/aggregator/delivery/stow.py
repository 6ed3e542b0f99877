"""A STOW-RS client that believes no status: an object is delivered when the destination gives its bytes back (PS3.18, 10.4, 10.5).

Orthanc answers success to a SOP Instance UID that it has already, keeps the first bytes, and answers 400 without a Failed
SOP Sequence where one part of two was stored.
"""

import hashlib
import ssl
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import httpx

from aggregator.delivery.errors import NotDeliveredError, not_now, refuses, unavailable
from aggregator.delivery.items import Item
from thorax.errors import Code

PROOF = "read back over DICOMweb: the data sets are equal"
JSON = "application/dicom+json"
WADO = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_REFERENCED, _FAILED, _SOP, _REASON = "00081199", "00081198", "00081155", "00081197"
_LATER_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
OUT_OF_RESOURCES = range(0xA700, 0xA800)  # PS3.4, B.2.3
_KNOWN = frozenset(
    {0x0111, 45070, 45071}
)  # duplicate SOP Instance (PS3.7, annex C); Azure's: it exists, it is being stored
_NOT_YET = frozenset({200, 204, 404})  # of a destination whose index follows what it stores
_LOOK_AGAIN_S = (0, 0.3, 1)
ENOUGH_S = 120.0  # for one delivery
_TIMEOUT = httpx.Timeout(30, connect=5)


@dataclass
class _Told:
    """What an answer says of each SOP Instance UID: stored, or failed and why (FFFF: not said)."""

    status: int
    stored: set[str] = field(default_factory=set)
    failed: dict[str, int] = field(default_factory=dict)


def deliver(url: str, authorization: str | None, items: Sequence[Item]) -> str:
    """Store objects on a DICOMweb server and read each back; returns the proof. Raises NotDeliveredError."""
    headers = {"Authorization": authorization} if authorization else {}
    try:
        # Not by way of a proxy or redirect: the credentials are for this address.
        with httpx.Client(
            base_url=f"{url.rstrip('/')}/",
            headers=headers,
            timeout=_TIMEOUT,
            trust_env=False,
            verify=_trusted(),
        ) as client:
            until = monotonic() + ENOUGH_S
            refused = _store(client, items)
            for item in items:
                if monotonic() > until:
                    raise not_now("The destination is too slow.")
                _prove(client, item, refused.get(item.sop))
    except httpx.HTTPError as error:
        reached = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        raise (not_now if reached else unavailable)(
            f"The destination can't be reached: {type(error).__name__}."
        ) from error
    return PROOF


@cache
def _trusted() -> ssl.SSLContext:
    """The system's authorities (OpenSSL's SSL_CERT_FILE names others), loaded once: it takes 57 ms."""
    return ssl.create_default_context()


def _store(client: httpx.Client, items: Sequence[Item]) -> dict[str, NotDeliveredError]:
    """Send all in one request; what its answer does not name is sent again alone, and then judged by its status. Returns what is
    refused, by SOP Instance UID."""
    told, refused = _post(client, items), dict[str, NotDeliveredError]()
    for item in items:
        own = told
        if item.sop not in told.stored and item.sop not in told.failed and len(items) > 1:
            own = _post(client, [item])
        if item.sop in own.failed:
            refused[item.sop] = _failed(own.failed[item.sop])
        elif item.sop not in own.stored and not 200 <= own.status < 300:
            refused[item.sop] = _refused(own.status)
    return refused


def _post(client: httpx.Client, items: Sequence[Item]) -> _Told:
    boundary = uuid4().hex
    parts = [
        b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % (boundary.encode(), item.file)
        for item in items
    ]
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    answer = client.post(
        "studies",
        content=b"".join([*parts, b"--%b--\r\n" % boundary.encode()]),
        headers={"Content-Type": kind, "Accept": JSON},
    )
    if answer.status_code in (401, 403) or answer.status_code in _LATER_STATUSES:
        raise _refused(answer.status_code)
    return _read(answer)


def _read(answer: httpx.Response) -> _Told:
    """The Store Instances Response (PS3.18, I.2), on every status; a body that is another says nothing."""
    told = _Told(answer.status_code)
    try:
        body = answer.json()
    except ValueError:
        return told
    body = body[0] if isinstance(body, list) and body else body
    for item in _sequence(body, _REFERENCED):
        told.stored.add(_value(item, _SOP, ""))
    for item in _sequence(body, _FAILED):
        told.failed[_value(item, _SOP, "")] = _value(item, _REASON, 0xFFFF)
    return told


def _sequence(body: Any, tag: str) -> list[Any]:
    values = body.get(tag, {}).get("Value", []) if isinstance(body, Mapping) else []
    return [item for item in values if isinstance(item, Mapping)]


def _value(item: Mapping[str, Any], tag: str, default: Any) -> Any:
    values = item.get(tag, {}).get("Value") or [default]
    return values[0] if isinstance(values[0], type(default)) else default


def _prove(client: httpx.Client, item: Item, refused: NotDeliveredError | None) -> None:
    """Read an object back and compare the data sets; the file meta information is the destination's own. A destination that refuses
    what it has already has it. Raises NotDeliveredError."""
    for pause_s in _LOOK_AGAIN_S:
        sleep(pause_s)
        answer = client.get(_path(item), headers={"Accept": WADO})
        found = _first_part(answer) if answer.status_code == 200 else b""
        if found or refused or answer.status_code not in _NOT_YET:
            break
    if found and _digest(found) == _digest(item.file):
        return
    if found:
        detail = f"The destination has other content under {item.sop}."
        raise NotDeliveredError(Code.INSTANCE_CONFLICT, detail, may_pass=False)
    if refused:
        raise refused
    if answer.status_code in _NOT_YET:
        raise not_now("The destination does not have the object yet.")
    raise _refused(answer.status_code)


def _path(item: Item) -> str:
    return f"studies/{item.study}/series/{item.series}/instances/{item.sop}"


def _first_part(answer: httpx.Response) -> bytes:
    """The DICOM file in a WADO-RS answer: its first part, or all of it."""
    if not answer.headers.get("content-type", "").startswith("multipart/"):
        return answer.content
    boundary, _, rest = answer.content.lstrip(b"\r\n").partition(b"\r\n")
    return rest.partition(b"\r\n\r\n")[2].rpartition(b"\r\n" + boundary.rstrip())[0]


def _digest(file: bytes) -> str:
    """sha256 of the data set in a DICOM file: what follows File Meta Information Group Length and its group (PS3.10, 7.1)."""
    at = 144 + struct.unpack_from("<I", file, 140)[0] if len(file) > 144 and file[128:132] == b"DICM" else 0
    return hashlib.sha256(file[at:]).hexdigest()


def _failed(reason: int) -> NotDeliveredError:
    if reason in _KNOWN:
        return not_now(
            "The destination refuses the object as one that it has, and does not give it back yet."
        )
    if reason in OUT_OF_RESOURCES:
        return not_now(f"The destination has no room (failure reason {reason:04X}).")
    return refuses(f"The destination refuses the object (failure reason {reason:04X}).")


def _refused(status: int) -> NotDeliveredError:
    if status in _LATER_STATUSES:
        return not_now(f"The destination answers {status}.")
    return refuses(f"The destination answers {status}.")
