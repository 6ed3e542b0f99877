"""From a job's rows and blobs to its `Answer`, and to the DICOM objects that say it."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from aggregator.objects import objects
from aggregator.objects.answer import AnalysedImage, Answer, Predecessor, Said
from aggregator.objects.identity import Sealed
from aggregator.objects.source import NEEDED, read_header
from thorax import queries
from thorax.bundle import Manifest
from thorax.errors import Code
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import Verdict
from thorax.pacs import OWN_MANUFACTURER
from thorax.storage import DISPLAY, ORIGINAL, BlobStore

_SQL = queries.load(__file__)
_log = structlog.get_logger(__name__)
_TOLD = (Code.NOT_FRONTAL, Code.NOT_A_CHEST)
"""Refusals that are told: the header of these files has been read in the sandbox, so that it may be read here too."""


def objects_of(
    engine: Engine, blobs: BlobStore, job_id: UUID, predecessor: Predecessor | None, *, logged: bool = True
) -> tuple[list[Sealed], list[str]]:
    """The objects of a job's answer, the report first, and the names of those that can't be made, which are logged."""
    with engine.connect() as connection:
        answer = answer_of(connection, blobs, job_id, predecessor)
    sealed, unmade = list[Sealed](), list[str]()
    for made in objects(answer) if answer else ():
        if isinstance(made, Sealed):
            sealed.append(made)
            continue
        unmade.append(made.name)
        if logged:
            _log.error("object_not_made", job=str(job_id), object=made.name, exc_info=made.error)
    return sealed, unmade


def answer_of(
    connection: Connection, blobs: BlobStore, job_id: UUID, predecessor: Predecessor | None
) -> Answer | None:
    """The answer to a job that has ended; None if it says nothing of any DICOM image."""
    job = connection.execute(_SQL["job"], {"job_id": job_id}).one()
    manifest = Manifest.model_validate(job.manifest)
    images = tuple(_images(connection, blobs, job_id, manifest))
    if not images:
        return None
    return Answer(job.name, job.version, job.digest, job.finished_at, images, predecessor)


def _images(
    connection: Connection, blobs: BlobStore, job_id: UUID, manifest: Manifest
) -> Iterator[AnalysedImage]:
    for row in connection.execute(_SQL["images"], {"job_id": job_id}).all():
        if not row.said and row.error_code not in _TOLD:
            continue
        header = read_header(blobs.get(row.id, ORIGINAL))
        if str(header.get("Manufacturer") or "").strip().upper() == OWN_MANUFACTURER:
            continue
        if not all(header.get(keyword) for keyword in NEEDED):
            continue  # no object can refer to it
        if not row.said:
            yield AnalysedImage(header, refusal=row.error_code, reason=row.error_detail or "It was refused.")
            continue
        yield AnalysedImage(
            header,
            _said(row.said),
            None if row.maps is None else np.frombuffer(row.maps, np.float16).reshape(row.map_shape),
            manifest.maps.cuts if manifest.maps else (0.5,) * len(FINDINGS),
            _grey(blobs.get(row.id, DISPLAY)),
            row.orientation,
            warnings=frozenset(warning["detail"] for warning in row.warnings),
        )


def _grey(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


def _said(rows: list[dict[str, Any]]) -> tuple[Said, ...]:
    by_finding = {row["finding"]: row for row in rows}
    return tuple(
        Said(Finding(finding), row["probability"], row["threshold"], row["positive"], Verdict(row["verdict"]))
        for finding in FINDINGS
        if (row := by_finding.get(str(finding)))
    )
