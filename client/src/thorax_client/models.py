"""What the API answers, as models. A test compares them with the services' OpenAPI document, field by field.

Fields that this version does not know are left out, so that a newer platform can be spoken to.
"""

from datetime import date, datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

FINDINGS = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
Moment = Annotated[datetime, Meta(tz=True)]
FINAL = frozenset({"succeeded", "failed", "cancelled"})


class Answer(Struct, frozen=True):
    """A part of an answer: immutable; `msgspec.json.encode` makes JSON of it again, `msgspec.to_builtins` dicts."""


class Finding(Answer, frozen=True):
    """One finding. `verdict`: likely, uncertain or unlikely; `prevalence` is None where the bundle states none.

    `operating_point`: what `threshold` was when the study was read; `margin`: the log odds of `probability` over its.
    """

    finding: str
    label: str
    probability: float
    threshold: float
    operating_point: str
    positive: bool
    verdict: str
    prevalence: float | None
    times_the_average: float | None
    margin: float
    disagreement: float
    backbones: dict[str, float]


class Failure(Answer, frozen=True):
    """Why an image or a job failed; `permanent`: a retry does not help."""

    code: str
    title: str
    detail: str
    remedy: str
    permanent: bool


class Warning(Answer, frozen=True):
    """What whoever reads an image's result should know."""

    code: str
    detail: str


class Grid(Answer, frozen=True):
    """How many places a map has."""

    rows: int
    columns: int


class Grids(Answer, frozen=True):
    """How fine an image's maps are: the fused one, and those of the networks."""

    ensemble: Grid
    backbones: dict[str, Grid]


class Scale(Answer, frozen=True):
    """What a fused map's values mean: a value times `full` of its finding is in `unit`; it is drawn from `cuts` (0..1) on."""

    unit: str
    full: dict[str, float]
    cuts: dict[str, float]


class Image(Answer, frozen=True):
    """One image of a study; `links` lead to its pictures and maps. `ran`: the networks that answered."""

    id: UUID
    position: int
    file_name: str
    media_type: str
    rows: int | None
    columns: int | None
    view_position: str | None
    sop_instance_uid: str | None
    series_instance_uid: str | None
    sop_class_uid: str | None
    modality: str | None
    state: str
    error: Failure | None
    warnings: list[Warning]
    orientation: int
    findings: list[Finding]
    ran: list[str]
    maps: Grids | None
    links: dict[str, str]


class Progress(Answer, frozen=True):
    """Steps that are done; `total` grows while the work becomes known."""

    done: int
    total: int


class Stage(Answer, frozen=True):
    """One kind of work on an open job, over all its images; `backbone`: which network, for `infer`."""

    kind: str
    backbone: str | None
    done: int
    running: int
    total: int


class Bundle(Answer, frozen=True):
    """The model bundle that analysed a job."""

    name: str
    version: str
    digest: str


class Study(Answer, frozen=True):
    """A study: for each finding the highest probability over its images. `patient`: a pseudonym."""

    id: UUID
    title: str
    study_instance_uid: str | None
    study_date: date | None
    accession: str | None
    patient: str | None
    source: str | None
    findings: list[Finding]


class Job(Answer, frozen=True):
    """A whole job. `backbones`: all networks of the bundle; `full`: whether all were asked for. `supersedes`: the job of the
    same study before it; `superseded_by`: the newest one after it that has succeeded."""

    id: UUID
    state: str
    priority: str
    progress: Progress
    stages: list[Stage]
    version: int
    bundle: Bundle
    backbones: list[str]
    full: bool
    degraded: bool
    missing_backbones: list[str]
    supersedes: UUID | None
    superseded_by: UUID | None
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    expires_at: Moment | None
    map_scale: Scale | None
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


class File(Answer, frozen=True):
    """One image of a job in a list."""

    id: UUID
    file_name: str
    sop_instance_uid: str | None
    view_position: str | None


class JobSummary(Answer, frozen=True):
    """A job as a list shows it."""

    id: UUID
    version: int
    study_id: UUID
    title: str
    state: str
    priority: str
    progress: Progress
    created_at: Moment
    finished_at: Moment | None
    bundle: Bundle
    study_instance_uid: str | None
    study_date: date | None
    accession: str | None
    patient: str | None
    files: list[File]
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


class JobPage(Answer, frozen=True):
    """A page of jobs; `next` is the next page's cursor, None on the last."""

    items: list[JobSummary]
    next: str | None


class Receipt(Answer, frozen=True):
    """What `202` promises: everything named here is stored durably."""

    job_id: UUID
    study_id: UUID
    instance_ids: list[UUID]
    state: str
    links: dict[str, str]


class Backbone(Answer, frozen=True):
    """A network of a bundle; `weights`: its share of the ensemble, by finding."""

    name: str
    sha256: str
    parameters: int
    input_size: int
    normalisation: str
    weights: dict[str, float]


class Model(Answer, frozen=True):
    """A registered model bundle; `operating_points` and `metrics` as its manifest has them."""

    name: str
    version: str
    digest: str
    active: bool
    default: bool
    shadow: bool
    findings: list[str]
    thresholds: dict[str, float]
    operating_points: dict[str, dict[str, Any]] | None
    map_scale: Scale | None
    backbones: list[Backbone]
    metrics: dict[str, Any]
    licence: str
    intended_use: str
    card: str
    disclaimer: str


class ModelList(Answer, frozen=True):
    """All registered bundles, the active one first."""

    items: list[Model]


class Token(Answer, frozen=True):
    """An access token, and for how many seconds it is good."""

    access_token: str
    expires_in: int


class Secret(Answer, frozen=True):
    """A new machine client; its secret is told only now."""

    id: UUID
    secret: str
