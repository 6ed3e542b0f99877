"""Drift: whether the last day's images still look like those that the bundle's card was measured on."""

import math
from collections.abc import Iterator, Sequence
from time import monotonic

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from thorax import queries
from thorax.bundle import Manifest
from thorax.findings import FINDINGS
from thorax.operating_points import FindingPoints

ROUND_S = 600.0
FEWEST_IMAGES = 100  # of fewer a day the index is mostly chance
DRIFTED = 0.25  # by the usual reading of the index: "a major shift"
_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)


def expected(points: FindingPoints) -> tuple[float, float, float]:
    """The shares of images that the card expects to be unlikely, uncertain and likely; they add up to 1."""

    def above(sensitivity: float, specificity: float) -> float:
        return points.prevalence * sensitivity + (1 - points.prevalence) * (1 - specificity)

    likely = above(points.likely.sensitivity.value, points.likely.specificity.value)
    not_unlikely = above(points.unlikely.sensitivity.value, points.unlikely.specificity.value)
    return 1 - not_unlikely, not_unlikely - likely, likely


def psi(counts: Sequence[int], shares: Sequence[float]) -> float:
    """The population stability index (Siddiqi 2006): the sum of (a - e) ln(a / e) over bands, 0 for the same shares.

    Half an image is added to each band, so that an empty one does not cost infinity.
    """
    total = sum(counts) + len(counts) / 2
    actual = [(count + 0.5) / total for count in counts]
    return sum((a - e) * math.log(a / e) for a, e in zip(actual, (max(e, 1e-4) for e in shares), strict=True))


class Drift(Collector):
    """Read anew every ten minutes. A gauge shows the tenant that drifted most; the log names it."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._manifests = engine, dict[str, Manifest]()
        self._next, self._last = 0.0, list[GaugeMetricFamily]()

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: the registry would otherwise read the database to learn names."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of the last round."""
        if monotonic() >= self._next:
            try:
                self._last = [*self._read()]
                self._next = monotonic() + ROUND_S
            except SQLAlchemyError as error:
                _log.warning("drift_not_read", error=type(error).__name__)
        yield from self._last

    def _read(self) -> Iterator[GaugeMetricFamily]:
        worst, disagreement = dict[str, float](), dict[str, float]()
        with self._engine.connect() as connection:
            rows = connection.execute(_SQL["bands"]).all()
            refused = connection.execute(_SQL["refused"]).all()
            for digest in {row.bundle_digest for row in rows} - set(self._manifests):
                stored = connection.execute(_SQL["manifest"], {"digest": digest}).scalar_one()
                self._manifests[digest] = Manifest.model_validate(stored)
        for row in rows:
            points = self._manifests[row.bundle_digest].operating_points
            if row.images < FEWEST_IMAGES or not points:
                continue
            shares = expected(points[FINDINGS.index(row.finding)])
            found = psi((row.unlikely, row.uncertain, row.likely), shares)
            worst[row.finding] = max(found, worst.get(row.finding, 0))
            disagreement[row.finding] = max(row.disagreement, disagreement.get(row.finding, 0))
            if found > DRIFTED:
                tenant, images = str(row.tenant_id), row.images
                _log.warning("drift", tenant=tenant, finding=row.finding, psi=round(found, 3), images=images)
        shares_refused = {row.code: row.share for row in refused}
        for name, told, label, values in (
            ("psi", "Shift of a day's verdicts from the card, of the tenant with the most", "finding", worst),
            ("disagreement", "Mean disagreement, of the tenant with the most", "finding", disagreement),
            ("refused_share", "Share of a day's images that were refused", "code", shares_refused),
        ):
            family = GaugeMetricFamily(f"thorax_drift_{name}", told, None, [label])
            for key, value in values.items():
                family.add_metric([key], value)
            yield family
