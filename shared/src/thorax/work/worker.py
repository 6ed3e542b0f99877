"""A process that takes work from the ledger: its settings, its claim loop, and the sign of life it gives."""

import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Protocol
from uuid import uuid4

import structlog
from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import worker_shutting_down
from pydantic import Field
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from thorax.errors import Code, CodedError
from thorax.settings import Settings
from thorax.work import ledger
from thorax.work.hints import TASK

BEAT_S = 5.0
SICK_AFTER = 10  # claims that failed one after the other: it is not the work, and a new process may do better
STORE_AWAY_S = 30.0  # before a step is tried again whose files could not be reached
STUCK_S = 300.0  # no claim may keep a process busy for longer; a liveness probe then lets it be restarted
_log = structlog.get_logger(__name__)


class LedgerSettings(Settings):
    """How patient the ledger is."""

    lease_s: float = Field(default=30, gt=0, description="how long a claim lasts; longer than any step takes")
    max_attempts: int = Field(default=5, ge=1, description="after so many claims a step is dead")
    heartbeat_file: Path | None = Field(
        default=None, description="touched while all is well, for liveness probes"
    )


def process_name(service: str) -> str:
    """What this process is called in the ledger: no other one is, on any machine."""
    return f"{service}-{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"


class StepHandler(Protocol):
    """What a service can do with claims."""

    def capabilities(self) -> ledger.Capabilities:
        """What to claim now."""

    def run(self, claims: Sequence[ledger.Claim]) -> None:
        """Do the claimed steps and complete them; a failure that may pass is raised."""


class Worker:
    """Claims and performs until nothing is left. One per process, on the process's main thread."""

    def __init__(self, engine: Engine, handler: StepHandler, *, service: str, lease_s: float) -> None:
        self.name = process_name(service)
        self._engine, self._handler, self._lease_s = engine, handler, lease_s
        self._stopping = threading.Event()
        self._failures = 0  # in a row
        self.busy_since: float | None = None

    def stop(self) -> None:
        """Take nothing more; what is claimed is still finished."""
        self._stopping.set()

    def work(self) -> None:
        """What a hint sets off: take work until there is none. Database trouble ends it until the next hint."""
        try:
            while not self._stopping.is_set() and self._take():
                pass
        except DBAPIError as error:
            _log.error(
                "ledger_failed", error=type(error).__name__, sqlstate=getattr(error.orig, "sqlstate", None)
            )
        finally:
            self.busy_since = None

    def _take(self) -> bool:
        with self._engine.begin() as connection:
            claims = ledger.claim(
                connection, self._handler.capabilities(), worker=self.name, lease_s=self._lease_s
            )
        if not claims:
            return False
        self.busy_since = monotonic()
        try:
            self._handler.run(claims)
        except DBAPIError:
            raise  # the lease will run out
        except Exception as error:
            self._give_back(claims, error)
            self._rest()
        else:
            self._failures = 0
        return True

    def _rest(self) -> None:
        """Who fails is quicker than who works, and would fail the whole queue: so it waits longer each time, then ends."""
        self._failures += 1
        self.busy_since = None
        if self._failures >= SICK_AFTER:
            _log.critical("sick", failures=self._failures)
            os.kill(os.getpid(), signal.SIGTERM)
            self.stop()
        self._stopping.wait(min(30.0, 2.0 ** (self._failures - 2)) if self._failures > 1 else 0)

    def _give_back(self, claims: Sequence[ledger.Claim], error: Exception) -> None:
        coded = isinstance(error, CodedError)
        code = error.code if isinstance(error, CodedError) else Code.INTERNAL
        what = error.detail if isinstance(error, CodedError) else type(error).__name__
        steps = [claim.step_id for claim in claims]
        _log.warning(
            "step_failed", steps=steps, code=str(code), error=what, exc_info=None if coded else error
        )
        away = isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
        with self._engine.begin() as connection:
            ledger.release(connection, claims, code=code, delay_s=STORE_AWAY_S if away else 1.0)


def run_celery(app: Celery, worker: Worker, queues: Sequence[str], *, prepare: Callable[[], None]) -> None:
    """Serve hints on `queues` until SIGTERM; `prepare` runs first. Blocks.

    The pool is `solo`: a claim runs on the main thread, and one process is one unit of capacity.
    """
    prepare()
    # Which user a container runs as is the image's business; a laptop's may well be root.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.task(name=TASK)(worker.work)

    worker_shutting_down.connect(lambda **_: worker.stop(), weak=False)
    # Not by its command line, whose import takes longer than all of ours.
    consumer = app.Worker(
        pool_cls="solo",
        queues=",".join(queues),
        loglevel="WARNING",
        hostname=worker.name,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    consumer.start()


_BEAT = text("""
insert into workers (id, service, kinds, backbones, bundles, loaded, seen_at)
values (:id, :service, :kinds, :backbones, :bundles, :loaded, now())
on conflict (id) do update set seen_at = now(), backbones = excluded.backbones, bundles = excluded.bundles,
  loaded = excluded.loaded""")


class Heartbeat(threading.Thread):
    """Says every few seconds, in the database and in a file, that this process lives and is not stuck."""

    def __init__(
        self,
        engine: Engine,
        *,
        name: str,
        service: str,
        capabilities: Callable[[], ledger.Capabilities],
        kinds: Sequence[str] = (),
        busy_since: Callable[[], float | None] = lambda: None,
        file: Path | None = None,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._engine, self._id, self._service, self._file = engine, name, service, file
        self._capabilities, self._kinds, self._busy_since = capabilities, kinds, busy_since
        self._done = threading.Event()
        if file:  # of the process before, in a container that was restarted
            file.unlink(missing_ok=True)

    def run(self) -> None:
        """Beat until `stop`."""
        while not self._done.is_set():
            try:
                self._beat()
            except Exception as error:  # a full disk, a lost database: it must not end the signs of life
                _log.warning("heartbeat_lost", error=type(error).__name__)
            self._done.wait(BEAT_S)

    def stop(self) -> None:
        """Stop, and sign off, so that readiness does not count on this process any longer."""
        self._done.set()
        try:
            with self._engine.begin() as connection:
                connection.execute(text("delete from workers where id = :id"), {"id": self._id})
        except DBAPIError as error:
            _log.warning("sign_off_lost", error=type(error).__name__)

    def _beat(self) -> None:
        busy = self._busy_since()
        if busy is not None and monotonic() - busy > STUCK_S:
            _log.error("stuck", seconds=int(monotonic() - busy))
            return
        capabilities = self._capabilities()
        row = {
            "id": self._id,
            "service": self._service,
            "kinds": [*map(str, capabilities.kinds), *self._kinds],
            "backbones": list(capabilities.backbones),
            "bundles": list(capabilities.bundles),
            "loaded": list(capabilities.loaded),
        }
        if self._file:
            self._file.touch()
        with self._engine.begin() as connection:
            connection.execute(_BEAT, row)
