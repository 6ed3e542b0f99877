"""A job's answer as FHIR R4, judged by `fhir.resources` and by our own rules."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from tests.factories.fhir import Resource, checked

from gateway.fhir.bundle import bundle
from gateway.jobs.schemas import BundleView, ErrorView, FindingView, ImageView, JobView, Progress, StudyView
from thorax.findings import FINDINGS, Finding
from thorax.operating_points import Verdict
from thorax.reading import Point
from thorax.states import JobState, Priority

JOB, STUDY, IMAGE = (UUID(int=n) for n in (1, 2, 3))
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
VERDICTS = dict(zip(FINDINGS, ["likely", "uncertain", "unlikely", "unlikely", "likely"], strict=True))
REFUSAL = ErrorView(
    code="not_a_frontal_view", title="", detail="The image is a lateral view.", remedy="", permanent=True
)


def finding(which: Finding, **changed: Any) -> FindingView:
    verdict = Verdict(VERDICTS[which])
    own = {
        "finding": which, "label": which.label, "probability": 0.91, "threshold": 0.4, "operating_point": Point.LIKELY,
        "positive": verdict is Verdict.LIKELY, "verdict": verdict, "prevalence": None, "times_the_average": None,
        "margin": 0.0, "disagreement": 0.0,
    }  # fmt: skip
    return FindingView.model_validate({**own, **changed})


def image(**changed: Any) -> ImageView:
    own = {
        "id": IMAGE, "position": 0, "file_name": "Doe^Jane.dcm", "media_type": "application/dicom", "rows": 8, "columns": 8,
        "view_position": "PA", "sop_instance_uid": "1.2.3", "series_instance_uid": "1.2", "sop_class_uid": "1.2.840.1",
        "modality": "DX", "state": "prepared", "error": None, "warnings": [], "orientation": 1, "ran": [],
        "findings": [finding(f) for f in FINDINGS], "maps": None, "links": {},
    }  # fmt: skip
    return ImageView.model_validate({**own, **changed})


def job(state: JobState = JobState.SUCCEEDED, *images: ImageView, **study: Any) -> JobView:
    done = state is JobState.SUCCEEDED
    of_study = {
        "id": STUDY, "title": "Doe", "study_instance_uid": "1.1", "study_date": date(2026, 11, 26), "accession": "A-1",
        "patient": "ab" * 32, "source": None, "findings": [finding(f) for f in FINDINGS] if done else [],
    }  # fmt: skip
    return JobView(
        id=JOB, state=state, priority=Priority.ROUTINE, progress=Progress(done=4, total=4), stages=[], version=5,
        bundle=BundleView(name="default", version="1.0", digest="cd" * 32), degraded=False, missing_backbones=[], supersedes=None, superseded_by=None, backbones=[], full=False,
        created_at=NOON, started_at=NOON, finished_at=NOON if state.final else None, expires_at=None, map_scale=None,
        timings={}, error=REFUSAL if state is JobState.FAILED else None, study=StudyView.model_validate({**of_study, **study}),
        images=list(images) or [image(findings=[finding(f) for f in FINDINGS] if done else [])], links={},
    )  # fmt: skip


def made(view: JobView) -> dict[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for resource in checked(bundle(view)):
        found.setdefault(resource["resourceType"], []).append(resource)
    return found


@pytest.mark.parametrize(
    ("state", "status", "conclusion"),
    [
        (JobState.QUEUED, "registered", "Not analysed yet."),
        (JobState.SUCCEEDED, "partial", "Likely: Atelectasis 91%, Pleural Effusion 91%."),
        (JobState.FAILED, "cancelled", "Not analysed: The image is a lateral view."),
    ],
)
def test_not_run_analysed_and_refused_differ(state: JobState, status: str, conclusion: str) -> None:
    [report] = made(job(state))["DiagnosticReport"]
    assert report["status"] == status
    assert report["conclusion"].startswith(conclusion)
    assert "Not a medical device" in report["conclusion"]


def test_a_job_keeps_its_ids_from_the_queue_to_its_end() -> None:
    waits, failed, done = (
        orjson.loads(bundle(job(state))) for state in (JobState.QUEUED, JobState.FAILED, JobState.SUCCEEDED)
    )
    assert waits["id"] == failed["id"] == done["id"]
    assert waits["entry"] and {e["fullUrl"] for e in waits["entry"]} <= {e["fullUrl"] for e in done["entry"]}


def test_an_answer_without_a_likely_finding_says_so() -> None:
    negative = [finding(f, verdict="unlikely", positive=False) for f in FINDINGS]
    found = made(job(JobState.SUCCEEDED, image(findings=negative), findings=negative))
    assert found["DiagnosticReport"][0]["conclusion"].startswith("No finding is likely.")
    assert "conclusionCode" not in found["DiagnosticReport"][0]


def test_a_finding_has_its_verdict_and_keeps_the_zeros_of_its_probability() -> None:
    view = job()
    text = bundle(view).decode()
    assert '"valueQuantity":{"value":0.9100,' in text and '"value":0.4000,' in text
    observations = made(view)["Observation"]
    assert len(observations) == 5 + 1 + 5
    of_study = observations[:5]
    verdicts = [o["valueCodeableConcept"]["coding"][0]["code"] for o in of_study]
    assert verdicts == list(VERDICTS.values())
    assert [o["interpretation"][0]["coding"][0]["code"] for o in of_study] == [
        "POS",
        "IND",
        "NEG",
        "NEG",
        "POS",
    ]
    assert [o["component"][2]["valueCodeableConcept"]["text"] for o in of_study[:2]] == [
        "Positive",
        "Negative",
    ]


def test_the_study_is_that_of_the_pacs() -> None:
    found = made(job())
    [study] = found["ImagingStudy"]
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": "urn:oid:1.1"}
    assert (study["identifier"][1]["value"], study["started"]) == ("A-1", "2026-11-26")
    [series] = study["series"]
    assert (series["uid"], series["modality"]["code"], series["instance"][0]["uid"]) == ("1.2", "DX", "1.2.3")
    assert found["Device"][0]["identifier"][0]["value"] == f"sha256:{'cd' * 32}"


def test_images_without_uids_and_patients_without_an_id_are_told_too() -> None:
    bare = image(sop_instance_uid=None, series_instance_uid=None, sop_class_uid=None, modality=None)
    found = made(
        job(JobState.SUCCEEDED, bare, study_instance_uid=None, patient=None, accession=None, study_date=None)
    )
    assert "ImagingStudy" not in found
    assert "extension" in found["DiagnosticReport"][0]["subject"]
    refused = image(id=UUID(int=4), findings=[], error=REFUSAL)
    statuses = [
        o
        for o in made(job(JobState.SUCCEEDED, bare, refused))["Observation"]
        if o["code"]["text"].startswith("Status")
    ]
    assert [o["valueCodeableConcept"]["coding"][0]["code"] for o in statuses] == [
        "found",
        "not_a_frontal_view",
    ]


def test_no_file_name_and_no_title_leaves() -> None:
    assert b"Doe" not in bundle(job())


def test_the_same_job_gives_the_same_bytes() -> None:
    assert bundle(job()) == bundle(job())


def spoil(change: Callable[[Resource], object]) -> bytes:
    document = json.loads(bundle(job()))
    change(document["entry"][0]["resource"])
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.update(status="more or less final"),
        lambda report: report.update(id="a" * 70),
        lambda report: report.pop("code"),
        lambda report: report.update(result=[{"reference": "urn:uuid:1", "type": "Observation"}]),
        lambda report: report.update(result=report["imagingStudy"]),
    ],
)  # fmt: skip
def test_the_rules_find_what_the_models_let_pass(change: Callable[[Resource], object]) -> None:
    with pytest.raises((AssertionError, KeyError, ValueError)):
        checked(spoil(change))
