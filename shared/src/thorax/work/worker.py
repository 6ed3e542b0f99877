"""A process that takes work from the ledger: its settings and its claim loop."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol
from uuid import UUID

import structlog
from pydantic import Field
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from thorax import tracing
from thorax.errors import Code, CodedError
from thorax.settings import Settings
from thorax.states import PRIORITY_NAMES
from thorax.work import ledger
from thorax.work.metrics import QUEUE_SECONDS, RETRIES, STEP_SECONDS

SICK_AFTER = (
    10  # failed claims in a row: the cause is this process, not the work, and a new process may do better
)
DEAF_S = 60.0  # the sweeper hints every few seconds at what waits
STORE_AWAY_S = 30.0  # before a step is retried whose files could not be reached
_log = structlog.get_logger(__name__)


class LedgerSettings(Settings):
    """How patient the ledger is with a process, and where the process gives signs of life."""

    lease_s: float = Field(default=30, gt=0, description="how long a claim lasts; longer than any step takes")
    max_attempts: int = Field(default=5, ge=1, description="after so many claims a step is dead")
    heartbeat_file: Path | None = Field(
        default=None, description="touched while all is well, for liveness probes"
    )


class StepHandler(Protocol):
    """What a service can do with claims."""

    def capabilities(self) -> ledger.Capabilities:
        """What to claim now."""

    def run(self, claims: Sequence[ledger.Claim]) -> bool:
        """Do the claimed steps and complete them; whether steps followed that this process can do and no hint tells of.

        A failure that may pass is raised.
        """

    def tidy(self) -> bool:
        """Do what no step asks for, when no step is left; False if there was nothing to do."""


class Worker:
    """Claims and runs steps until nothing is left. One per process, whose threads work one at a time.

    While other hints wait (`hinted`), what is left is left to them: each of them would have to look anyway.
    """

    def __init__(
        self,
        engine: Engine,
        handler: StepHandler,
        *,
        name: str,
        lease_s: float,
        hinted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name, self._hinted = name, hinted
        self._engine, self._handler, self._lease_s = engine, handler, lease_s
        self._stopping, self._turn = threading.Event(), threading.Lock()
        self._failures, self._failed = 0, set[UUID]()  # in a row, and of which jobs
        self.busy_since: float | None = None
        self._last_look = monotonic()  # for work

    def deaf(self) -> bool:
        """Whether work waits that this process could do, while hints to it do not arrive. For any thread."""
        if not self.idle_for(DEAF_S):
            return False
        with self._engine.begin() as connection:
            return ledger.overlooked(connection, self._handler.capabilities(), for_s=DEAF_S)

    def idle_for(self, seconds: float) -> bool:
        """Whether nothing was done or looked for in the last seconds. For any thread."""
        return self.busy_since is None and monotonic() - self._last_look >= seconds

    def stop(self) -> None:
        """Take nothing more; what is claimed is still finished."""
        self._stopping.set()

    def work(self) -> None:
        """Take work until there is none: what a hint starts. A database error ends it until the next hint."""
        with self._turn:
            try:
                while not self._stopping.is_set() and self._take():
                    pass
            except DBAPIError as error:
                sqlstate = getattr(error.orig, "sqlstate", None)
                _log.error("ledger_failed", error=type(error).__name__, sqlstate=sqlstate)
            finally:
                self.busy_since = None

    def _take(self) -> bool:
        """Do what is most urgent; whether to look again."""
        self._last_look = monotonic()
        with self._engine.begin() as connection:
            claims = ledger.claim(
                connection, self._handler.capabilities(), worker=self.name, lease_s=self._lease_s
            )
        if not claims:
            return self._handler.tidy()
        self.busy_since = began = monotonic()
        for claim in claims:
            QUEUE_SECONDS.labels(claim.kind, PRIORITY_NAMES[claim.priority]).observe(claim.waited_s)
        outcome, code, again = "returned", "ledger_failed", True
        try:
            again = self._handler.run(claims)
        except DBAPIError:
            raise  # the lease will run out
        except Exception as error:
            code = self._give_back(claims, error)
            self._rest(claims)
        else:
            outcome, code = "done", ""
            self._failures = 0
            self._failed.clear()
            _log.info("steps_done", **_told(claims), seconds=round(monotonic() - began, 3))
        finally:
            ended = monotonic()
            STEP_SECONDS.labels(claims[0].kind, outcome).observe(ended - began)
            for claim in claims:
                waited = {"waited_s": claim.waited_s, "attempt": claim.attempts}
                name = ledger.queue_of(claim.kind, claim.backbone)
                tracing.record(name, claim.job_id, claim.traceparent, (began, ended), code=code, **waited)
        return again or (claims[0].more and not self._hinted())

    def _rest(self, claims: Sequence[ledger.Claim]) -> None:
        """Failing is quicker than working, and would soon fail the whole queue: wait longer each time, then end.

        Work of others does not wait for a job that fails again.
        """
        self._failures += 1
        self.busy_since = None
        if self._failures >= SICK_AFTER:
            _log.critical("sick", failures=self._failures)
            os.kill(os.getpid(), signal.SIGTERM)
            self.stop()
        again = {claim.job_id for claim in claims} <= self._failed
        self._failed.update(claim.job_id for claim in claims)
        if self._failures > 1 and not again:
            self._stopping.wait(min(30.0, 2.0 ** (self._failures - 2)))

    def _give_back(self, claims: Sequence[ledger.Claim], error: Exception) -> str:
        """Have the claims tried again; the error's code."""
        coded = isinstance(error, CodedError)
        code = error.code if isinstance(error, CodedError) else Code.INTERNAL
        what = error.detail if isinstance(error, CodedError) else type(error).__name__
        trace = None if coded else error
        _log.warning("step_failed", **_told(claims), code=str(code), error=what, exc_info=trace)
        RETRIES.labels(claims[0].kind, code).inc(len(claims))
        away = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
        with self._engine.begin() as connection:
            ledger.release(connection, claims, code=code, delay_s=STORE_AWAY_S if away else 1.0)
        return str(code)


def _told(claims: Sequence[ledger.Claim]) -> dict[str, object]:
    """What a log line says of claims: their kind, steps and jobs, and the backbones where there are."""
    backbones = list(dict.fromkeys(c.backbone for c in claims if c.backbone))
    told: dict[str, object] = {"backbones": backbones} if backbones else {}
    jobs = list(dict.fromkeys(str(c.job_id) for c in claims))
    return told | {"kind": str(claims[0].kind), "steps": [c.step_id for c in claims], "jobs": jobs}
