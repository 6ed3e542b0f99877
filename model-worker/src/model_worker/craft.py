"""The worker's craft: `prepare` an upload, `infer` with backbones, and record either in one transaction."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from model_worker.backbone import Prediction
from model_worker.config import WorkerSettings
from model_worker.decode import Decoded, decode
from model_worker.shelf import Shelf
from thorax import ledger
from thorax.errors import CodedError
from thorax.hints import Hints
from thorax.models import StepKind
from thorax.storage import DISPLAY, ORIGINAL, BlobStore, input_name

GPU_BATCH = 8
_log = structlog.get_logger(__name__)

# The default first, the shadow last; what is to become active (`wanted_until`) is no shadow.
_WANTED = text("""
select b.digest, not (b.active or t.bundle_digest is not null or coalesce(b.wanted_until > now(), false)) as shadow
from bundles b left join (select distinct bundle_digest from tenant_bundles) t on t.bundle_digest = b.digest
where b.active or t.bundle_digest is not null or b.wanted_until > now() or b.shadow_share is not null
order by shadow, b.active desc, b.digest""")
_MEDIA_TYPE = text("select media_type from instances where id = :id")
_PREPARED = text("""
update instances set state = 'prepared', error_code = null, error_detail = null, rows = :rows, columns = :columns,
  sop_instance_uid = :sop, series_instance_uid = :series, modality = :modality, view_position = :view
where id = :id returning study_id""")
_STUDY = text("update studies set study_instance_uid = :uid, study_date = :study_date where id = :id")
_PATIENT = text("select remember_patient(:id, :digest)")
_FAILED = text(
    "update instances set state = 'failed', error_code = :code, error_detail = :detail where id = :id"
)
_PREDICTED = text("""
insert into predictions (job_id, instance_id, backbone, probabilities, maps, map_shape)
values (:job_id, :instance_id, :backbone, :probabilities, :maps, :map_shape)
on conflict (job_id, instance_id, backbone) do update set probabilities = excluded.probabilities,
  maps = excluded.maps, map_shape = excluded.map_shape""")


class ModelCraft:
    """Performs `prepare` and `infer` claims."""

    def __init__(
        self, settings: WorkerSettings, engine: Engine, blobs: BlobStore, shelf: Shelf, hints: Hints
    ) -> None:
        self._settings, self._engine, self._blobs = settings, engine, blobs
        self._shelf, self._hints = shelf, hints

    def appetite(self) -> ledger.Appetite:
        """`infer` for the backbones of the shelf, and `prepare` if told so."""
        kinds = (StepKind.INFER, StepKind.PREPARE) if self._settings.prepares else (StepKind.INFER,)
        batch = self._settings.max_batch or (GPU_BATCH if self._shelf.on_gpu else 1)
        return ledger.Appetite(kinds, self._shelf.backbones, self._shelf.digests, batch, self._shelf.loaded)

    def open(self) -> None:
        """Load the default bundle; without one on disk the first job loads what it is pinned to."""
        default = self._want()
        if default in self._shelf.digests:
            self._shelf.sessions(default)

    def survey(self) -> ledger.Appetite:
        """The appetite after a fresh look at the disk and at what is wanted: nothing of it needs a restart."""
        self._shelf.look()
        try:
            self._want()
        except DBAPIError as error:
            _log.warning("survey_failed", error=type(error).__name__)
        return self.appetite()

    def _want(self) -> str:
        """Tell the shelf which bundles are wanted; returns the first of them, or nothing."""
        with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            rows = connection.execute(_WANTED).all()
        wanted = [row.digest for row in rows if not row.shadow]
        self._shelf.want(wanted, next((row.digest for row in rows if row.shadow), None))
        return wanted[0] if wanted else ""

    def perform(self, claims: Sequence[ledger.Claim]) -> None:
        """Claims of one kind, as `ledger.claim` gives them."""
        if claims[0].kind is StepKind.PREPARE:
            self._prepare(claims[0])
        else:
            self._infer(claims)

    def _prepare(self, claim: ledger.Claim) -> None:
        assert claim.instance_id
        bundle = self._shelf.bundle(claim.bundle_digest)
        with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            media_type = connection.execute(_MEDIA_TYPE, {"id": claim.instance_id}).scalar_one()
        try:
            decoded = decode(
                self._blobs.get(claim.instance_id, ORIGINAL),
                media_type,
                [spec.input for spec in bundle.manifest.backbones],
                timeout_s=self._settings.decode_timeout_s,
            )
        except CodedError as error:
            if claim.shadow:
                raise  # the image was readable for its own job
            # The file is at fault and will be so next time: the step has done its work by finding out.
            values = {"id": claim.instance_id, "code": str(error.code), "detail": error.detail}
            self._complete([claim], lambda connection: connection.execute(_FAILED, values), ())
            return
        for key, image in decoded.inputs.items():
            self._blobs.put(claim.instance_id, input_name(key), image.tobytes())
        steps = [ledger.NewStep(StepKind.INFER, claim.instance_id, name) for name in bundle.names]
        if claim.shadow:  # it wanted the input only; the image is as its own job has left it
            self._complete([claim], lambda _: None, steps)
            return
        self._blobs.put(claim.instance_id, DISPLAY, decoded.display_png)
        self._complete([claim], lambda connection: _record_decoded(connection, claim, decoded), steps)

    def _infer(self, claims: Sequence[ledger.Claim]) -> None:
        rows: dict[int, dict[str, Any]] = {}
        for digest, backbone in dict.fromkeys((c.bundle_digest, c.backbone) for c in claims):
            assert backbone
            batch = [c for c in claims if (c.bundle_digest, c.backbone) == (digest, backbone)]
            session = self._shelf.sessions(digest)[backbone]
            spec = session.spec.input
            images = np.stack([self._input(c.instance_id, spec.key, spec.size) for c in batch])
            rows |= _rows(batch, session.predict(images))
        with self._engine.begin() as connection:
            held = ledger.hold(connection, claims)
            if held:
                connection.execute(_PREDICTED, [rows[c.step_id] for c in held])
            added = ledger.advance(connection, held)
        self._hint(added)

    def _input(self, instance_id: UUID | None, key: str, size: int) -> NDArray[np.uint8]:
        assert instance_id
        return np.frombuffer(self._blobs.get(instance_id, input_name(key)), np.uint8).reshape(size, size)

    def _complete(self, claims: Sequence[ledger.Claim], record: Any, steps: Sequence[ledger.NewStep]) -> None:
        with self._engine.begin() as connection:
            held = ledger.hold(connection, claims)
            if held:
                record(connection)
            added = ledger.advance(connection, held, [(c.job_id, step) for c in held for step in steps])
        self._hint(added)

    def _hint(self, added: Sequence[ledger.NewStep]) -> None:
        """Hints for what others have to do; what this worker can do itself it claims next."""
        own = {ledger.queue_of(StepKind.INFER, name) for name in self._shelf.backbones}
        self._hints.send(queue for queue in dict.fromkeys(step.queue for step in added) if queue not in own)


def _record_decoded(connection: Connection, claim: ledger.Claim, decoded: Decoded) -> None:
    facts = decoded.facts
    values = {
        "id": claim.instance_id,
        "rows": decoded.rows,
        "columns": decoded.columns,
        "sop": facts.sop_instance_uid if facts else None,
        "series": facts.series_instance_uid if facts else None,
        "modality": facts.modality if facts else None,
        "view": facts.view_position if facts else None,
    }
    study_id = connection.execute(_PREPARED, values).scalar()
    if facts and (facts.study_instance_uid or facts.study_date):
        study = {"uid": facts.study_instance_uid, "study_date": facts.study_date, "id": study_id}
        connection.execute(_STUDY, study)
    if facts and facts.patient:
        connection.execute(_PATIENT, {"id": study_id, "digest": bytes.fromhex(facts.patient)})


def _rows(batch: Sequence[ledger.Claim], predicted: Prediction) -> dict[int, dict[str, Any]]:
    """The prediction's rows by step id."""
    return {
        claim.step_id: {
            "job_id": claim.job_id,
            "instance_id": claim.instance_id,
            "backbone": claim.backbone,
            "probabilities": predicted.probabilities[i].tolist(),
            "maps": predicted.maps[i].tobytes(),
            "map_shape": list(predicted.maps[i].shape),
        }
        for i, claim in enumerate(batch)
    }
