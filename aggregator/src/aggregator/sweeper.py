"""`sweeper`: does its duties round after round. Several may run at once."""

import logging
import signal
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import NamedTuple

from prometheus_client import REGISTRY

from aggregator.config import AggregatorSettings
from aggregator.delivery.channels import to_archives, to_webhooks
from aggregator.delivery.service import LEASE_S, Deliveries
from aggregator.delivery.webhook import Webhooks
from aggregator.delivery.webhook_tests import WebhookTests
from aggregator.derivations import Derivations
from aggregator.drift import Drift
from aggregator.duties import Duties, run_once
from aggregator.housekeeping import Housekeeping
from aggregator.ledger_metrics import LedgerMetrics
from aggregator.notices import Notices
from aggregator.recovery import Recovery
from aggregator.retention import Retention
from thorax.certificates import Certificates, OfDoor, of_folder
from thorax.leaving import leave
from thorax.sealing import delivery_seal
from thorax.settings import load
from thorax.storage import BlobStore
from thorax.work.heartbeat import STUCK_S
from thorax.work.ledger import Capabilities
from thorax.work.run import Process

HOUSEKEEPING_S = 5.0
DELIVERY_S = 0.125  # of the half second that a result may take to its proof, where no notice comes
WEBHOOK_S = 0.25
TESTS_S = 1.0
LONGEST_S = 15.0  # between two looks for what notices tell of
CONNECTIONS = 8  # of all threads: each needs one for moments, or while it reads blobs
END_S = 5.0  # for what is under way when the sweeper is told to stop


class Round(NamedTuple):
    """Duties that are done in turn, and how long to pause then; `told`: a notice ends the pause."""

    duties: Duties
    pause_s: Callable[[], float]
    told: bool = False


class Sweeper:
    """Threads of rounds: no blob store, PACS or webhook that is slow holds up the ledger's duties."""

    def __init__(self, notices: Notices, *deliveries: Deliveries) -> None:
        self._notices, self._deliveries = notices, deliveries
        self._rounds: dict[Duties, float] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Begin no further round."""
        self._stopping.set()
        for each in self._deliveries:
            each.stop()
        self._notices.stop()

    def run(self, first: Round, *others: Round) -> None:
        """Repeat rounds, each in a thread of its own, until `stop`."""
        threads = [threading.Thread(target=self._repeat, args=(each,), daemon=True) for each in others]
        for thread in threads:
            thread.start()
        self._repeat(first)
        until = monotonic() + END_S
        for thread in threads:
            thread.join(max(until - monotonic(), 0))
        for each in self._deliveries:
            each.end(max(until - monotonic(), 0))

    def busy_since(self) -> float | None:
        """When the latest round began, of the thread whose latest is the older one: a thread that ended shows, too. A delivery
        counts so that it is stuck when its lease ends."""
        sending = [began + LEASE_S - STUCK_S for each in self._deliveries if (began := each.busy_since())]
        return min([*self._rounds.values(), *sending], default=None)

    def _repeat(self, round_: Round) -> None:
        awaited = self._notices.waiter() if round_.told else self._stopping
        while not self._pause(awaited, round_.pause_s()):
            self._rounds[round_.duties] = monotonic()
            run_once(round_.duties)

    def _pause(self, awaited: threading.Event, pause_s: float) -> bool:
        """Wait for an event, at most `pause_s`; whether to stop."""
        if awaited.wait(pause_s) and awaited is not self._stopping:
            awaited.clear()  # before the look at `_stopping`, which is set before its event
        return self._stopping.is_set()


def _pause_s(notices: Notices, due_in_s: float, least_s: float) -> float:
    """Until the next look: `least_s`, or more while a notice would end the pause."""
    return min(max(due_in_s, least_s), LONGEST_S) if notices.heard else least_s


def main() -> None:
    """Sweep until told to stop."""
    settings = load(AggregatorSettings)
    process = Process("sweeper", settings, connections=CONNECTIONS)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # its messages may quote data sets
    blobs = BlobStore(settings.blobs)
    REGISTRY.register(LedgerMetrics(process.engine, blobs, process.hints))
    REGISTRY.register(Drift(process.engine))
    watched: list[Callable[[], Mapping[str, float]]] = []
    if folder := settings.dicom_tls_folder:
        watched.append(lambda: of_folder(folder))
    if settings.public_url:
        watched.append(OfDoor(settings.public_url))
    REGISTRY.register(
        Certificates(lambda: {name: until for read in watched for name, until in read().items()})
    )
    recovery = Recovery(settings, process.engine, process.hints)
    housekeeping = Housekeeping(settings, process.engine, blobs)
    seal = delivery_seal(settings.delivery_secret_file) if settings.delivery_secret_file else None
    archives = Deliveries(process.engine, seal, to_archives(process.engine, blobs, settings.dicom_tls_folder))
    told = Webhooks(process.engine, settings.private_webhooks)
    webhooks = Deliveries(process.engine, seal, to_webhooks(told))
    tests = WebhookTests(process.engine, seal, told)
    derivations = Derivations(process.engine, blobs)
    notices = Notices(None if settings.database_pooled else settings.database_url.get_secret_value())
    sweeper = Sweeper(notices, archives, webhooks)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sweeper.stop())
    with process.heartbeat(lambda: Capabilities(()), busy_since=sweeper.busy_since, kinds=["sweep"]):
        notices.start()
        sweeper.run(
            Round(recovery.duties, recovery.pause_s),
            Round(
                (*housekeeping.duties, *Retention(process.engine, blobs).duties, archives.mark_dead),
                lambda: HOUSEKEEPING_S,
            ),
            Round(archives.duties, lambda: _pause_s(notices, archives.due_in_s, DELIVERY_S), told=True),
            Round(webhooks.duties, lambda: _pause_s(notices, webhooks.due_in_s, WEBHOOK_S), told=True),
            Round(tests.duties, lambda: _pause_s(notices, LONGEST_S, TESTS_S), told=True),
            Round(
                derivations.duties,
                lambda: _pause_s(notices, derivations.due_in_s, settings.sweep_s),
                told=True,
            ),
        )
    leave()


if __name__ == "__main__":
    main()
