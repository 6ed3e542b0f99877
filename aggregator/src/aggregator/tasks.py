"""The aggregator's handler: when the last prediction is there, the ensemble's findings and heatmaps follow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from thorax import queries
from thorax.bundle import Manifest
from thorax.cascade import still_to_ask
from thorax.errors import Code, CodedError
from thorax.reading import AS_THE_BUNDLE, Reading
from thorax.states import StepKind
from thorax.work import ledger
from thorax.work.answer import RECORD, ImageResult, result_of, values_of
from thorax.work.ending import Ended
from thorax.work.hints import Hints

_SQL = queries.load(__file__)
_SUCCEED = ledger.completing(f"{RECORD}, {_SQL['succeed'].text}")
_FAIL = ledger.completing(_SQL["fail"].text)


class AggregateHandler:
    """Does `aggregate` steps."""

    def __init__(self, engine: Engine, hints: Hints, *, quorum: int) -> None:
        self._engine, self._hints, self._quorum = engine, hints, quorum
        self._manifests: dict[str, Manifest] = {}

    def capabilities(self) -> ledger.Capabilities:
        """`aggregate`, of any bundle."""
        return ledger.Capabilities((StepKind.AGGREGATE,))

    def tidy(self) -> bool:
        """Nothing: this is the sweeper's."""
        return False

    def run(self, claims: Sequence[ledger.Claim]) -> bool:
        """One job's last step, unless the first backbones of a cascade are not sure: then the others are asked before it."""
        (claim,) = claims
        with self._engine.connect() as connection:
            manifest = self._manifest(connection, claim.bundle_digest)
            images = _images(connection, claim.job_id)
            if more := list(_still_to_ask(manifest, claim.job_id, images)):
                added = ledger.complete(connection, claims, more).added
                self._hints.send(step.queue for step in added)
                return False
            results = [self._result(manifest, image) for image in images]
            statement, values = (
                (_SUCCEED, values_of(manifest, _reading(connection, claim.job_id), results))
                if results
                else (_FAIL, _reason(connection, claim.job_id))
            )
            row = connection.execute(statement, {**values, **ledger.held_by(claims)}).first()
        if row:
            Ended.of(row).tell()
        return False

    def _manifest(self, connection: Connection, digest: str) -> Manifest:
        if digest not in self._manifests:
            stored = connection.execute(_SQL["manifest"], {"digest": digest}).scalar_one()
            self._manifests[digest] = Manifest.model_validate(stored)
        return self._manifests[digest]

    def _result(self, manifest: Manifest, image: "_Image") -> ImageResult:
        """An image's answer. Raises CodedError(INTERNAL) unless it has exactly the predictions that were asked for."""
        if not image.predictions:
            raise CodedError(Code.INTERNAL, "An image lacks all predictions.")
        allow_missing = self._quorum > 0
        return result_of(
            manifest, image.id, image.asked, image.probabilities, image.maps, allow_missing=allow_missing
        )


@dataclass(frozen=True)
class _Image:
    """A usable image of a job: the backbones that were asked, and the rows of those that have predicted."""

    id: UUID
    asked: tuple[str, ...]
    predictions: tuple[Any, ...]

    @property
    def probabilities(self) -> dict[str, NDArray[np.floating]]:
        return {row.backbone: np.array(row.probabilities) for row in self.predictions}

    @property
    def maps(self) -> dict[str, NDArray[np.floating]]:
        return {
            row.backbone: np.frombuffer(row.maps, np.float16).reshape(row.map_shape)
            for row in self.predictions
        }


def _images(connection: Connection, job_id: UUID) -> list[_Image]:
    rows = connection.execute(_SQL["predictions"], {"job_id": job_id}).all()
    return [
        _Image(image, tuple(asked or ()), tuple(row for row in group if row.backbone))
        for (image, asked), group in groupby(rows, key=lambda row: (row.instance_id, row.asked))
    ]


def _still_to_ask(
    manifest: Manifest, job_id: UUID, images: Sequence[_Image]
) -> Iterator[tuple[UUID, ledger.NewStep]]:
    for image in images:
        for name in still_to_ask(manifest, image.asked, image.probabilities):
            yield job_id, ledger.NewStep(StepKind.INFER, image.id, name)


def _reading(connection: Connection, job_id: UUID) -> Reading:
    stored = connection.execute(_SQL["reading"], {"job_id": job_id}).scalar()
    return Reading.model_validate(stored) if stored else AS_THE_BUNDLE


def _reason(connection: Connection, job_id: UUID) -> dict[str, Any]:
    """Why no image could be analysed: the image's own code if there is just one."""
    failed = connection.execute(_SQL["failed_images"], {"job_id": job_id}).all()
    code, detail = failed[0] if len(failed) == 1 else (Code.NO_USABLE_IMAGE, "No image could be analysed.")
    return {"code": str(code), "detail": detail}
