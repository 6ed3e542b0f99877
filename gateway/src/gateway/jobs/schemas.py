"""What the API says about jobs. The examples become the documentation, so they fit together."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from thorax.errors import Code
from thorax.findings import Finding
from thorax.image_headers import DICOM, MediaType
from thorax.image_warnings import WarningCode
from thorax.operating_points import Verdict
from thorax.reading import Point
from thorax.states import JobState, Priority, StepKind

DISCLAIMER = "Demonstration. Not a medical device, not for diagnosis."
_JOB, _STUDY, _IMAGE = (
    "3f0c2b1e-6a55-4d0e-9a3e-2f2f4c1f7b11",
    "a1d7c9f4-53c1-4a39-8f43-6f1f0d2f9c02",
    "77e0d9a6-0d0a-4f0c-8f2b-5f2d7d5f5c21",
)
_IMAGE_PATH = f"/v1/jobs/{_JOB}/images/{_IMAGE}"
_NOON = "2026-01-01T12:00:00Z"
_DEGRADED = "True if backbones are missing from the ensemble."

Probability = Annotated[float, Field(ge=0, le=1, examples=[0.37])]
Accession = Annotated[
    str | None, Field(description="The DICOM Accession Number (0008,0050).", examples=["A-2026-0815"])
]
SupersededBy = Annotated[
    UUID | None,
    Field(description="The newest job that supersedes this one and has succeeded.", examples=[None]),
]
Patient = Annotated[
    str | None,
    Field(
        description="A pseudonym: equal for equal DICOM Patient IDs, within this tenant. Null without one, or with several.",
        examples=["9f86d081…"],
    ),
]
Moment = Annotated[datetime, Field(examples=[_NOON])]


class FindingView(BaseModel):
    """One finding: the ensemble's probability, and each backbone's own."""

    finding: Finding = Field(examples=[Finding.PLEURAL_EFFUSION])
    label: str = Field(examples=["Pleural Effusion"])
    probability: Probability
    threshold: Probability
    operating_point: Point = Field(
        description="What `threshold` was when the study was read: one of the bundle's points, or the tenant's own.",
        examples=[Point.LIKELY],
    )
    positive: bool = Field(examples=[False])
    verdict: Verdict = Field(
        description="The bundle's band for this probability; without operating points `likely` or `unlikely` only.",
        examples=[Verdict.UNCERTAIN],
    )
    prevalence: Probability | None = Field(
        description="Share with the finding for which `probability` holds: among the images that the bundle was calibrated on, or "
        "the tenant's own; null if the bundle states none.",
        examples=[0.2],
    )
    times_the_average: float | None = Field(
        description="`probability` over `prevalence`; null without a prevalence.", examples=[1.85]
    )
    margin: float = Field(
        description="Log odds of `probability` over those of `threshold`: 0 at the threshold, above it positive.",
        examples=[-0.43],
    )
    disagreement: float = Field(
        description="Weighted standard deviation of the backbones around the ensemble.", examples=[0.08]
    )
    backbones: dict[str, Probability] = Field(
        default_factory=dict,
        description="Each backbone's own probability, calibrated like the ensemble's and so comparable with `threshold`.",
        examples=[{"xception": 0.39, "densenet121": 0.35}],
    )


class ErrorView(BaseModel):
    """Why an image or a job failed."""

    code: str = Field(examples=[Code.UNREADABLE_IMAGE])
    title: str = Field(examples=[Code.UNREADABLE_IMAGE.title])
    detail: str = Field(examples=["The PNG image has no header."])
    remedy: str = Field(examples=[Code.UNREADABLE_IMAGE.remedy])
    permanent: bool = Field(
        description="True if the same input fails again: a retry does not help.", examples=[True]
    )


class WarningView(BaseModel):
    """What whoever reads an image's result should know."""

    code: WarningCode
    detail: str = Field(examples=["Patient Orientation (0020,0020) is R\\F: the image was mirrored."])


class Grid(BaseModel):
    """How many places a map has."""

    rows: int = Field(examples=[7])
    columns: int = Field(examples=[7])


class MapsView(BaseModel):
    """How fine an image's maps are. A network saw no more than its own grid, however smooth a picture looks."""

    ensemble: Grid = Field(description="Of the fused map, onto which the networks' own are resized.")
    backbones: dict[str, Grid] = Field(
        description="Of the networks whose maps are fused.",
        examples=[{"xception": {"rows": 10, "columns": 10}}],
    )


class MapScaleView(BaseModel):
    """What a fused map's values mean, the same in every image: a value times `full` is in `unit`."""

    unit: Literal["logit", "probability"] = Field(
        description="`logit`: what the ensemble's logit would gain if all of the image looked like that place. "
        "`probability`: the finding's at that place.",
        examples=["logit"],
    )
    full: dict[Finding, float] = Field(
        description="The value of 1, where the map is cut.", examples=[{"edema": 2.5}]
    )
    cuts: dict[Finding, float] = Field(
        description="The value (0..1) from which a place is drawn.", examples=[{"edema": 0.5}]
    )


class ImageView(BaseModel):
    """One image of the study."""

    id: UUID = Field(examples=[_IMAGE])
    position: int = Field(description="0 for the first file sent.", examples=[0])
    file_name: str = Field(examples=["chest.dcm"])
    media_type: MediaType = Field(examples=[DICOM])
    rows: int | None = Field(description="Native height in pixels, once prepared.", examples=[2022])
    columns: int | None = Field(description="Native width in pixels, once prepared.", examples=[2022])
    view_position: str | None = Field(examples=["PA"])
    sop_instance_uid: str | None = Field(examples=["1.2.826.0.1.3680043.8.498.1"])
    series_instance_uid: str | None = Field(examples=["1.2.826.0.1.3680043.8.498.3"])
    sop_class_uid: str | None = Field(examples=["1.2.840.10008.5.1.4.1.1.1.1"])
    modality: str | None = Field(examples=["DX"])
    state: str = Field(examples=["prepared"])
    error: ErrorView | None = Field(examples=[None])
    warnings: list[WarningView] = Field(examples=[[]])
    orientation: int = Field(
        ge=1,
        le=8,
        description="How stored pixels were turned for analysis and display, as EXIF numbers it.",
        examples=[1],
    )
    findings: list[FindingView]
    ran: list[str] = Field(
        description="The networks that answered: with a cascade the first ones, where these were sure.",
        examples=[["xception", "densenet121"]],
    )
    maps: MapsView | None = Field(description="Null before the analysis.")
    links: dict[str, str] = Field(examples=[{"image": f"{_IMAGE_PATH}/image.png"}])


class Progress(BaseModel):
    """Steps that are done. `total` grows while the work becomes known."""

    done: int = Field(examples=[4])
    total: int = Field(examples=[4])


class Stage(BaseModel):
    """One kind of work on an open job, over all its images."""

    kind: StepKind
    backbone: str | None = Field(description="Which network, for `infer`.", examples=["xception"])
    done: int = 0
    running: int = 0
    total: int = 0


class BundleView(BaseModel):
    """The model bundle that analyses the job."""

    name: str = Field(examples=["default"])
    version: str = Field(examples=["1.0"])
    digest: str = Field(examples=["5d41…"])


class StudyView(BaseModel):
    """The study: for each finding the highest probability over its images (CheXpert's convention)."""

    id: UUID = Field(examples=[_STUDY])
    title: str = Field(examples=["PA, follow-up"])
    study_instance_uid: str | None = Field(examples=["1.2.826.0.1.3680043.8.498.2"])
    study_date: date | None = Field(
        description="From the first DICOM file that has one.", examples=["2026-01-01"]
    )
    accession: Accession
    patient: Patient
    source: str | None = Field(
        description="Which DICOM peer sent it; null for an upload.", examples=["C-STORE from ORTHANC"]
    )
    findings: list[FindingView]


class FileView(BaseModel):
    """One image of a job in a list: what joins the row to the caller's own files."""

    id: UUID = Field(examples=[_IMAGE])
    file_name: str = Field(examples=["chest.dcm"])
    sop_instance_uid: str | None = Field(examples=["1.2.826.0.1.3680043.8.498.1"])
    view_position: str | None = Field(examples=["PA"])


class JobSummary(BaseModel):
    """A job as a list shows it."""

    id: UUID = Field(examples=[_JOB])
    version: int = Field(description="Grows with every visible change.", examples=[5])
    study_id: UUID = Field(examples=[_STUDY])
    title: str = Field(examples=["PA, follow-up"])
    state: JobState = Field(examples=[JobState.SUCCEEDED])
    priority: Priority = Field(examples=[Priority.ROUTINE])
    progress: Progress
    created_at: Moment
    finished_at: Moment | None
    bundle: BundleView
    study_instance_uid: str | None = Field(examples=["1.2.826.0.1.3680043.8.498.2"])
    study_date: date | None = Field(examples=["2026-01-01"])
    accession: Accession
    patient: Patient
    files: list[FileView] = Field(description="The images, in the order in which they were sent.")
    source: str | None = Field(
        description="Which DICOM peer sent it; null for an upload.", examples=["C-STORE from ORTHANC"]
    )
    findings: list[FindingView] = Field(description="Of the whole study, once it has succeeded.")
    top_finding: FindingView | None = Field(description="The one with the largest `margin`.")
    degraded: bool = Field(description=_DEGRADED, examples=[False])
    images: int = Field(examples=[1])
    first_image: UUID | None = Field(examples=[_IMAGE])
    view_position: str | None = Field(description="Of the first image.", examples=["PA"])
    supersedes: UUID | None = Field(
        description="The job that analysed the same study before.", examples=[None]
    )
    superseded_by: SupersededBy
    error: ErrorView | None = Field(examples=[None])


class JobView(BaseModel):
    """A whole job."""

    id: UUID = Field(examples=[_JOB])
    state: JobState = Field(examples=[JobState.SUCCEEDED])
    priority: Priority = Field(examples=[Priority.ROUTINE])
    progress: Progress
    stages: list[Stage] = Field(
        description="Of an open job: prepare, each backbone, aggregate, in this order.", examples=[[]]
    )
    version: int = Field(
        description="Grows with every visible change of the job itself. With `superseded_by` it makes the ETag.",
        examples=[5],
    )
    bundle: BundleView
    backbones: list[str] = Field(
        description="All networks of the bundle; which of them ran is said per image.",
        examples=[["xception", "densenet121", "densenet169"]],
    )
    full: bool = Field(
        description="True if all networks were asked for, whatever the bundle's cascade says.",
        examples=[False],
    )
    degraded: bool = Field(description=_DEGRADED, examples=[False])
    missing_backbones: list[str] = Field(examples=[[]])
    supersedes: UUID | None = Field(
        description="The job that analysed the same study before: fewer of its images, or before it was analysed again.",
        examples=[None],
    )
    superseded_by: SupersededBy
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    expires_at: datetime | None = Field(examples=[None])
    map_scale: MapScaleView | None = Field(
        description="Null in bundles of format 1, where each map is divided by its own maximum."
    )
    timings: dict[str, Any] = Field(
        description="Seconds per stage.", examples=[{"queued_s": 0.02, "prepare_s": 0.06, "infer_s": 0.25}]
    )
    error: ErrorView | None = Field(examples=[None])
    study: StudyView
    images: list[ImageView]
    links: dict[str, str] = Field(
        examples=[{"self": f"/v1/jobs/{_JOB}", "events": f"/v1/jobs/{_JOB}/events"}]
    )
    disclaimer: str = DISCLAIMER


class JobChange(BaseModel):
    """What a caller who may write but not read is told of a changed job."""

    id: UUID = Field(examples=[_JOB])
    state: JobState = Field(examples=[JobState.CANCELLED])
    links: dict[str, str] = Field(examples=[{"self": f"/v1/jobs/{_JOB}"}])


class JobPage(BaseModel):
    """A page of jobs."""

    items: list[JobSummary]
    next: str | None = Field(description="`cursor` of the next page; null on the last.", examples=[None])


class Priors(BaseModel):
    """Earlier studies to compare a study with."""

    patient_known: bool = Field(description="Whether the files name one patient. The id itself is not kept.")
    items: list[JobSummary] = Field(description="Earlier analysed studies of the same patient, newest first.")
