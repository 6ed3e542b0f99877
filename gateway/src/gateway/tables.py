"""The platform's rows. Migrations create the tables; these classes name their columns for queries."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, REAL, DateTime, ForeignKey, SmallInteger, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All rows of the platform; timestamps carry their zone."""

    type_annotation_map = {  # noqa: RUF012
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        list[float]: ARRAY(REAL),
        list[int]: ARRAY(SmallInteger),
        str: String,
    }


class BundleRow(Base):
    """A registered model bundle. At most one is active: the default; at most one has a `shadow_share`."""

    __tablename__ = "bundles"
    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    card: Mapped[str]
    active: Mapped[bool]
    registered_at: Mapped[datetime]
    shadow_share: Mapped[float | None]


class TenantBundle(Base):
    """The bundle that a tenant's new jobs use instead of the default."""

    __tablename__ = "tenant_bundles"
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    bundle_digest: Mapped[str] = mapped_column(ForeignKey("bundles.digest"))


class TenantReading(Base):
    """How a tenant reads probabilities: a `thorax.reading.Reading`."""

    __tablename__ = "tenant_readings"
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    reading: Mapped[dict[str, Any]]
    changed_at: Mapped[datetime]


class Study(Base):
    """What the PACS calls a study, or one upload."""

    __tablename__ = "studies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    title: Mapped[str]
    study_instance_uid: Mapped[str | None]
    study_date: Mapped[date | None]
    accession: Mapped[str | None]
    patient: Mapped[bytes | None]
    created_at: Mapped[datetime]
    held_since: Mapped[datetime | None]


class Arrival(Base):
    """How a study came that a DICOM peer sends image by image, and when it settles."""

    __tablename__ = "arrivals"
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    tenant_id: Mapped[UUID]
    study_instance_uid: Mapped[str]
    source: Mapped[str]
    settles_at: Mapped[datetime | None]


class Instance(Base):
    """One image; its bytes lie in the blob store under its id."""

    __tablename__ = "instances"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    tenant_id: Mapped[UUID]
    position: Mapped[int]
    file_name: Mapped[str]
    media_type: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    data_sha256: Mapped[str | None]
    state: Mapped[str]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    rows: Mapped[int | None]
    columns: Mapped[int | None]
    sop_instance_uid: Mapped[str | None]
    series_instance_uid: Mapped[str | None]
    modality: Mapped[str | None]
    view_position: Mapped[str | None]
    orientation: Mapped[int]
    warnings: Mapped[list[dict[str, str]]] = mapped_column(JSONB)
    forced: Mapped[bool]
    expired: Mapped[list[str]] = mapped_column(ARRAY(Text))
    sop_class_uid: Mapped[str | None]
    transfer_syntax: Mapped[str | None]
    forms: Mapped[dict[str, Any] | None]
    forms_wanted_at: Mapped[datetime | None]
    contests: Mapped[UUID | None]  # the image that came before under its SOP Instance UID


class Job(Base):
    """One analysis of one study, pinned to a bundle. `version` grows with every change a client can see."""

    __tablename__ = "jobs"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    study_id: Mapped[UUID] = mapped_column(ForeignKey("studies.id"))
    owner: Mapped[str]
    state: Mapped[str]
    priority: Mapped[int]
    bundle_digest: Mapped[str] = mapped_column(ForeignKey("bundles.digest"))
    supersedes: Mapped[UUID | None]  # the job that analysed the same study before
    shadow_of: Mapped[UUID | None]  # the job that a shadow bundle repeats; clients see no such job
    full_ensemble: Mapped[bool]  # all backbones are asked, whatever the bundle's cascade says
    images_below: Mapped[int]  # its images are those of the study at lower positions
    steps_total: Mapped[int]
    steps_done: Mapped[int]
    version: Mapped[int]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    missing_backbones: Mapped[list[str]]
    timings: Mapped[dict[str, Any]]
    capability: Mapped[bytes | None]
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Step(Base):
    """A unit of work in the ledger. The gateway only deletes it; see `thorax.work.ledger` for the rest."""

    __tablename__ = "steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))


class PredictionRow(Base):
    """One backbone's output for one image: probabilities [5], maps float16 `map_shape` as raw bytes."""

    __tablename__ = "predictions"
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    instance_id: Mapped[UUID] = mapped_column(primary_key=True)
    backbone: Mapped[str] = mapped_column(primary_key=True)
    probabilities: Mapped[list[float]]
    maps: Mapped[bytes]
    map_shape: Mapped[list[int]]


class StudyFinding(Base):
    """The ensemble's word on one finding, of one image or (without `instance_id`) of the whole study."""

    __tablename__ = "study_findings"
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    instance_id: Mapped[UUID | None] = mapped_column(primary_key=True)
    finding: Mapped[str] = mapped_column(primary_key=True)
    probability: Mapped[float]
    threshold: Mapped[float]
    positive: Mapped[bool]
    disagreement: Mapped[float]
    verdict: Mapped[str]
    prevalence: Mapped[float | None]
    point: Mapped[str]


class Heatmap(Base):
    """The ensemble's five maps of one image: float16 `map_shape` as raw bytes, each in 0..1."""

    __tablename__ = "heatmaps"
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    instance_id: Mapped[UUID] = mapped_column(primary_key=True)
    maps: Mapped[bytes]
    map_shape: Mapped[list[int]]


class Derivation(Base):
    """That somebody looks at what a job made: its answer as DICOM objects, once the sweeper has made them."""

    __tablename__ = "derivations"
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]


class Derived(Base):
    """One of these objects (SR, SC or GSPS); its bytes lie in the blob store under its id."""

    __tablename__ = "derived"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("derivations.job_id"))
    tenant_id: Mapped[UUID]
    study_instance_uid: Mapped[str]
    series_instance_uid: Mapped[str]
    sop_instance_uid: Mapped[str]
    sop_class_uid: Mapped[str]
    modality: Mapped[str]
    transfer_syntax: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    forms: Mapped[dict[str, Any] | None]
    forms_wanted_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """The first answer to a request, kept to be given again."""

    __tablename__ = "idempotency_keys"
    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    job_id: Mapped[UUID]
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ErasedJob(Base):
    """A job that was erased within the last day."""

    __tablename__ = "erased_jobs"
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[UUID]
    erased_at: Mapped[datetime]


class BlobPendingDeletion(Base):
    """An erased instance whose blobs are still to be deleted."""

    __tablename__ = "blobs_pending_deletion"
    instance_id: Mapped[UUID] = mapped_column(primary_key=True)


class WorkerRow(Base):
    """A process that takes work, and when it was last alive."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    service: Mapped[str]
    kinds: Mapped[list[str]]
    backbones: Mapped[list[str]]
    bundles: Mapped[list[str]]
    seen_at: Mapped[datetime]
