"""Does deliveries that are due: makes the objects, sends them, and notes the proof or why there is none."""

from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Engine, Row

from aggregator.delivery import stow
from aggregator.delivery.answers import answer_of
from aggregator.delivery.stow import Item, NotDeliveredError
from aggregator.objects import objects
from aggregator.objects.answer import Answer, Predecessor
from aggregator.objects.identity import encoded
from thorax import queries
from thorax.errors import Code
from thorax.storage import BlobStore

PROOF = "read back over DICOMweb: the data sets are equal"
LEASE_S = 240.0  # longer than any attempt that the sweeper's liveness allows
MAX_ATTEMPTS = 6
FIRST_DELAY_S, GROWTH = (
    30,
    4,
)  # 30 s, 2 min, 8 min, half an hour, 2 hours: a night's outage is the operator's to resend
ROUND_S = 60.0  # a round begins no further delivery: the sweeper must not look stuck, and ends between rounds
_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)


class Deliveries:
    """One sweeper's deliveries; several may do them at once."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine, self._blobs = engine, blobs
        self.duties = (self.mark_dead, self.deliver)

    def mark_dead(self) -> None:
        """Give up what has taken its process along as often as it may."""
        with self._engine.begin() as connection:
            values = {"max_attempts": MAX_ATTEMPTS, "code": str(Code.STEP_DEAD)}
            connection.execute(_SQL["mark_dead"], values)

    def deliver(self) -> None:
        """Do what is due."""
        until = monotonic() + ROUND_S
        while monotonic() < until:
            with self._engine.begin() as connection:
                values = {"lease_s": LEASE_S, "max_attempts": MAX_ATTEMPTS}
                due = connection.execute(_SQL["claim"], values).first()
            if due is None:
                return
            try:
                if self._send(due):
                    self._end(due, "delivered", proof=PROOF)
            except NotDeliveredError as error:
                self._not_delivered(due, error)
            except Exception as error:
                _log.error("delivery_failed", delivery=str(due.id), error=type(error).__name__)
                self._not_delivered(
                    due, NotDeliveredError(Code.INTERNAL, "An internal error.", may_pass=True)
                )

    def _send(self, due: Row[Any]) -> bool:
        """Whether there was something to send; all of it is at the destination then."""
        before = due.predecessor_sop and Predecessor(due.predecessor_series, due.predecessor_sop)
        with self._engine.connect() as connection:
            answer = answer_of(connection, self._blobs, due.job_id, before or None)
        if answer is None:
            self._execute("nothing", due)
            return False
        items = _items(answer)
        self._execute("named", due, series=items[0].series, sop=items[0].sop)
        stow.deliver(due.url, due.authorization, items)
        return True

    def _not_delivered(self, due: Row[Any], error: NotDeliveredError) -> None:
        again = error.may_pass and due.attempts < MAX_ATTEMPTS
        delay_s = FIRST_DELAY_S * GROWTH ** (due.attempts - 1)
        _log.warning("not_delivered", delivery=str(due.id), code=str(error.code), attempt=due.attempts)
        state = "waiting" if again else "dead"
        self._end(due, state, code=str(error.code), detail=error.detail, delay_s=delay_s if again else 0)

    def _end(self, due: Row[Any], state: str, **what: Any) -> None:
        nothing = {"proof": None, "code": None, "detail": None, "delay_s": 0}
        self._execute("ended", due, **{**nothing, **what}, state=state)

    def _execute(self, query: str, due: Row[Any], **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(_SQL[query], {"id": due.id, "attempts": due.attempts, **values})


def _items(answer: Answer) -> list[Item]:
    """The objects as files, the report first."""
    return [
        Item(str(made.StudyInstanceUID), str(made.SeriesInstanceUID), str(made.SOPInstanceUID), encoded(made))
        for made in objects(answer)
    ]
