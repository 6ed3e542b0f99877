"""What the API answers, as models. A test compares them with the services' OpenAPI document, field by field.

Fields that this version does not know are kept and ignored, so that a newer platform can be spoken to.
"""

from datetime import date, datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

FINDINGS = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
FINAL = frozenset({"succeeded", "failed", "cancelled"})


class Answer(BaseModel):
    """A part of an answer: frozen, and open to fields of later versions. Each is built when the first comes."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class Finding(Answer):
    """One finding. `verdict`: likely, uncertain or unlikely; `prevalence` is None where the bundle states none."""

    finding: str
    label: str
    probability: float
    threshold: float
    positive: bool
    verdict: str
    prevalence: float | None
    times_the_average: float | None
    disagreement: float
    backbones: dict[str, float]


class Failure(Answer):
    """Why an image or a job failed; `permanent`: a retry does not help."""

    code: str
    title: str
    detail: str
    remedy: str
    permanent: bool


class Warning(Answer):
    """What whoever reads an image's result should know."""

    code: str
    detail: str


class Image(Answer):
    """One image of a study; `links` lead to its pictures and maps. `ran`: the networks that answered."""

    id: UUID
    position: int
    file_name: str
    media_type: str
    rows: int | None
    columns: int | None
    view_position: str | None
    sop_instance_uid: str | None
    state: str
    error: Failure | None
    warnings: list[Warning]
    orientation: int
    findings: list[Finding]
    ran: list[str]
    links: dict[str, str]


class Progress(Answer):
    """Steps that are done; `total` grows while the work becomes known."""

    done: int
    total: int


class Bundle(Answer):
    """The model bundle that analysed a job."""

    name: str
    version: str
    digest: str


class Study(Answer):
    """A study: for each finding the highest probability over its images."""

    id: UUID
    title: str
    study_instance_uid: str | None
    study_date: date | None
    source: str | None
    findings: list[Finding]


class Job(Answer):
    """A whole job. `backbones`: all networks of the bundle; `full`: whether all were asked for. `supersedes`: the job of the
    same study before it; `superseded_by`: the newest one after it that has succeeded."""

    id: UUID
    state: str
    priority: str
    progress: Progress
    version: int
    bundle: Bundle
    backbones: list[str]
    full: bool
    degraded: bool
    missing_backbones: list[str]
    supersedes: UUID | None
    superseded_by: UUID | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    timings: dict[str, float]
    error: Failure | None
    study: Study
    images: list[Image]
    links: dict[str, str]
    disclaimer: str

    @property
    def ended(self) -> bool:
        """Whether it has succeeded, failed or was cancelled."""
        return self.state in FINAL

    @property
    def findings(self) -> list[Finding]:
        """The study's findings; empty until it has succeeded."""
        return self.study.findings


class JobSummary(Answer):
    """A job as a list shows it."""

    id: UUID
    study_id: UUID
    title: str
    state: str
    priority: str
    progress: Progress
    created_at: datetime
    finished_at: datetime | None
    study_date: date | None
    source: str | None
    findings: list[Finding]
    top_finding: Finding | None
    degraded: bool
    images: int
    first_image: UUID | None
    view_position: str | None
    supersedes: UUID | None
    superseded_by: UUID | None
    error: Failure | None


class JobPage(Answer):
    """A page of jobs; `next` is the next page's cursor, None on the last."""

    items: list[JobSummary]
    next: str | None


class Receipt(Answer):
    """What `202` promises: everything named here is stored durably."""

    job_id: UUID
    study_id: UUID
    instance_ids: list[UUID]
    state: str
    links: dict[str, str]


class Model(Answer):
    """A registered model bundle."""

    name: str
    version: str
    digest: str
    active: bool
    findings: list[str]
    thresholds: dict[str, float]
    licence: str
    intended_use: str
    card: str
    disclaimer: str


class ModelList(Answer):
    """All registered bundles, the active one first."""

    items: list[Model]
