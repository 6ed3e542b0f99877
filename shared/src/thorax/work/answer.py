"""From the backbones' predictions to a job's answer: what the last step of a job records, whichever service does it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from uuid import UUID

import numpy as np
import orjson
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
    """The values of `RECORD`: the study's five findings before each image's."""
    whole = study([result.ensemble for result in results])
    answers = [(None, whole), *((result.instance_id, result.ensemble) for result in results)]
    findings = [
        {**vars(said), "positive": said.positive, "instance_id": owner, "finding": finding, "disagreement": d}
        for owner, ensemble in answers
        for finding, p, d in zip(
            FINDINGS, ensemble.probabilities.tolist(), ensemble.disagreement.tolist(), strict=True
        )
        for said in [read(manifest, reading, finding, p)]
    ]
    places, maps = laid_out([result.maps for result in results])
    pictures = [{"instance_id": r.instance_id, **place} for r, place in zip(results, places, strict=True)]
    return {
        "findings": orjson.dumps(findings).decode(),
        "pictures": orjson.dumps(pictures).decode(),
        "maps": maps,
        "missing": list(whole.missing),
    }


def laid_out(arrays: Sequence[NDArray[Any]]) -> tuple[list[dict[str, Any]], bytes]:
    """Arrays one after the other, and where each lies: `first` (from 1) and `bytes`, with its `shape`.

    psycopg writes a list of bytes as text, which costs it 50 times as much as one value.
    """
    pieces = [array.tobytes() for array in arrays]
    ends = list(accumulate(map(len, pieces)))
    places = [
        {"first": end - len(piece) + 1, "bytes": len(piece), "shape": array.shape}
        for array, piece, end in zip(arrays, pieces, ends, strict=True)
    ]
    return places, b"".join(pieces)
