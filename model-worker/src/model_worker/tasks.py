"""The worker's step handler: `prepare` an upload, `infer` with backbones, record either in one statement."""

from collections.abc import Mapping, Sequence
from functools import cache
from time import monotonic
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from model_worker import queries
from model_worker.backbone import Backbone, Prediction
from model_worker.bundle_cache import BundleCache
from model_worker.chores import Chores
from model_worker.config import WorkerSettings
from model_worker.decoding.attributes import DicomAttributes
from model_worker.metrics import BATCH_IMAGES, IMAGES_REFUSED, PREDICT_SECONDS
from model_worker.sandbox.answers import CODES, Decoded
from model_worker.sandbox.client import decode
from thorax import tracing
from thorax.bundle import Bundle
from thorax.cascade import asked_first, still_to_ask
from thorax.database import transactional
from thorax.errors import Code, CodedError
from thorax.reading import AS_THE_BUNDLE, Reading
from thorax.states import ANONYMOUS_TENANT, OTHER_PIXELS, StepKind
from thorax.storage import DISPLAY, ORIGINAL, BlobStore, input_name
from thorax.work import answer as answer_of
from thorax.work import ledger
from thorax.work.hints import Hints

GPU_BATCH = 8
AT_ONCE_S = 5.0  # an image whose preparation took longer is inferred under a lease of its own
_log = structlog.get_logger(__name__)


class InferenceHandler:
    """Runs `prepare` and `infer` steps."""

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine,
        blobs: BlobStore,
        bundle_cache: BundleCache,
        hints: Hints,
    ) -> None:
        self._settings, self._engine, self._blobs = settings, engine, blobs
        self._transactional = transactional(engine)
        self._bundle_cache, self._hints = bundle_cache, hints
        self._chores = Chores(engine, blobs, settings.decode_timeout_s)

    def capabilities(self) -> ledger.Capabilities:
        """`infer` for the cached bundles' backbones, and `prepare` if the settings say so."""
        kinds = (StepKind.INFER, StepKind.PREPARE) if self._settings.prepares else (StepKind.INFER,)
        batch = self._settings.max_batch or (GPU_BATCH if self._bundle_cache.on_gpu else 1)
        return ledger.Capabilities(
            kinds, self._bundle_cache.backbones, self._bundle_cache.digests, batch, self._bundle_cache.loaded
        )

    def open(self) -> None:
        """Load the default bundle; without one on disk the first job loads what it is pinned to."""
        default = self._preload()
        if default in self._bundle_cache.digests:
            self._bundle_cache.sessions(default)

    def refresh(self) -> ledger.Capabilities:
        """The capabilities after reading disk and database again, so that no new bundle needs a restart."""
        self._bundle_cache.refresh()
        try:
            self._preload()
        except DBAPIError as error:
            _log.warning("refresh_failed", error=type(error).__name__)
        return self.capabilities()

    def _preload(self) -> str:
        """Have the wanted bundles loaded; returns the default's digest, or nothing."""
        with self._engine.connect() as connection:
            wanted, shadow = queries.wanted_bundles(connection)
        self._bundle_cache.preload(wanted, shadow)
        return wanted[0] if wanted else ""

    def run(self, claims: Sequence[ledger.Claim]) -> bool:
        """Claims of one kind, as `ledger.claim` gives them; whether this worker's own steps follow."""
        if claims[0].kind is not StepKind.PREPARE:
            self._infer(claims)
            return False
        follows = self._prepare(claims[0])
        if claims[0].forms:
            self._chores.make_forms()  # readers don't wait until no step is left
        return follows

    def tidy(self) -> bool:
        """Do one chore, when no step is left; whether there was one."""
        return self._settings.prepares and self._chores.do_one()

    def _prepare(self, claim: ledger.Claim) -> bool:
        assert claim.instance_id
        assert claim.media_type
        began = monotonic()
        bundle = self._bundle_cache.bundle(claim.bundle_digest)
        try:
            if claim.contests and self._chores.pixels_differ(claim.instance_id, claim.contests):
                raise CodedError(Code.INSTANCE_CONFLICT, OTHER_PIXELS)
            decoded = decode(
                self._blobs.get(claim.instance_id, ORIGINAL),
                claim.media_type,
                [spec.input for spec in bundle.manifest.backbones],
                timeout_s=self._settings.decode_timeout_s,
                force=claim.force,
                tenant=None if claim.tenant_id == ANONYMOUS_TENANT else claim.tenant_id,
            )
        except CodedError as error:
            if claim.shadow or error.code not in {*CODES, Code.INSTANCE_CONFLICT}:
                raise  # a shadow's own job could read the image; any other code is this worker's fault
            # The file is at fault and would fail again, so the step is done.
            values = {"code": str(error.code), "detail": error.detail}
            self._complete([claim], record=queries.FAILED, values=values)
            IMAGES_REFUSED.labels(error.code).inc()
            return False
        for key, image in decoded.inputs.items():
            self._blobs.put(claim.instance_id, input_name(key), image.tobytes())
        steps = [
            (claim.job_id, ledger.NewStep(StepKind.INFER, claim.instance_id, name))
            for name in asked_first(bundle.manifest, full=claim.full)
        ]
        if claim.shadow:  # it needs the inputs only; its own job has recorded the image
            return self._complete([claim], steps)
        self._blobs.put(claim.instance_id, DISPLAY, decoded.display_png)
        if claim.alone and claim.attempts == 1 and monotonic() - began < AT_ONCE_S and self._can_all(bundle):
            self._infer_at_once(claim, bundle, decoded)
            return False
        return self._complete(
            [claim],
            steps,
            record=queries.PREPARED,
            values=queries.image_values(decoded),
            attributes=decoded.dicom_attributes,
        )

    def _infer(self, claims: Sequence[ledger.Claim]) -> None:
        if claims[0].rest:
            self._hints.send([ledger.queue_of(StepKind.INFER, claims[0].backbone)])
        rows: dict[int, queries.Prediction] = {}
        read = cache(self._input)  # backbones mostly share one
        for digest, backbone in dict.fromkeys((c.bundle_digest, c.backbone) for c in claims):
            assert backbone
            batch = [c for c in claims if (c.bundle_digest, c.backbone) == (digest, backbone)]
            session = self._bundle_cache.sessions(digest)[backbone]
            spec = session.spec.input
            images = np.stack([read(c.instance_id, spec.key, spec.size) for c in batch])
            answer = _measured(session, images)
            rows |= {c.step_id: (answer.probabilities[i], answer.maps[i]) for i, c in enumerate(batch)}
        self._complete(claims, record=queries.PREDICTED, values=queries.prediction_values(rows))

    def _can_all(self, bundle: Bundle) -> bool:
        """Whether this worker has all of a bundle's backbones and runs images one by one, not in batches."""
        capabilities = self.capabilities()
        return capabilities.max_batch == 1 and {*bundle.names} <= {*capabilities.backbones}

    def _infer_at_once(self, claim: ledger.Claim, bundle: Bundle, decoded: Decoded) -> None:
        """Run the backbones on an image that was just prepared; a job's only image is answered too (docs/adr/0022)."""
        assert claim.instance_id
        sessions, ran = self._bundle_cache.sessions(claim.bundle_digest), list[ledger.NewStep]()
        rows: dict[str, queries.Prediction] = {}
        names = list(asked_first(bundle.manifest, full=claim.full))
        for name in names:  # which grows if the first ones of a cascade are not sure
            began = monotonic()
            answer = _measured(sessions[name], decoded.inputs[sessions[name].spec.input.key][None])
            rows[name] = answer.probabilities[0], answer.maps[0]
            ran.append(ledger.NewStep(StepKind.INFER, claim.instance_id, name, (began, monotonic())))
            if len(rows) == len(names):
                names += still_to_ask(bundle.manifest, names, {n: five for n, (five, _) in rows.items()})
        record = f"{queries.PREPARED}, {queries.INFERRED}"
        values = {
            **queries.image_values(decoded),
            **queries.prediction_values(rows),
        }
        if claim.only:
            began = monotonic()
            probabilities, maps = ({name: row[i] for name, row in rows.items()} for i in (0, 1))
            result = answer_of.result_of(bundle.manifest, claim.instance_id, names, probabilities, maps)
            record = f"{record}, {answer_of.RECORD}"
            reading = Reading.model_validate(claim.reading) if claim.reading else AS_THE_BUNDLE
            values |= answer_of.values_of(bundle.manifest, reading, [result])
            ran.append(ledger.NewStep(StepKind.AGGREGATE, ran=(began, monotonic())))
        self._complete(
            [claim],
            [(claim.job_id, step) for step in ran],
            record=record,
            values=values,
            attributes=decoded.dicom_attributes,
            conclude=claim.only,
        )

    def _input(self, instance_id: UUID | None, key: str, size: int) -> NDArray[np.uint8]:
        assert instance_id
        return np.frombuffer(self._blobs.get(instance_id, input_name(key)), np.uint8).reshape(size, size)

    def _complete(
        self,
        claims: Sequence[ledger.Claim],
        follow_ups: Sequence[tuple[UUID, ledger.NewStep]] = (),
        *,
        record: str = "",
        values: Mapping[str, Any] | None = None,
        attributes: DicomAttributes | None = None,
        conclude: bool = False,
    ) -> bool:
        engine = self._transactional if attributes else self._engine  # one statement needs no transaction
        with engine.begin() as connection:
            done = ledger.complete(
                connection, claims, follow_ups, record=record, values=values, conclude=conclude
            )
            if attributes and done.held and claims[0].instance_id:
                queries.record_study(connection, claims[0].instance_id, attributes)
        if done.ended:
            done.ended.tell()
        for job_id, step in follow_ups:
            if step.ran:
                tracing.record(step.queue, job_id, claims[0].traceparent, step.ran)
        return self._hint(done.added)

    def _hint(self, added: Sequence[ledger.NewStep]) -> bool:
        """Hints for other workers' queues; whether there is work for this one, which it claims next."""
        own = {ledger.queue_of(StepKind.INFER, name) for name in self._bundle_cache.backbones}
        queues = dict.fromkeys(step.queue for step in added)
        self._hints.send(queue for queue in queues if queue not in own)
        return not own.isdisjoint(queues)


def _measured(session: Backbone, images: NDArray[np.uint8]) -> Prediction:
    with PREDICT_SECONDS.labels(session.spec.name, session.provider).time():
        answer = session.predict(images)
    BATCH_IMAGES.labels(session.provider).observe(len(images))
    return answer
