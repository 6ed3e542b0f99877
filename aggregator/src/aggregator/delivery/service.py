"""Does deliveries that are due, and notes the proof that what they say has arrived, or why it has not."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from threading import Condition, Event, Lock
from time import monotonic
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine, Row
from sqlalchemy.exc import DBAPIError

from aggregator.delivery.errors import NotDeliveredError
from aggregator.duties import run_once
from thorax import queries, tracing
from thorax.database import transactional
from thorax.errors import Code
from thorax.sealing import Seal

LEASE_S = 240.0  # longer than any attempt: one that lasts so long counts as stuck
PATIENCE_S = 86_400.0  # for what may pass; then it is an operator's to send again
FAULTS_S = (30, 120, 480, 1800, 7200)  # before each retry of what failed by a fault of our own
OF_TENANT = 2  # deliveries of one tenant at a time, of half the threads at most: others have theirs
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
    nothing to say. `pauses_s`: before each new attempt at a destination that is away, the last one again and again; `own_s`: before
    each of a delivery that it did not take though it answered."""

    send: Callable[[Row[Any], str | None], Arrived | None]
    pauses_s: tuple[float, ...]
    own_s: tuple[float, ...]


class Deliveries:
    """One sweeper's deliveries over some `channels`, by kind of destination, in `threads`; several may do them at once. A
    destination gets one at a time: who does not answer holds up only what is for him."""

    def __init__(
        self, engine: Engine, seal: Seal | None, channels: Mapping[str, Channel], *, threads: int = 4
    ) -> None:
        self._engine, self._seal, self._channels = transactional(engine), seal, channels
        self._autocommit = engine
        self._threads, self._pool = threads, ThreadPoolExecutor(threads, "deliver")
        self._looking, self._changed, self._stopping = Lock(), Condition(), Event()
        self._under_way = dict[tuple[UUID, datetime, int], tuple[Row[Any], float]]()
        self.due_in_s = 0.0  # from the end of the last round; 0: unknown
        self.duties = (self.deliver,)

    def mark_dead(self) -> None:
        """Give up what has taken its process along as often as it may, of any kind."""
        with self._autocommit.begin() as connection:
            values = {"max_crashes": MAX_CRASHES, "code": str(Code.STEP_DEAD)}
            connection.execute(_SQL["mark_dead"], values)

    def busy_since(self) -> float | None:
        """When the oldest attempt that is under way began."""
        return min((began for _, began in list(self._under_way.values())), default=None)

    def deliver(self) -> None:
        """Begin what is due, as far as threads are free. A thread whose attempt has ended looks for itself, so that nobody waits
        for it."""
        with self._looking:
            self.due_in_s = 0.0
            while len(self._under_way) < self._threads and not self._stopping.is_set():
                if (due := self._claim()) is None:
                    return
                self._under_way[due.id, due.since, due.attempts] = due, monotonic()
                self._pool.submit(self._do, due)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    def end(self, within_s: float) -> None:
        """Wait for what is under way, and leave to other sweepers what does not end in time: the process has to end then."""
        self.stop()
        with self._changed:
            self._changed.wait_for(lambda: not self._under_way, within_s)
            left = [due for due, _ in self._under_way.values()]
        try:
            for due in left:
                self._end(due, "waiting")
        except DBAPIError as error:  # due when their leases have ended
            _log.warning("deliveries_not_left", error=type(error).__name__)

    def _do(self, due: Row[Any]) -> None:
        try:
            self._attempt(due)
        except Exception as error:  # the database is away: it is due again when its lease has ended
            _log.error("delivery_lost", delivery=str(due.id), error=type(error).__name__)
        finally:
            with self._changed:
                del self._under_way[due.id, due.since, due.attempts]
                self._changed.notify_all()
        run_once(self.duties)

    def _attempt(self, due: Row[Any]) -> None:
        began, failed = monotonic(), ""
        try:
            arrived = self._channels[due.kind].send(due, credentials(self._seal, due.sealed))
        except NotDeliveredError as error:
            failed = str(error.code)
            self._not_delivered(due, error)
        except Exception as error:
            failed = str(Code.INTERNAL)
            _log.error("delivery_failed", delivery=str(due.id), error=type(error).__name__)
            self._not_delivered(due, NotDeliveredError(Code.INTERNAL, "An internal error.", may_pass=True))
        else:
            if arrived is None:
                self._execute("nothing", due)
            else:
                if due.missed:
                    self._execute("back", due)
                code = str(Code.OBJECT_NOT_MADE) if arrived.unmade else None
                self._end(due, "delivered", proof=arrived.proof, code=code, detail=arrived.unmade)
        ran, name = (began, monotonic()), f"deliver.{due.kind}"
        tracing.record(name, due.job_id, due.traceparent, ran, code=failed, attempt=due.attempts)

    def _claim(self) -> Row[Any] | None:
        """What is to be done next; if nothing, `due_in_s` says when."""
        values = {"kinds": list(self._channels)}
        claim = {**values, "lease_s": LEASE_S, "max_crashes": MAX_CRASHES, "of_tenant": OF_TENANT}
        with self._engine.begin() as connection:
            connection.execute(_SQL["alone"])
            due = connection.execute(_SQL["claim"], claim).first()
            if due is None:
                self.due_in_s = connection.execute(_SQL["due"], values).scalar_one()
            return due

    def _not_delivered(self, due: Row[Any], error: NotDeliveredError) -> None:
        _log.warning("not_delivered", delivery=str(due.id), code=str(error.code), attempt=due.attempts)
        what = {"code": str(error.code), "detail": error.detail}
        away = error.code == Code.DESTINATION_AWAY
        if away:  # before this one ends, or the next would be sent in between
            self._leave_alone(due, what)
        if not error.may_pass or due.age_s > PATIENCE_S:
            self._end(due, "dead", **what)
            return
        delay_s = self._own_pause(due, error) if away else _pause(FAULTS_S, due.attempts)
        self._end(due, "waiting", **what, delay_s=delay_s, refused=error.answered)

    def _own_pause(self, due: Row[Any], error: NotDeliveredError) -> float:
        """What a delivery waits for besides the outage's pause, which ends when another one arrives."""
        channel = self._channels[due.kind]
        if error.answered:
            return _pause(channel.own_s, due.refusals + 1)
        return 0 if due.missed else _pause(channel.pauses_s, due.attempts)

    def _leave_alone(self, due: Row[Any], what: dict[str, str]) -> None:
        pause_s = _pause(self._channels[due.kind].pauses_s, due.missed + 1)
        self._execute("away", due, pause_s=pause_s)
        if due.missed:
            self._execute("given_up", due, **what, patience_s=PATIENCE_S)

    def _end(self, due: Row[Any], state: str, **what: Any) -> None:
        nothing = {"proof": None, "code": None, "detail": None, "delay_s": 0, "refused": False}
        self._execute("ended", due, **{**nothing, **what}, state=state)

    def _execute(self, query: str, due: Row[Any], **values: Any) -> None:
        with self._engine.begin() as connection:
            attempt = {"id": due.id, "since": due.since, "attempts": due.attempts}
            connection.execute(_SQL[query], {**attempt, "destination_id": due.destination_id, **values})


def credentials(seal: Seal | None, sealed: bytes | None) -> str | None:
    """A destination's credentials in plain. Raises NotDeliveredError if they can't be read."""
    if sealed is None:
        return None
    try:
        if seal:
            return seal.open(bytes(sealed)).decode()
    except ValueError:
        pass
    detail = (
        "The destination's credentials can't be read: THORAX_DELIVERY_SECRET_FILE is another one, or missing."
    )
    raise NotDeliveredError(Code.FEATURE_OFF, detail, may_pass=False)


def _pause(pauses_s: tuple[float, ...], number: int) -> float:
    """The pause after so many attempts."""
    return pauses_s[min(number, len(pauses_s)) - 1]
