"""What the API says about jobs, in its own words; examples included, as they become the documentation."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field

from thorax.errors import Code
from thorax.findings import Finding
from thorax.states import JobState, StepKind

DISCLAIMER = "Demonstration. Not a medical device, not for diagnosis."


class Priority(StrEnum):
    """`stat` overtakes `routine`."""

    STAT = "stat"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """The ledger's number for it; the smallest goes first."""
        return 0 if self is Priority.STAT else 1


Probability = Annotated[float, Field(ge=0, le=1, examples=[0.37])]


class FindingView(BaseModel):
    """The ensemble's word on one finding, and each backbone's own."""

    finding: Finding
    label: str = Field(examples=["Pleural Effusion"])
    probability: Probability
    threshold: Probability
    positive: bool
    disagreement: float = Field(
        description="weighted standard deviation of the backbones around the ensemble", examples=[0.08]
    )
    backbones: dict[str, Probability] = Field(
        default_factory=dict,
        description="each backbone's own probability, calibrated as the ensemble's is: comparable with `threshold`",
    )


class ErrorView(BaseModel):
    """Why an image or a job failed."""

    code: str = Field(examples=[Code.UNREADABLE_IMAGE])
    title: str
    detail: str
    remedy: str


class ImageView(BaseModel):
    """One image of the study."""

    id: UUID
    position: int = Field(description="0 for the first file sent")
    file_name: str
    media_type: str = Field(examples=["application/dicom"])
    rows: int | None = Field(description="native height in pixels, once prepared")
    columns: int | None
    view_position: str | None = Field(examples=["PA"])
    sop_instance_uid: str | None
    state: str = Field(examples=["prepared"])
    error: ErrorView | None
    findings: list[FindingView]
    links: dict[str, str]


class Progress(BaseModel):
    """Steps done so far; `total` grows while the work becomes known."""

    done: int
    total: int


class Stage(BaseModel):
    """One kind of work on an open job, over all its images."""

    kind: StepKind
    backbone: str | None = Field(description="which network, for `infer`")
    done: int
    running: int
    total: int


class BundleView(BaseModel):
    """The bundle a job is pinned to."""

    name: str
    version: str
    digest: str


class StudyView(BaseModel):
    """The study: per finding the highest probability over its images (CheXpert's convention)."""

    id: UUID
    title: str
    study_instance_uid: str | None
    study_date: date | None = Field(description="of the first DICOM file that says")
    findings: list[FindingView]


class JobSummary(BaseModel):
    """A job, as a list shows it."""

    id: UUID
    study_id: UUID
    title: str
    state: JobState
    priority: Priority
    progress: Progress
    created_at: datetime
    finished_at: datetime | None
    study_date: date | None
    findings: list[FindingView] = Field(description="of the whole study, once it has succeeded")
    top_finding: FindingView | None
    degraded: bool = Field(description="true if backbones are missing from the ensemble")
    images: int
    first_image: UUID | None


class JobView(BaseModel):
    """A job, whole."""

    id: UUID
    state: JobState
    priority: Priority
    progress: Progress
    stages: list[Stage] = Field(
        description="of an open job: prepare, each backbone, aggregate, in this order"
    )
    version: int = Field(description="grows with every visible change; the ETag")
    bundle: BundleView
    degraded: bool = Field(description="true if backbones are missing from the ensemble")
    missing_backbones: list[str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    timings: dict[str, Any] = Field(
        description="seconds per stage", examples=[{"queued_s": 0.02, "prepare_s": 0.06, "infer_s": 0.25}]
    )
    error: ErrorView | None
    study: StudyView
    images: list[ImageView]
    links: dict[str, str]
    disclaimer: str = DISCLAIMER


class JobPage(BaseModel):
    """A page of jobs."""

    items: list[JobSummary]
    next: str | None = Field(description="`cursor` of the next page; null on the last")


class Priors(BaseModel):
    """What there is to compare a study with."""

    patient_known: bool = Field(description="whether the files name one patient; the id itself is not kept")
    items: list[JobSummary] = Field(description="earlier analysed studies of the same patient, newest first")


class Accepted(BaseModel):
    """The receipt: everything named here is stored durably."""

    job_id: UUID
    study_id: UUID
    instance_ids: list[UUID] = Field(description="in the order of the files")
    state: JobState = JobState.QUEUED
    links: dict[str, str] = Field(examples=[{"self": "/v1/jobs/3f…"}])
