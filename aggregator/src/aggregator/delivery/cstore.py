"""A Storage SCU (PS3.4, annex B): the status of each object, and C-FIND (annex C) where the peer answers it."""

import socket
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from pydicom import Dataset, dcmread
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find  # type: ignore[attr-defined]

from aggregator.delivery.checkpoint import own_checkpoint
from aggregator.delivery.errors import NotDeliveredError, not_now, refuses, unavailable
from aggregator.delivery.items import Item
from aggregator.delivery.stow import OUT_OF_RESOURCES
from aggregator.delivery.tls import Trust, trust
from thorax.pacs import OWN_MANUFACTURER

FOUND = "each object stored with success (C-STORE) and found (C-FIND); its content was not compared"
STORED = "each object stored with success (C-STORE); the peer answers no C-FIND"
CONNECT_S, ANSWER_S = 5, 30
_SUCCESS, _WARNINGS = 0x0000, frozenset({0xB000, 0xB006, 0xB007})  # PS3.4, B.2.3: stored, with changes
_PENDING = frozenset({0xFF00, 0xFF01})  # PS3.4, C.4.1.1.4
_LOOK_AGAIN_S = (0, 0.3)
"""An archive may need a moment to list what it has stored."""
_PERMANENT = 1  # the Result of a rejection (PS3.8, 9.3.4)
_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


class _Place(NamedTuple):
    """A peer, and how it is called."""

    host: str
    port: int
    calling: str
    called: str
    tls: Trust | None


def deliver(
    url: str, _credentials: str | None, items: Sequence[Item], *, tls_folder: Path | None = None
) -> str:
    """Store objects at a peer, `dicom://[CALLING@]host:port/CALLED[?tls=NAME]`; returns the proof. Raises NotDeliveredError.

    An object that the peer refuses keeps no other from being sent. NAME is that of files in `tls_folder` (see `trust`).
    """
    place = _place(url, tls_folder)
    association = _associate(place, items)
    try:
        failures = [failure for item in items if (failure := _store(association, item))]
        if failures:
            raise max(failures, key=lambda failure: failure.may_pass)
        return FOUND if all(_found(association, place, item) for item in items) else STORED
    finally:
        if association.is_established:
            association.release()


def _place(url: str, tls_folder: Path | None) -> _Place:
    parts = urlsplit(url)
    secured = parse_qs(parts.query).get("tls")
    return _Place(
        parts.hostname or "",
        parts.port or 104,
        unquote(parts.username or OWN_MANUFACTURER),
        unquote(parts.path.strip("/")),
        trust(tls_folder, secured[0]) if secured else None,
    )


def _associate(place: _Place, items: Sequence[Item]) -> Association:
    ae = AE(ae_title=place.calling)
    ae.connection_timeout = CONNECT_S
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ANSWER_S
    for sop_class in dict.fromkeys(item.sop_class for item in items):
        ae.add_requested_context(sop_class, _SYNTAXES)
    ae.add_requested_context(Find, _SYNTAXES)
    association = ae.associate(
        place.host,
        place.port,
        ae_title=place.called,
        tls_args=(place.tls, place.host) if place.tls else None,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, own_checkpoint),
            (evt.EVT_CONN_OPEN, _without_delay),
            (evt.EVT_PDU_SENT, _without_delay),
        ],
    )
    if not association.is_established:
        # pynetdicom 3.0.4 takes a peer that rejects and closes for one that was never reached, if it looks late; the answer waits.
        answer = association.acceptor.primitive or association.dul.peek_next_pdu()
        if isinstance(answer, A_ASSOCIATE) and answer.result == _PERMANENT:
            raise refuses(f"The peer rejects the association: {answer.reason_str}.")
        if isinstance(answer, A_ASSOCIATE) and answer.result:
            raise unavailable("The peer takes no association at the moment.")
        if place.tls:
            place.tls.check()
        raise unavailable("The peer can't be reached, or ended the association.")
    return association


def _without_delay(event: evt.Event) -> None:
    """A request is two PDUs, and an answer of dcmtk two writes. Nagle's algorithm, ours or the peer's, keeps the second back until
    the first is acknowledged, which may take 40 ms; that acknowledgements are quick has to be said again each time (tcp(7))."""
    transport = event.assoc.dul.socket
    if transport and transport.socket:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _store(association: Association, item: Item) -> NotDeliveredError | None:
    """Send one object; None if it is stored. Raises NotDeliveredError if the association has ended."""
    name = UID(item.sop_class).name
    try:
        answer = association.send_c_store(dcmread(BytesIO(item.file)))
    except ValueError:  # no presentation context was accepted
        return refuses(f"The peer does not take {name}.")
    except RuntimeError:
        answer = Dataset()
    if "Status" not in answer:
        raise not_now(f"The association ended before {name} was stored.")
    status = int(answer.Status)
    if status == _SUCCESS or status in _WARNINGS:
        return None
    if status in OUT_OF_RESOURCES:
        return not_now(f"The peer has no room for {name} (status {status:04X}).")
    return refuses(f"The peer refuses {name} (status {status:04X}).")


def _found(association: Association, place: _Place, item: Item) -> bool:
    """Whether the peer lists the object; False if it answers no C-FIND. Raises NotDeliveredError if it lists others only."""
    if not any(context.abstract_syntax == Find for context in association.accepted_contexts):
        return False
    for pause_s in _LOOK_AGAIN_S:
        time.sleep(pause_s)
        status, found = _find(association, item)
        if found or status != _SUCCESS:
            break
    # Orthanc refuses so, to an AE that it does not know; a peer that is away is tried again
    if status is None:
        _associate(place, ()).release()
    if status == _SUCCESS and not found:
        raise not_now("The peer answered success, and C-FIND does not find the object yet.")
    return status == _SUCCESS


def _find(association: Association, item: Item) -> tuple[int | None, bool]:
    """The last status of a C-FIND for the object, None if the association has ended; and whether it was among the matches."""
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "IMAGE"
    wanted.StudyInstanceUID, wanted.SeriesInstanceUID, wanted.SOPInstanceUID = (
        item.study,
        item.series,
        item.sop,
    )
    found, status = False, None
    try:
        for answer, match in association.send_c_find(wanted, Find):
            status = answer.get("Status")
            if status in _PENDING and match is not None:
                found |= str(match.get("SOPInstanceUID", "")) == item.sop
    except RuntimeError:  # the association has ended
        status = None
    return status, found
