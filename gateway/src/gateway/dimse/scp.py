"""The SCP's answers: who may associate, what is agreed, and what becomes of each C-STORE."""

from collections.abc import Mapping
from typing import Any

import structlog
from anyio.from_thread import BlockingPortal
from pydicom import Dataset
from pynetdicom import evt
from sqlalchemy.exc import SQLAlchemyError

from gateway.dimse.config import CalledAE
from gateway.dimse.contexts import prefer_the_senders_order, supported
from gateway.dimse.pdus import PeerReader
from gateway.studies.filing import Filing
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
        idle_s: float,
    ) -> None:
        self._aes, self._filing, self._acceptance, self._portal = aes, filing, acceptance, portal
        self._idle_s = idle_s

    def handlers(self) -> list[Any]:
        """What pynetdicom calls, and when."""
        return [
            (evt.EVT_CONN_OPEN, lambda event: PeerReader(event.assoc, self._idle_s)),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_CONN_CLOSE, self._closed),
        ]

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
        request, spool = event.request, event.request._dataset_file
        try:
            peer = event.assoc.requestor.primitive
            ae = self._aes[peer.called_ae_title.strip()]
            if request.AffectedSOPClassUID not in ae.sop_classes:
                return SOP_CLASS_NOT_SUPPORTED
            route = ae.route(peer.calling_ae_title.strip())
            found, digests = spool.received()

            async def kept() -> None:
                await self._acceptance.check_capacity()
                await self._filing.adopt(
                    route,
                    spool.path,
                    found,
                    digests,
                    sop_class=str(request.AffectedSOPClassUID),
                    sop=str(request.AffectedSOPInstanceUID),
                )

            self._portal.call(kept)
        except CodedError as error:
            REFUSALS.labels(error.code).inc()
            _log.warning("refused", code=str(error.code))
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
            spool.path.unlink(missing_ok=True)
        return SUCCESS


def _failure(status: int, comment: str) -> Dataset | int:
    """A status; why a data set can't be understood is said in its Error Comment (PS3.7, C.4.2)."""
    if status != CANNOT_UNDERSTAND:
        return status
    answer = Dataset()
    answer.Status, answer.ErrorComment = status, comment[:64]
    return answer
