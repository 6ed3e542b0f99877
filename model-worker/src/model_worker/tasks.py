"""The worker's handler: `prepare` an upload, `infer` with backbones, and record either in one statement."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from model_worker.bundle_cache import BundleCache
from model_worker.config import WorkerSettings
from model_worker.decoding.attributes import DicomFacts
from model_worker.sandbox.client import CODES, Decoded, decode
from thorax.errors import CodedError
from thorax.states import StepKind
from thorax.storage import DISPLAY, ORIGINAL, BlobStore, input_name
from thorax.work import ledger
from thorax.work.hints import Hints

GPU_BATCH = 8
_log = structlog.get_logger(__name__)

# The default first, the shadow last; what is to become active (`wanted_until`) is no shadow.
_WANTED = text("""
select b.digest, not (b.active or t.bundle_digest is not null or coalesce(b.wanted_until > now(), false)) as shadow
from bundles b left join (select distinct bundle_digest from tenant_bundles) t on t.bundle_digest = b.digest
where b.active or t.bundle_digest is not null or b.wanted_until > now() or b.shadow_share is not null
order by shadow, b.active desc, b.digest""")
_STUDY = text("""
update studies set study_instance_uid = :uid, study_date = :study_date
where id = (select study_id from instances where id = :id)""")
_PATIENT = text("select remember_patient(study_id, :digest) from instances where id = :id")

# What `ledger.complete` writes for the steps that were still ours.
_PREPARED = """
image as (
  update instances set state = 'prepared', error_code = null, error_detail = null, rows = :rows, columns = :columns,
    sop_instance_uid = :sop, series_instance_uid = :series, modality = :modality, view_position = :view
  where id in (select instance_id from held))"""
_FAILED = """
image as (
  update instances set state = 'failed', error_code = :code, error_detail = :detail
  where id in (select instance_id from held))"""
_PREDICTED = """
predicted as (
  insert into predictions (job_id, instance_id, backbone, probabilities, maps, map_shape)
  select held.job_id, held.instance_id, held.backbone,
    (cast(:probabilities as real[]))[5 * p.place - 4 : 5 * p.place], p.maps,
    (cast(:shapes as smallint[]))[3 * p.place - 2 : 3 * p.place]
  from unnest(cast(:ids as bigint[]), cast(:maps as bytea[])) with ordinality as p (id, maps, place)
  join held on held.id = p.id
  on conflict (job_id, instance_id, backbone) do update set probabilities = excluded.probabilities,
    maps = excluded.maps, map_shape = excluded.map_shape)"""


class InferenceHandler:
    """Performs `prepare` and `infer` claims."""

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine,
        blobs: BlobStore,
        bundle_cache: BundleCache,
        hints: Hints,
    ) -> None:
        self._settings, self._engine, self._blobs = settings, engine, blobs
        self._whole = engine.execution_options(isolation_level="READ COMMITTED")
        self._bundle_cache, self._hints = bundle_cache, hints

    def capabilities(self) -> ledger.Capabilities:
        """`infer` for the backbones of the bundle_cache, and `prepare` if told so."""
        kinds = (StepKind.INFER, StepKind.PREPARE) if self._settings.prepares else (StepKind.INFER,)
        batch = self._settings.max_batch or (GPU_BATCH if self._bundle_cache.on_gpu else 1)
        return ledger.Capabilities(
            kinds, self._bundle_cache.backbones, self._bundle_cache.digests, batch, self._bundle_cache.loaded
        )

    def open(self) -> None:
        """Load the default bundle; without one on disk the first job loads what it is pinned to."""
        default = self._want()
        if default in self._bundle_cache.digests:
            self._bundle_cache.sessions(default)

    def refresh(self) -> ledger.Capabilities:
        """The capabilities after a fresh look at the disk and at what is wanted: nothing of it needs a restart."""
        self._bundle_cache.look()
        try:
            self._want()
        except DBAPIError as error:
            _log.warning("refresh_failed", error=type(error).__name__)
        return self.capabilities()

    def _want(self) -> str:
        """Tell the bundle_cache which bundles are wanted; returns the first of them, or nothing."""
        with self._engine.connect() as connection:
            rows = connection.execute(_WANTED).all()
        wanted = [row.digest for row in rows if not row.shadow]
        self._bundle_cache.want(wanted, next((row.digest for row in rows if row.shadow), None))
        return wanted[0] if wanted else ""

    def run(self, claims: Sequence[ledger.Claim]) -> None:
        """Claims of one kind, as `ledger.claim` gives them."""
        if claims[0].kind is StepKind.PREPARE:
            self._prepare(claims[0])
        else:
            self._infer(claims)

    def _prepare(self, claim: ledger.Claim) -> None:
        assert claim.instance_id
        assert claim.media_type
        bundle = self._bundle_cache.bundle(claim.bundle_digest)
        try:
            decoded = decode(
                self._blobs.get(claim.instance_id, ORIGINAL),
                claim.media_type,
                [spec.input for spec in bundle.manifest.backbones],
                timeout_s=self._settings.decode_timeout_s,
            )
        except CodedError as error:
            if claim.shadow or error.code not in CODES:
                raise  # the image was readable for its own job; or it is this worker that can't read any
            # The file is at fault and will be so next time: the step has done its work by finding out.
            values = {"code": str(error.code), "detail": error.detail}
            self._complete(self._engine, [claim], record=_FAILED, values=values)
            return
        for key, image in decoded.inputs.items():
            self._blobs.put(claim.instance_id, input_name(key), image.tobytes())
        steps = [
            (claim.job_id, ledger.NewStep(StepKind.INFER, claim.instance_id, name)) for name in bundle.names
        ]
        if claim.shadow:  # it wanted the input only; the image is as its own job has left it
            self._complete(self._engine, [claim], steps)
            return
        self._blobs.put(claim.instance_id, DISPLAY, decoded.display_png)
        values = _facts(decoded)
        if decoded.facts is None:
            self._complete(self._engine, [claim], steps, record=_PREPARED, values=values)
            return
        self._complete(self._whole, [claim], steps, record=_PREPARED, values=values, facts=decoded.facts)

    def _infer(self, claims: Sequence[ledger.Claim]) -> None:
        if claims[0].rest:
            self._hints.send([ledger.queue_of(StepKind.INFER, claims[0].backbone)])
        rows: dict[int, tuple[NDArray[np.float32], NDArray[np.float16]]] = {}
        read = cache(self._input)  # backbones mostly share one
        for digest, backbone in dict.fromkeys((c.bundle_digest, c.backbone) for c in claims):
            assert backbone
            batch = [c for c in claims if (c.bundle_digest, c.backbone) == (digest, backbone)]
            session = self._bundle_cache.sessions(digest)[backbone]
            spec = session.spec.input
            images = np.stack([read(c.instance_id, spec.key, spec.size) for c in batch])
            answer = session.predict(images)
            rows |= {c.step_id: (answer.probabilities[i], answer.maps[i]) for i, c in enumerate(batch)}
        answers = [rows[c.step_id] for c in claims]
        values = {
            "probabilities": [float(p) for five, _ in answers for p in five],
            "maps": [maps.tobytes() for _, maps in answers],
            "shapes": [edge for _, maps in answers for edge in maps.shape],
        }
        self._complete(self._engine, claims, record=_PREDICTED, values=values)

    def _input(self, instance_id: UUID | None, key: str, size: int) -> NDArray[np.uint8]:
        assert instance_id
        return np.frombuffer(self._blobs.get(instance_id, input_name(key)), np.uint8).reshape(size, size)

    def _complete(
        self,
        engine: Engine,
        claims: Sequence[ledger.Claim],
        follow_ups: Sequence[tuple[UUID, ledger.NewStep]] = (),
        *,
        record: str = "",
        values: Mapping[str, Any] | None = None,
        facts: DicomFacts | None = None,
    ) -> None:
        with engine.begin() as connection:
            done = ledger.complete(connection, claims, follow_ups, record=record, values=values)
            if facts and done.held:
                _record_facts(connection, claims[0], facts)
        self._hint(done.added)

    def _hint(self, added: Sequence[ledger.NewStep]) -> None:
        """Hints for what others have to do; what this worker can do itself it claims next."""
        own = {ledger.queue_of(StepKind.INFER, name) for name in self._bundle_cache.backbones}
        self._hints.send(queue for queue in dict.fromkeys(step.queue for step in added) if queue not in own)


def _facts(decoded: Decoded) -> dict[str, Any]:
    facts = decoded.facts
    return {
        "rows": decoded.rows,
        "columns": decoded.columns,
        "sop": facts.sop_instance_uid if facts else None,
        "series": facts.series_instance_uid if facts else None,
        "modality": facts.modality if facts else None,
        "view": facts.view_position if facts else None,
    }


def _record_facts(connection: Connection, claim: ledger.Claim, facts: DicomFacts) -> None:
    """What a DICOM file says of its study."""
    if facts.study_instance_uid or facts.study_date:
        study = {"uid": facts.study_instance_uid, "study_date": facts.study_date, "id": claim.instance_id}
        connection.execute(_STUDY, study)
    if facts.patient:
        connection.execute(_PATIENT, {"id": claim.instance_id, "digest": bytes.fromhex(facts.patient)})
