"""The ledger's numbers, read at each scrape and served by the sweeper alone: however many gateways, there is one number."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, get_args

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, Row
from sqlalchemy.exc import SQLAlchemyError

from thorax import queries
from thorax.states import PRIORITY_NAMES, DestinationKind, JobState, StepKind
from thorax.storage import BlobStore
from thorax.work.hints import Hints

_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)
_STEPS = [*product(("waiting", "running"), StepKind, PRIORITY_NAMES)]
_JOBS = [*product((JobState.QUEUED, JobState.RUNNING), ("",), PRIORITY_NAMES)]
_DELIVERIES = [*product(get_args(DestinationKind), ("waiting", "sending", "dead"))]
_SERVICES = [("model-worker",), ("aggregator",), ("sweeper",)]


class LedgerMetrics(Collector):
    """Reads the ledger for each scrape. While the database is away it says that only (`thorax_ledger_up` 0)."""

    def __init__(self, engine: Engine, blobs: BlobStore, hints: Hints) -> None:
        self._engine, self._blobs, self._hints = engine, blobs, hints

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: the registry would otherwise read the database to learn names."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All gauges; those of which nothing waits or runs are 0."""
        if room := self._blobs.room():
            yield GaugeMetricFamily("thorax_blob_store_free_bytes", "Free bytes of the images' disk", room[0])
            yield GaugeMetricFamily("thorax_blob_store_bytes", "All bytes of the images' disk", room[1])
        answers = self._hints.arrive()
        yield GaugeMetricFamily("thorax_broker_up", "Whether the broker answers", answers)
        try:
            with self._engine.connect() as connection:
                open_work = connection.execute(_SQL["open_work"]).all()
                totals = connection.execute(_SQL["totals"]).one()
                deliveries = connection.execute(_SQL["deliveries"]).all()
                backbones = connection.execute(_SQL["backbones"]).all()
        except SQLAlchemyError as error:
            _log.warning("ledger_not_read", error=type(error).__name__)
            yield GaugeMetricFamily("thorax_ledger_up", "Whether the ledger could be read", 0)
            return
        yield GaugeMetricFamily("thorax_ledger_up", "Whether the ledger could be read", 1)
        yield from _open_work("steps", ["state", "kind", "priority"], _STEPS, open_work)
        yield from _open_work("jobs", ["state", "priority"], _JOBS, open_work)
        yield GaugeMetricFamily("thorax_ledger_dead_steps", "Steps that failed too often", totals.dead)
        yield GaugeMetricFamily(
            "thorax_ledger_blobs_to_erase", "Deleted images whose files are still there", totals.to_erase
        )
        yield GaugeMetricFamily(
            "thorax_ledger_derivations", "Answers to be made into DICOM objects", totals.to_derive
        )
        sizes: dict[tuple[str, ...], int] = {(row.kind, row.state): row.size for row in deliveries}
        labels = ["kind", "state"]
        yield _counts("thorax_ledger_deliveries", "Deliveries not made", labels, _DELIVERIES, sizes)
        living: dict[tuple[str, ...], int] = {(name,): size for name, size in totals.processes.items()}
        signs = "Processes that gave a sign of life"
        yield _counts("thorax_processes", signs, ["service"], _SERVICES, living)
        able: dict[tuple[str, ...], int] = {(row.backbone,): row.size for row in backbones}
        workers = "Living workers that run a backbone of the active bundle"
        yield _counts("thorax_backbone_workers", workers, ["backbone"], [*able], able)


def _counts(
    name: str,
    told: str,
    labels: Sequence[str],
    known: Sequence[tuple[str, ...]],
    found: Mapping[tuple[str, ...], int],
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, None, labels)
    for values in known:
        family.add_metric(values, found.get(values, 0))
    return family


def _open_work(
    what: str, labels: list[str], known: Sequence[tuple[str, str, int]], rows: Sequence[Row[*tuple[Any, ...]]]
) -> Iterator[GaugeMetricFamily]:
    found = {(row.state, row.kind, row.priority): row for row in rows if row.what == what}
    count = GaugeMetricFamily(f"thorax_ledger_{what}", f"Open {what}", None, labels)
    oldest = GaugeMetricFamily(
        f"thorax_ledger_oldest_{what}_seconds",
        f"How long the oldest of these {what} has waited or run",
        None,
        labels,
    )
    for state, kind, priority in known:
        row = found.get((str(state), str(kind), priority))
        values = [value for value in (str(state), str(kind), PRIORITY_NAMES[priority]) if value]
        count.add_metric(values, row.size if row else 0)
        oldest.add_metric(values, row.oldest_s if row else 0)
    yield from (count, oldest)
