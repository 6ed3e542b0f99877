"""What a probability means to a person: likely, uncertain or unlikely, how often that is right, and how many times the
average it is. Measured once, on the images that the bundle was calibrated on, and kept in its manifest."""

import math
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


class ManifestPart(BaseModel):
    """A part of a manifest: frozen, and nothing in it that this version does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Verdict(StrEnum):
    """The three bands that two operating points cut the probabilities into."""

    UNLIKELY = "unlikely"
    UNCERTAIN = "uncertain"
    LIKELY = "likely"


class Rate(ManifestPart):
    """A share with its 95 % interval (bootstrap, whole patients drawn); `None` bounds where it could not be drawn."""

    value: Share
    low: Share | None = None
    high: Share | None = None


class OperatingPoint(ManifestPart):
    """A threshold on the calibrated probability, and what calling everything from it on present amounts to.

    `ppv` and `npv` hold for the prevalence beside which they stand; `ppv` is None where nothing reaches the threshold.
    """

    threshold: Share
    sensitivity: Rate
    specificity: Rate
    ppv: Rate | None = None
    npv: Rate | None = None


class FindingPoints(ManifestPart):
    """One finding's points: from `likely` on (specificity at least 0.90) it is likely, below `unlikely` (sensitivity
    at least 0.90) it is unlikely, between them uncertain. `balanced` is Youden's (1950)."""

    prevalence: float = Field(gt=0, lt=1, description="share present in the images that it was calibrated on")
    images: int = Field(gt=0)
    present: int = Field(gt=0)
    likely: OperatingPoint
    unlikely: OperatingPoint
    balanced: OperatingPoint

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.unlikely.threshold > self.likely.threshold:
            raise ValueError("the threshold of unlikely must not lie above that of likely")
        return self

    def verdict(self, probability: float) -> Verdict:
        """The band of a calibrated probability."""
        if probability >= self.likely.threshold:
            return Verdict.LIKELY
        return Verdict.UNLIKELY if probability < self.unlikely.threshold else Verdict.UNCERTAIN

    def times_the_average(self, probability: float) -> float:
        """How many times as probable as in an image of which nothing is known."""
        return probability / self.prevalence

    def likelihood_ratio(self, probability: float) -> float:
        """Odds of a calibrated probability in (0, 1) over the odds before the image was seen."""
        return _odds(probability) / _odds(self.prevalence)

    def at_prevalence(self, probability: float, prevalence: float) -> float:
        """The probability for a site with another prevalence, 0..1; see `moved_prior`."""
        return moved_prior(probability, self.prevalence, prevalence)


class MapScale(ManifestPart):
    """What a fused map's values mean, so that the same colour means the same in every image.

    A fused map is a share of `full`, cut to 0..1. `unit`: "logit", what the ensemble's logit would gain if all of the
    image looked like that place, or "probability", the finding's probability at that place. `cuts`: shares of `full`
    where the contour is drawn, chosen on the validation part. `members`: the backbones whose maps are fused; all of them
    where it is left out.
    """

    unit: Annotated[str, Field(pattern="^(logit|probability)$")]
    full: tuple[float, float, float, float, float]
    cuts: tuple[Share, Share, Share, Share, Share]
    members: Annotated[tuple[str, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _above_nothing(self) -> Self:
        if any(full <= 0 for full in self.full):
            raise ValueError("every full value must be above 0")
        return self


def moved_prior(probability: float, prevalence: float, other: float) -> float:
    """A calibrated probability, 0..1, of images with a `prevalence`, for images with `other`: the likelihood ratio stays,
    the prior moves. For two classes, equation 2.4 of Saerens, Latinne and Decaestecker 2002 (Neural Computation 14:21,
    doi 10.1162/089976602753284446) is, with odds(p) = p / (1 - p),

        odds(moved) = odds(probability) * odds(other) / odds(prevalence)

    It holds where only the prevalence differs and not how the finding looks. ValueError for prevalences outside of (0, 1).
    """
    if not (0 < prevalence < 1 and 0 < other < 1):
        raise ValueError(f"A prevalence lies between 0 and 1; these are {prevalence} and {other}.")
    odds = _odds(probability) * _odds(other) / _odds(prevalence)
    return odds / (1 + odds)


def margin(probability: float, threshold: float) -> float:
    """How far a probability lies above a threshold (below: negative), as a difference of log odds.

    Comparable between findings, unlike a difference of probabilities: from 0.01 to 0.02 is as far as from 0.5 to 0.67.
    """
    return _log_odds(probability) - _log_odds(threshold)


def _odds(probability: float) -> float:
    return math.exp(_log_odds(probability))


def _log_odds(probability: float) -> float:
    p = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(p) - math.log1p(-p)
