"""The SCP's answers: who may associate, what is agreed, and what becomes of each C-STORE."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.from_thread import BlockingPortal
from pydicom import Dataset
from pynetdicom import evt
from sqlalchemy.exc import SQLAlchemyError

from gateway.dimse.config import CalledAE
from gateway.dimse.contexts import prefer_the_senders_order, supported
from gateway.dimse.pdus import bounded
from gateway.studies.filing import Filing
from gateway.studies.header import Identifiers
from gateway.studies.statuses import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    SUCCESS,
    status_of,
)
from gateway.uploads.accept import Acceptance
from thorax.errors import CodedError
from thorax.metrics import REFUSALS

SOP_CLASS_NOT_SUPPORTED = 0x0122  # PS3.7, annex C
_UNKNOWN_CALLING, _UNKNOWN_CALLED = (1, 1, 3), (1, 1, 7)  # result, source, reason (PS3.8, table 9-21)
_READ_BYTES = 1024 * 1024
_MOST_SWALLOWED = (
    10  # times the largest data set: so much more is read for an answer, then the association is aborted
)
_log = structlog.get_logger(__name__)


class StorageSCP:
    """Handles the events of all associations, each in a thread of pynetdicom's; files images through `portal`."""

    def __init__(
        self,
        aes: Mapping[str, CalledAE],
        filing: Filing,
        acceptance: Acceptance,
        portal: BlockingPortal,
        *,
        max_bytes: int,
        idle_s: float,
    ) -> None:
        self._aes, self._filing, self._acceptance, self._portal = aes, filing, acceptance, portal
        self._max_bytes, self._idle_s = max_bytes, idle_s

    def handlers(self) -> list[Any]:
        """What pynetdicom calls, and when."""
        return [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_PDU_RECV, self._received),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]

    def _opened(self, event: Any) -> None:
        """pynetdicom itself waits without limit for the rest of a PDU that has begun, of whatever length."""
        transport = event.assoc.dul.socket
        transport.socket.settimeout(self._idle_s)
        transport.recv = bounded(transport.socket, event.assoc.acceptor.maximum_length)
        dimse = event.assoc.dimse
        dimse.receive_primitive = _aborting(dimse.receive_primitive, event.assoc)

    def _requested(self, event: Any) -> None:
        association, request = event.assoc, event.assoc.requestor.primitive
        called, calling = request.called_ae_title.strip(), request.calling_ae_title.strip()
        ae, address = self._aes.get(called), association.requestor.address
        if ae is None or not ae.allows(calling, address):
            reason = _UNKNOWN_CALLED if ae is None else _UNKNOWN_CALLING
            _log.warning("association_rejected", called=called, calling=calling, address=address)
            association.acse.send_reject(*reason)
            association.kill()
            return
        _log.info("association_requested", called=called, calling=calling, address=address)
        association.acceptor.supported_contexts = supported(ae.sop_classes)
        prefer_the_senders_order(request.presentation_context_definition_list)

    def _received(self, event: Any) -> None:
        """Abort an association whose data set does not end."""
        message = event.assoc.dimse.message
        file = getattr(message, "_data_set_file", None)
        if file is not None and file.tell() > _MOST_SWALLOWED * self._max_bytes:
            _log.warning("data_set_without_end", calling=event.assoc.requestor.ae_title)
            event.assoc.dul.event_queue.put("Evt19")  # the state machine's way to abort (PS3.8, 9.2)

    def _closed(self, event: Any) -> None:
        """Delete what an association that ended early has left.

        One that ends before it has begun, as a health check by TCP does, would count for `acse_timeout` all the same.
        """
        if event.assoc.requestor.primitive is None:
            event.assoc.dul.to_user_queue.put(None)
        path = getattr(event.assoc.dimse.message, "_data_set_path", None)
        if path is not None:
            path.unlink(missing_ok=True)

    def _store(self, event: Any) -> Dataset | int:
        """Success only once the image is durable and recorded (PS3.4, B.2.3)."""
        request, path = event.request, event.dataset_path
        try:
            peer = event.assoc.requestor.primitive
            ae = self._aes[peer.called_ae_title.strip()]
            if request.AffectedSOPClassUID not in ae.sop_classes:
                return SOP_CLASS_NOT_SUPPORTED
            if request._dataset_file.failed:
                raise request._dataset_file.failed
            route = ae.route(peer.calling_ae_title.strip())

            async def kept() -> Identifiers:
                await self._acceptance.check_capacity()
                return await self._filing.file(
                    route,
                    _pieces(path),
                    sop_class=str(request.AffectedSOPClassUID),
                    sop=str(request.AffectedSOPInstanceUID),
                )

            self._portal.call(kept)
        except CodedError as error:
            REFUSALS.labels(error.code).inc()
            return _failure(status_of(error.code), error.detail)
        except (
            OSError,
            SQLAlchemyError,
        ) as error:  # the disk is full, or a store is away: send it again later
            _log.warning("not_stored", error=type(error).__name__)
            return _failure(OUT_OF_RESOURCES, "The storage is not available.")
        except Exception as error:  # pynetdicom would answer C211, which few senders know
            _log.error("unexpected", error=type(error).__name__)
            return _failure(PROCESSING_FAILURE, "An internal error occurred.")
        finally:
            path.unlink(missing_ok=True)
        return SUCCESS


def _aborting(receive: Callable[[Any], None], association: Any) -> Callable[[Any], None]:
    """`receive`, which aborts where it fails: on a message that can't be decoded.

    pynetdicom 3.0.4 would end the thread, and keep connection and file, until it takes no association any more.
    """

    def guarded(primitive: Any) -> None:
        try:
            receive(primitive)
        except Exception as error:
            _log.warning("association_aborted", error=type(error).__name__)
            association.dul.event_queue.put("Evt19")

    return guarded


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while piece := await file.read(_READ_BYTES):
            yield piece


def _failure(status: int, comment: str) -> Dataset | int:
    """A status; why a data set can't be understood is said in its Error Comment (PS3.7, C.4.2)."""
    if status != CANNOT_UNDERSTAND:
        return status
    answer = Dataset()
    answer.Status, answer.ErrorComment = status, comment[:64]
    return answer
