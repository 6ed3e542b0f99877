"""How a tenant reads probabilities: at which of the bundle's points, at thresholds and for a prevalence of its own."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from thorax.bundle import Manifest
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import Verdict, moved_prior

Inner = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=1e-6, le=1 - 1e-6)]  # further out the odds meet the bounds of `moved_prior`


class Point(StrEnum):
    """What a threshold is: one of the bundle's operating points, or the tenant's own."""

    LIKELY = "likely"
    BALANCED = "balanced"
    UNLIKELY = "unlikely"
    OWN = "own"


class Reading(BaseModel):
    """A tenant's choice. What it leaves out is as the bundle has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    point: Literal[Point.LIKELY, Point.BALANCED, Point.UNLIKELY] = Field(
        default=Point.LIKELY,
        description="The bundle's operating point from which on a finding is positive. Bundles of format 1 have `likely` only.",
    )
    thresholds: dict[Finding, Inner] = Field(
        default_factory=dict,
        description="Own thresholds, instead of the point's, on probabilities for the own prevalence.",
        examples=[{"edema": 0.3}],
    )
    prevalence: dict[Finding, Share] = Field(
        default_factory=dict,
        description="Share with the finding among the tenant's own images, to which probabilities and the bundle's "
        "thresholds are moved (Saerens et al. 2002). Not applied with bundles of format 1, which state none of their own.",
        examples=[{"edema": 0.02}],
    )


AS_THE_BUNDLE = Reading()


@dataclass(frozen=True)
class Read:
    """What a probability came to, and by which threshold. `prevalence`: None where neither states one."""

    probability: float
    threshold: float
    point: Point
    verdict: Verdict
    prevalence: float | None

    @property
    def positive(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.verdict is Verdict.LIKELY


def read(manifest: Manifest, reading: Reading, finding: Finding, probability: float) -> Read:
    """Read a calibrated probability, 0..1, of the manifest's ensemble.

    From the threshold on a finding is likely, and positive; below the bundle's threshold of `unlikely` it is unlikely.
    The bundle's thresholds move with the prevalence as the probability does, so that a prevalence alone changes no verdict.
    """
    place = FINDINGS.index(finding)
    points = manifest.operating_points[place] if manifest.operating_points else None
    point, low = Point(reading.point), None
    if points is None:
        point, threshold, prevalence = Point.LIKELY, manifest.thresholds[place], None
    else:
        prevalence = reading.prevalence.get(finding, points.prevalence)
        at = manifest.thresholds[place] if point is Point.LIKELY else getattr(points, point).threshold
        threshold, low, probability = (
            p if prevalence == points.prevalence else moved_prior(p, points.prevalence, prevalence)
            for p in (at, points.unlikely.threshold, probability)
        )
    if finding in reading.thresholds:
        point, threshold = Point.OWN, reading.thresholds[finding]
    if probability >= threshold:
        verdict = Verdict.LIKELY
    else:
        verdict = Verdict.UNLIKELY if low is None or probability < low else Verdict.UNCERTAIN
    return Read(probability, threshold, point, verdict, prevalence)
