"""Two bundles compared on the jobs that both have seen: one as the job's own, one as its shadow, or both as shadows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row

from thorax import queries
from thorax.findings import FINDINGS

LARGEST = 10
_SQL = queries.load(__file__)


@dataclass(frozen=True)
class Agreement:
    """How far two bundles agree on one finding, over `n` images.

    `mean_difference` is b - a. `correlation` is Pearson's, None where a bundle gives all images the same.
    `decisions_differ`: share of images that only one of the two calls positive, each at its own threshold.
    """

    n: int
    mean_absolute_difference: float
    mean_difference: float
    correlation: float | None
    decisions_differ: float
    a_only: int
    b_only: int


@dataclass(frozen=True)
class Disagreement:
    """One image on which the two are far apart."""

    job: str
    instance: str
    finding: str
    a: float
    b: float


@dataclass(frozen=True)
class Comparison:
    """`infer_s`: median seconds in the backbones for an image, and the number of jobs it was taken from."""

    jobs: int
    images: int
    findings: dict[str, Agreement]
    infer_s: dict[str, dict[str, float | None]]
    largest: list[Disagreement]


def compare(connection: Connection, a: str, b: str) -> Comparison:
    """Compare the bundles with these digests, as the schema's owner. Without a common job all is empty."""
    rows = connection.execute(_SQL["pairs"], {"a": a, "b": b}).all()
    apart = sorted(rows, key=lambda row: -abs(row.a - row.b))
    return Comparison(
        jobs=len({row.job for row in rows}),
        images=len({(row.job, row.instance) for row in rows}),
        findings={
            str(f): _agreement(mine) for f in FINDINGS if (mine := [r for r in rows if r.finding == f])
        },
        infer_s={"a": _seconds(connection, a), "b": _seconds(connection, b)},
        largest=[
            Disagreement(str(row.job), str(row.instance), row.finding, row.a, row.b)
            for row in apart[:LARGEST]
        ],
    )


def _agreement(rows: Sequence[Row[Any]]) -> Agreement:
    a, b = (np.array([row[i] for row in rows], np.float64) for i in (3, 4))
    a_only = sum(row.a_positive and not row.b_positive for row in rows)
    b_only = sum(row.b_positive and not row.a_positive for row in rows)
    return Agreement(
        n=len(rows),
        mean_absolute_difference=float(np.abs(b - a).mean()),
        mean_difference=float((b - a).mean()),
        correlation=_correlation(a, b),
        decisions_differ=(a_only + b_only) / len(rows),
        a_only=a_only,
        b_only=b_only,
    )


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else None


def _seconds(connection: Connection, digest: str) -> dict[str, float | None]:
    row = connection.execute(_SQL["seconds"], {"digest": digest}).one()
    return {"median": row.median, "jobs": row.jobs}


def lines(found: Comparison) -> Iterator[str]:
    """What a shell shows of it."""
    yield f"{found.jobs} jobs with {found.images} images that both have seen"
    if not found.images:
        return
    yield f"{'':<18}{'n':>7}{'|B-A|':>9}{'B-A':>9}{'corr.':>8}{'differ':>9}{'A only':>8}{'B only':>8}"
    for name, row in found.findings.items():
        correlation = "-" if row.correlation is None else f"{row.correlation:.3f}"
        yield (
            f"{name:<18}{row.n:>7}{row.mean_absolute_difference:>9.4f}{row.mean_difference:>+9.4f}"
            f"{correlation:>8}{row.decisions_differ:>9.1%}{row.a_only:>8}{row.b_only:>8}"
        )
    for letter, seconds in found.infer_s.items():
        if seconds["median"] is not None:
            yield f"{letter.upper()}: {seconds['median'] * 1000:.0f} ms per image (median of {seconds['jobs']} jobs)"
    yield "furthest apart:"
    for case in found.largest:
        yield f"  job {case.job}  image {case.instance}  {case.finding}: A {case.a:.3f}, B {case.b:.3f}"
