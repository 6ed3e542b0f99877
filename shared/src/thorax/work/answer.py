"""From the backbones' predictions to a job's answer: what the last step of a job records, whichever service does it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from thorax import queries
from thorax.bundle import Manifest
from thorax.cascade import answering
from thorax.ensemble import Ensemble, combine, study
from thorax.findings import FINDINGS
from thorax.heatmaps import fuse
from thorax.reading import Reading, read

RECORD = queries.load(__file__)["record"].text
"""CTEs that follow `ledger.HELD` and write findings and heatmaps for the job of `held`; `values_of` gives their values."""


@dataclass(frozen=True)
class ImageResult:
    """The ensemble's answer for one image, and its fused maps float16 [5, 28, 28]."""

    instance_id: UUID
    ensemble: Ensemble
    maps: NDArray[np.float16]


def result_of(
    manifest: Manifest,
    instance_id: UUID,
    asked: Collection[str],
    probabilities: Mapping[str, NDArray[np.floating]],
    maps: Mapping[str, NDArray[np.floating]],
    *,
    allow_missing: bool = False,
) -> ImageResult:
    """One image's answer, of `[5]` and `[5, h, w]` of each backbone that was asked. Raises CodedError(INTERNAL) as `combine` does."""
    # As they are stored, so that an answer does not depend on whether they were.
    stored = {name: np.asarray(five, np.float32) for name, five in probabilities.items()}
    manifest = answering(manifest, asked)
    ensemble = combine(manifest, stored, allow_missing=allow_missing)
    return ImageResult(instance_id, ensemble, fuse(manifest, maps, allow_missing=allow_missing))


def values_of(manifest: Manifest, reading: Reading, results: Sequence[ImageResult]) -> dict[str, Any]:
    """The values of `RECORD`: a column per array, the study's five findings before each image's."""
    whole = study([result.ensemble for result in results])
    answers = [(None, whole), *((result.instance_id, result.ensemble) for result in results)]
    said = [
        read(manifest, reading, finding, float(p))
        for _, ensemble in answers
        for finding, p in zip(FINDINGS, ensemble.probabilities, strict=True)
    ]
    return {
        "owners": [owner for owner, _ in answers for _ in FINDINGS],
        "findings": [str(finding) for _ in answers for finding in FINDINGS],
        "probabilities": [one.probability for one in said],
        "thresholds": [one.threshold for one in said],
        "positives": [one.positive for one in said],
        "disagreements": [float(d) for _, ensemble in answers for d in ensemble.disagreement],
        "verdicts": [str(one.verdict) for one in said],
        "prevalences": [one.prevalence for one in said],
        "points": [str(one.point) for one in said],
        "images": [result.instance_id for result in results],
        "maps": [result.maps.tobytes() for result in results],
        "shape": list(results[0].maps.shape),
        "missing": list(whole.missing),
    }
