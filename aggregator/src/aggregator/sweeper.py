"""`sweeper`: does its duties round after round. Several may run at once."""

import logging
import signal
import threading
from collections.abc import Callable, Sequence
from time import monotonic

import structlog
from prometheus_client import REGISTRY

from aggregator.config import AggregatorSettings
from aggregator.delivery.channels import to_archives, to_webhooks
from aggregator.delivery.service import Deliveries
from aggregator.derivations import Derivations
from aggregator.drift import Drift
from aggregator.housekeeping import Housekeeping
from aggregator.ledger_metrics import LedgerMetrics
from aggregator.recovery import Recovery
from aggregator.retention import Retention
from thorax.leaving import leave
from thorax.sealing import delivery_seal
from thorax.settings import load
from thorax.storage import BlobStore
from thorax.work.hints import Hints
from thorax.work.ledger import Capabilities
from thorax.work.run import Process

HOUSEKEEPING_S = 5.0
DELIVERY_S = 0.125  # of the half second that a result may take to its proof
WEBHOOK_S = 0.25
Duties = Sequence[Callable[[], None]]
_log = structlog.get_logger(__name__)


class Sweeper:
    """Threads of rounds: no blob store, PACS or webhook that is slow holds up the ledger's duties."""

    def __init__(self) -> None:
        self._rounds: dict[Duties, float] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Begin no further round."""
        self._stopping.set()

    def run(
        self,
        recovery: Duties,
        *others: tuple[Duties, float],
        sweep_s: float,
        needed: Callable[[], bool] = lambda: True,
    ) -> None:
        """Sweep until `stop`; `recovery` only in rounds in which it is `needed`, others each so many seconds."""
        threads = [threading.Thread(target=self._repeat, args=each, daemon=True) for each in others]
        for thread in threads:
            thread.start()
        self._repeat(recovery, sweep_s, needed)
        for thread in threads:
            thread.join(5)

    def busy_since(self) -> float | None:
        """When the latest round began, of the thread whose latest is the older one: a thread that ended shows, too."""
        return min(list(self._rounds.values()), default=None)

    def _repeat(self, duties: Duties, pause_s: float, needed: Callable[[], bool] = lambda: True) -> None:
        def round_() -> None:
            if needed():
                run_once(duties)

        while not self._stopping.wait(pause_s):
            self._rounds[duties] = monotonic()
            run_once([round_])


def run_once(duties: Duties) -> None:
    """One round; a duty that fails is logged and tried again in the next."""
    for duty in duties:
        try:
            duty()
        except Exception as error:  # whatever it is, the other duties follow
            _log.warning("duty_failed", duty=duty.__name__, error=type(error).__name__)


def main() -> None:
    """Sweep until told to stop."""
    settings = load(AggregatorSettings)
    process = Process("sweeper", settings)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # its messages may quote data sets
    blobs = BlobStore(settings.blobs)
    REGISTRY.register(LedgerMetrics(process.engine, blobs))
    REGISTRY.register(Drift(process.engine))
    recovery = Recovery(settings, process.engine, Hints(process.app))
    housekeeping = Housekeeping(settings, process.engine, blobs)
    seal = delivery_seal(settings.delivery_secret_file) if settings.delivery_secret_file else None
    archives = Deliveries(process.engine, seal, to_archives(process.engine, blobs, settings.dicom_tls_folder))
    webhooks = Deliveries(process.engine, seal, to_webhooks(process.engine, settings.private_webhooks))
    derivations = Derivations(process.engine, blobs)
    sweeper = Sweeper()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sweeper.stop())
    with process.heartbeat(lambda: Capabilities(()), busy_since=sweeper.busy_since, kinds=["sweep"]):
        sweeper.run(
            recovery.duties,
            (
                (*housekeeping.duties, *Retention(process.engine, blobs).duties, archives.mark_dead),
                HOUSEKEEPING_S,
            ),
            (archives.duties, DELIVERY_S),
            (webhooks.duties, WEBHOOK_S),
            (derivations.duties, settings.sweep_s),
            sweep_s=settings.sweep_s,
            needed=recovery.needed,
        )
    leave()


if __name__ == "__main__":
    main()
