"""One record, five forms: JSON, FHIR, SR, SC and GSPS of a job are read back, and they agree."""

import json
from typing import Any
from uuid import uuid4

import highdicom as hd
import httpx
import pytest
from pydicom import Dataset
from sqlalchemy import create_engine, text

from aggregator.delivery.answers import answer_of
from aggregator.objects import objects
from tests.factories.fhir import checked
from tests.factories.images import chest_dicom
from tests.factories.platform import Platform, finished, post
from thorax.coding import FINDING
from thorax.findings import FINDINGS
from thorax.storage import BlobStore

OWN_THRESHOLDS = {"edema": 0.001, "cardiomegaly": 0.002, "atelectasis": 0.999}
Told = dict[str, tuple[str, str, str, bool]]
"""By finding: probability, threshold, verdict, whether it is positive."""


@pytest.fixture(scope="module")
def job(platform: Platform) -> dict[str, Any]:
    tenant = uuid4()
    with platform.client(scope="admin") as admin:
        reading = {"thresholds": OWN_THRESHOLDS}
        admin.put(f"/v1/admin/readings/{tenant}", json=reading).raise_for_status()
    with platform.client(tenant) as client:
        job = finished(client, post(client, chest_dicom(21), name="chest.dcm").headers["location"])
        assert job["state"] == "succeeded", job
        fhir = client.get(f"{job['links']['self']}/fhir")
        assert fhir.headers["content-type"] == "application/fhir+json"
        return {**job, "fhir": fhir.content}


@pytest.fixture(scope="module")
def made(job: dict[str, Any], platform: Platform) -> dict[str, Dataset]:
    """SR, SC and GSPS by modality."""
    engine = create_engine(platform.url_as("thorax_aggregator"))
    with engine.connect() as connection:
        answer = answer_of(connection, BlobStore(str(platform.folder / "blobs")), job["id"], None)
    engine.dispose()
    assert answer is not None
    return {str(one.dataset.Modality): one.dataset for one in objects(answer)}


def in_json(job: dict[str, Any]) -> Told:
    return {
        f["finding"]: (f"{f['probability']:.4f}", f"{f['threshold']:.4f}", f["verdict"], f["positive"])
        for f in job["images"][0]["findings"]
    }


def in_fhir(document: bytes) -> Told:
    found = {}
    of_finding = {concept.value: str(finding) for finding, concept in FINDING.items()}
    exact = json.loads(document, parse_float=str)
    for resource in (entry["resource"] for entry in exact["entry"]):
        code = resource["code"]["coding"][0]["code"] if "code" in resource else ""
        if resource["resourceType"] == "Observation" and code in of_finding and "focus" in resource:
            probability, threshold, above = resource["component"]
            found[of_finding[code]] = (
                probability["valueQuantity"]["value"],
                threshold["valueQuantity"]["value"],
                resource["valueCodeableConcept"]["coding"][0]["code"],
                above["valueCodeableConcept"]["text"] == "Positive",
            )
    return found


def in_report(report: Dataset) -> Told:
    content = hd.sr.ComprehensiveSR.from_dataset(report).content
    groups = content.get_image_measurement_groups() + content.get_planar_roi_measurement_groups()
    found = {}
    for group in groups:
        if group.finding_type is None:
            continue
        probability, threshold = (f"{m.value:.4f}" for m in group.get_measurements())
        verdict, above = group.get_qualitative_evaluations()
        finding = next(str(f) for f, c in FINDING.items() if c.value == group.finding_type.value)
        found[finding] = (probability, threshold, verdict.value.value, above.value.meaning == "Positive")
    return found


def test_json_fhir_and_report_say_the_same_of_each_finding(
    job: dict[str, Any], made: dict[str, Dataset]
) -> None:
    checked(job["fhir"])
    told = in_json(job)
    assert {"likely", "unlikely"} <= {verdict for _, _, verdict, _ in told.values()}
    assert list(told) == [str(finding) for finding in FINDINGS]
    assert in_fhir(job["fhir"]) == told
    assert in_report(made["SR"]) == told


def test_capture_presentation_state_and_fhir_name_the_same_findings_as_likely(
    job: dict[str, Any], made: dict[str, Dataset]
) -> None:
    likely = [f for f in job["images"][0]["findings"] if f["verdict"] == "likely"]
    said = "Likely: " + ", ".join(f"{f['label']} {f['probability']:.0%}" for f in likely)
    assert made["OT"].DerivationDescription.startswith(f"{said}.")
    [annotation] = made["PR"].GraphicAnnotationSequence
    assert said in annotation.TextObjectSequence[0].UnformattedTextValue
    report = next(r for r in checked(job["fhir"]) if r["resourceType"] == "DiagnosticReport")
    assert report["conclusion"].startswith(f"{said}.")


def test_the_forms_are_of_the_same_study_and_image(job: dict[str, Any], made: dict[str, Dataset]) -> None:
    [study] = [r for r in checked(job["fhir"]) if r["resourceType"] == "ImagingStudy"]
    uid = job["study"]["study_instance_uid"]
    assert study["identifier"][0]["value"] == f"urn:oid:{uid}"
    assert {str(one.StudyInstanceUID) for one in made.values()} == {uid}
    [image] = study["series"][0]["instance"]
    assert image["uid"] == job["images"][0]["sop_instance_uid"]
    assert made["OT"].SourceImageSequence[0].ReferencedSOPInstanceUID == image["uid"]


def test_another_tenant_has_no_such_report(job: dict[str, Any], platform: Platform) -> None:
    with platform.client() as stranger:
        answer: httpx.Response = stranger.get(f"/v1/jobs/{job['id']}/fhir")
    assert answer.status_code == 404


def test_an_answer_whose_maps_are_erased_is_still_told(job: dict[str, Any], platform: Platform) -> None:
    engine = create_engine(platform.url_as("thorax_aggregator"))
    with engine.connect() as connection:  # and rolled back
        connection.execute(text("delete from heatmaps where job_id = :id"), {"id": job["id"]})
        answer = answer_of(connection, BlobStore(str(platform.folder / "blobs")), job["id"], None)
    engine.dispose()
    assert answer is not None
    assert answer.images[0].said
    assert answer.images[0].maps is None
