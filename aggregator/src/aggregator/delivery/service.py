"""Does deliveries that are due, and notes the proof that what they say has arrived, or why it has not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine, Row

from aggregator.delivery.errors import NotDeliveredError
from thorax import queries, tracing
from thorax.errors import Code
from thorax.sealing import Seal

LEASE_S = 240.0  # longer than any attempt that the sweeper's liveness allows
ROUND_S = 60.0  # a round begins no further delivery: the sweeper must not look stuck, and ends between rounds
MAX_CRASHES = 6  # attempts that took their process along
_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Arrived:
    """The proof that a destination has what there is, and a sentence about what could not be made."""

    proof: str
    unmade: str | None = None


@dataclass(frozen=True)
class Channel:
    """How one kind of destination is reached. `send` takes a row of `claim` and the credentials in plain; None if there is
    nothing to say. `pauses_s`: before each retry."""

    send: Callable[[Row[Any], str | None], Arrived | None]
    pauses_s: tuple[int, ...]


class Deliveries:
    """One sweeper's deliveries over some `channels`, by kind of destination; several may do them at once."""

    def __init__(self, engine: Engine, seal: Seal | None, channels: Mapping[str, Channel]) -> None:
        self._engine, self._seal, self._channels = engine, seal, channels
        self.due_in_s = 0.0  # from the end of the last round; 0: unknown
        self.duties = (self.deliver,)

    def mark_dead(self) -> None:
        """Give up what has taken its process along as often as it may, of any kind."""
        with self._engine.begin() as connection:
            values = {"max_attempts": MAX_CRASHES, "code": str(Code.STEP_DEAD)}
            connection.execute(_SQL["mark_dead"], values)

    def deliver(self) -> None:
        """Do what is due. A destination that is away is left alone for the rest of the round, so that others don't wait for it."""
        self.due_in_s, until, away = 0.0, monotonic() + ROUND_S, set[UUID]()
        while monotonic() < until and (due := self._claim(away)):
            began, failed = monotonic(), ""
            try:
                arrived = self._channels[due.kind].send(due, self._credentials(due))
            except NotDeliveredError as error:
                if error.may_pass:
                    away.add(due.destination_id)
                failed = str(error.code)
                self._not_delivered(due, error)
            except Exception as error:
                failed = str(Code.INTERNAL)
                _log.error("delivery_failed", delivery=str(due.id), error=type(error).__name__)
                self._not_delivered(
                    due, NotDeliveredError(Code.INTERNAL, "An internal error.", may_pass=True)
                )
            else:
                if arrived is None:
                    self._execute("nothing", due)
                else:
                    code = str(Code.OBJECT_NOT_MADE) if arrived.unmade else None
                    self._end(due, "delivered", proof=arrived.proof, code=code, detail=arrived.unmade)
            ran, name = (began, monotonic()), f"deliver.{due.kind}"
            tracing.record(name, due.job_id, due.traceparent, ran, code=failed, attempt=due.attempts)
        with self._engine.begin() as connection:
            self.due_in_s = connection.execute(_SQL["due"], {"kinds": list(self._channels)}).scalar_one()

    def _claim(self, away: set[UUID]) -> Row[Any] | None:
        values = {
            "lease_s": LEASE_S,
            "max_attempts": MAX_CRASHES,
            "kinds": list(self._channels),
            "away": list(away),
        }
        with self._engine.begin() as connection:
            return connection.execute(_SQL["claim"], values).first()

    def _credentials(self, due: Row[Any]) -> str | None:
        if due.sealed is None:
            return None
        try:
            if self._seal:
                return self._seal.open(bytes(due.sealed)).decode()
        except ValueError:
            pass
        detail = "The destination's credentials can't be read: THORAX_DELIVERY_SECRET_FILE is another one, or missing."
        raise NotDeliveredError(Code.FEATURE_OFF, detail, may_pass=False)

    def _not_delivered(self, due: Row[Any], error: NotDeliveredError) -> None:
        pauses = self._channels[due.kind].pauses_s
        again = error.may_pass and due.attempts <= len(pauses)
        _log.warning("not_delivered", delivery=str(due.id), code=str(error.code), attempt=due.attempts)
        delay_s = pauses[due.attempts - 1] if again else 0
        self._end(
            due, "waiting" if again else "dead", code=str(error.code), detail=error.detail, delay_s=delay_s
        )

    def _end(self, due: Row[Any], state: str, **what: Any) -> None:
        nothing = {"proof": None, "code": None, "detail": None, "delay_s": 0}
        self._execute("ended", due, **{**nothing, **what}, state=state)

    def _execute(self, query: str, due: Row[Any], **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(_SQL[query], {"id": due.id, "attempts": due.attempts, **values})
