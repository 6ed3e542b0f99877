"""STOW-RS as a PACS uses it: instance by instance, repeated, broken, out of order, at once."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import httpx
import pytest
from pydicom import dcmread

from tests.factories.images import chest_dicom, without_loss
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from tests.integration.gateway.scp import jobs
from tests.integration.gateway.stored import stored
from thorax.errors import Code

RELATED = 'multipart/related; type="application/dicom"; boundary=x'
STORAGE = "1.2.840.10008.5.1.4.1.1"
FAILED, STORED, OTHER = "00081198", "00081199", "0008119A"


@pytest.fixture(scope="module")
def quick(platform: Platform) -> Iterator[Platform]:
    """The same platform through a gateway whose studies settle after a second."""
    with platform.beside("quick", QUIET_S="1", LATEST_S="3", MAX_STOW_BYTES="3000000") as gateway:
        yield gateway


@pytest.fixture
def sender(quick: Platform) -> Iterator[httpx.Client]:
    with quick.client() as client:
        yield client


@pytest.fixture(scope="module")
def patient(platform: Platform) -> Iterator[Platform]:
    """The same platform through a gateway whose studies settle when asked to: between two requests a starved machine may need more
    than a second."""
    with platform.beside("patient", QUIET_S="3600", LATEST_S="3600") as gateway:
        yield gateway


def uid() -> str:
    return f"2.25.{uuid4().int}"


def instance(study: str, seed: int = 0, sop: str | None = None, **elements: Any) -> bytes:
    return chest_dicom(seed, 64, StudyInstanceUID=study, SOPInstanceUID=sop or uid(), **elements)


def body(*parts: bytes, head: bytes = b"Content-Type: application/dicom") -> bytes:
    return b"".join(b"--x\r\n" + head + b"\r\n\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


def stow(client: httpx.Client, *parts: bytes, study: str = "", **headers: str) -> httpx.Response:
    path = f"/dicomweb/studies/{study}".rstrip("/")
    return client.post(path, content=body(*parts), headers={"Content-Type": RELATED, **headers})


def sops(answer: httpx.Response, sequence: str) -> list[str]:
    items = answer.json().get(sequence, {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def test_a_study_in_several_requests_is_one_job_that_says_where_it_came_from(patient: Platform) -> None:
    study, first, second = uid(), uid(), uid()
    said = {"ViewPosition": "PA", "StudyDate": "20260102", "AccessionNumber": "A-0815"}
    sender = patient.client()
    for sop in (first, second):
        answer = stow(sender, instance(study, sop=sop, **said))
        assert (answer.status_code, sops(answer, STORED)) == (200, [sop]), answer.text
        assert answer.headers["content-type"] == "application/dicom+json"
    sender.post(f"/v1/studies/{study}/analyse").raise_for_status()
    [job] = jobs(sender, 1)
    assert job["state"] == "succeeded", job
    assert job["study"]["study_instance_uid"] == study
    assert job["study"]["source"] == "STOW-RS"
    assert {image["sop_instance_uid"] for image in job["images"]} == {first, second}
    [row] = sender.get("/v1/jobs", params={"title": "pa 2026-01-02"}).json()["items"]
    assert (row["source"], row["title"]) == ("STOW-RS", "CR PA 2026-01-02 A-0815")
    assert job["study"]["title"] == row["title"]
    lines = [line for line in patient.logs().splitlines() if '"job_accepted"' in line and job["id"] in line]
    assert [json.loads(line)["images"] for line in lines] == [2]


def test_a_late_image_makes_a_new_job_that_supersedes_the_first(sender: httpx.Client) -> None:
    study = uid()
    stow(sender, instance(study, 1))
    [before] = jobs(sender, 1)
    stow(sender, instance(study, 2))
    after, _ = jobs(sender, 2)
    assert after["supersedes"] == before["id"]
    assert len(after["images"]) == 2
    assert after["state"] == "succeeded"


def test_the_same_bytes_sent_repeatedly_and_at_once_are_one_instance(
    sender: httpx.Client, quick: Platform
) -> None:
    study = uid()
    image = instance(study)
    before = stored(quick)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stow(sender, image), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    [job] = jobs(sender, 1)
    assert len(job["images"]) == 1
    assert len([path for path in stored(quick) - before if path.name == "original"]) == 1


def conflicts(job: dict[str, Any]) -> list[str | None]:
    return [image["error"] and image["error"]["code"] for image in job["images"]]


def undecided(platform: Platform) -> int:
    query = "select count(*) from instances where state = 'received' and error_code is not null"
    return int(platform.sql(query)[0][0])


@pytest.mark.slow
def test_the_same_pixels_in_another_encoding_are_no_conflict(sender: httpx.Client, quick: Platform) -> None:
    image = instance(uid(), 1)
    before = stored(quick)
    stow(sender, image)
    [job] = jobs(sender, 1)
    assert stow(sender, without_loss(image)).status_code == 200
    until(lambda: not undecided(quick))
    [after] = jobs(sender, 1)
    assert conflicts(after) == [None]
    assert after["id"] == job["id"]
    until(lambda: len([path for path in stored(quick) - before if path.name == "original"]) == 1)


def test_a_conflict_is_seen_in_the_newest_job_and_no_later_image_in_an_older_one(
    sender: httpx.Client, quick: Platform
) -> None:
    study, sop = uid(), uid()
    stow(sender, instance(study, 1, sop))
    [first] = jobs(sender, 1)
    stow(sender, instance(study, 3))
    second, older = jobs(sender, 2)
    assert (len(second["images"]), len(older["images"])) == (2, 1)
    assert [item["images"] for item in sender.get("/v1/jobs").json()["items"]] == [2, 1]
    stow(sender, instance(study, 2, sop))
    until(lambda: len(sender.get(f"/v1/jobs/{second['id']}").json()["images"]) == 3)
    second, older = jobs(sender, 2)
    assert conflicts(second) == [None, None, Code.INSTANCE_CONFLICT]
    assert conflicts(older) == [None]
    assert older["id"] == first["id"]


def test_an_upload_goes_on_as_the_study_that_a_peer_sends(sender: httpx.Client) -> None:
    study = uid()
    image = instance(study, 1)
    uploaded = finished(sender, post(sender, image).headers["location"])
    assert stow(sender, image).status_code == 200
    assert post(sender, image).json()["job_id"] == uploaded["id"]
    stow(sender, instance(study, 2))
    later, before = jobs(sender, 2)
    assert (later["supersedes"], len(later["images"])) == (uploaded["id"], 2)
    assert (before["id"], len(before["images"])) == (uploaded["id"], 1)
    assert post(sender, image).json()["job_id"] == uploaded["id"]


def test_other_bytes_under_a_known_uid_are_kept_and_reported(patient: Platform) -> None:
    study, sop, sender = uid(), uid(), patient.client()
    images = [instance(study, seed, sop) for seed in (1, 2)]
    assert [stow(sender, image).status_code for image in images * 2] == [200] * 4
    sender.post(f"/v1/studies/{study}/analyse").raise_for_status()
    [job] = jobs(sender, 1)
    assert job["state"] == "succeeded"
    assert conflicts(job) == [None, Code.INSTANCE_CONFLICT]
    kept = [sender.get(image["links"]["original"]).content for image in job["images"]]
    assert kept == images


def test_a_broken_part_does_not_affect_others(sender: httpx.Client) -> None:
    study, good = uid(), [uid(), uid()]
    parts = [
        instance(study, 1, good[0]),
        b"This is not DICOM.",
        instance(study, 2)[:200],
        instance(study, 3, good[1]),
    ]
    answer = stow(sender, *parts)
    assert answer.status_code == 202
    assert sops(answer, STORED) == good
    assert [item["00081197"]["Value"] for item in answer.json()[OTHER]["Value"]] == [[0xC000], [0xC000]]
    [job] = jobs(sender, 1)
    assert len(job["images"]) == 2


def test_an_instance_of_another_study_than_the_path_says_is_refused(sender: httpx.Client) -> None:
    study, good, bad = uid(), uid(), uid()
    answer = stow(sender, instance(study, sop=good), instance(uid(), sop=bad), study=study)
    assert answer.status_code == 202
    assert (sops(answer, STORED), sops(answer, FAILED)) == ([good], [bad])
    assert answer.json()[FAILED]["Value"][0]["00081197"]["Value"] == [0xA900]
    alone = stow(sender, instance(uid()), study=study)
    assert (alone.status_code, sops(alone, STORED)) == (409, [])


def test_a_clinical_refusal_is_stored_and_explained_in_the_job(sender: httpx.Client) -> None:
    answer = stow(sender, instance(uid(), Modality="CT"))
    assert answer.status_code == 200
    [job] = jobs(sender, 1)
    assert (job["state"], job["error"]["code"]) == ("failed", Code.NOT_A_CHEST)


def document(study: str, sop_class: str, modality: str, **elements: Any) -> bytes:
    """An instance without pixel data, as a structured report or a PDF is."""
    ds, file = (
        dcmread(BytesIO(instance(study, SOPClassUID=sop_class, Modality=modality, **elements))),
        BytesIO(),
    )
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = (
        sop_class,
        ds.SOPInstanceUID,
    )
    del ds.PixelData
    ds.save_as(file)
    return file.getvalue()


def test_a_whole_study_is_taken_with_its_documents_and_without_our_own(
    sender: httpx.Client, quick: Platform
) -> None:
    study, before = uid(), stored(quick)
    report, gsps, pdf = f"{STORAGE}.88.33", f"{STORAGE}.11.1", f"{STORAGE}.104.1"
    own = [
        document(study, report, "SR", Manufacturer="THORAX"),
        document(study, gsps, "PR", Manufacturer="THORAX"),
        instance(study, 7, SOPClassUID=f"{STORAGE}.7", Manufacturer="THORAX"),
    ]
    others = [instance(study, 1), document(study, report, "SR"), document(study, pdf, "DOC")]
    answer = stow(sender, own[0], others[0], own[1], *others[1:], own[2], study=study)
    assert (answer.status_code, len(sops(answer, STORED))) == (200, 6), answer.text
    assert FAILED not in answer.json() and OTHER not in answer.json()
    [job] = jobs(sender, 1)
    assert job["state"] == "succeeded"
    codes = [image["error"] and image["error"]["code"] for image in job["images"]]
    assert codes == [None, Code.NOT_A_CHEST, Code.NOT_A_CHEST]
    assert len([path for path in stored(quick) - before if path.name == "original"]) == 3
    alone = stow(sender, own[0], study=study)
    assert (alone.status_code, len(sops(alone, STORED))) == (200, 1)


def test_xml_is_sent_when_asked_for(sender: httpx.Client) -> None:
    sop = uid()
    answer = stow(sender, instance(uid(), sop=sop), b"broken", Accept="application/dicom+xml")
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/dicom+xml")
    model = ElementTree.fromstring(answer.text)
    assert model.tag == "NativeDicomModel"
    assert [
        value.text for value in model.iterfind(".//DicomAttribute[@keyword='ReferencedSOPInstanceUID']/Value")
    ] == [sop]
    assert [value.text for value in model.iterfind(".//DicomAttribute[@keyword='FailureReason']/Value")] == [
        "49152"
    ]


def test_nothing_is_stored_whose_answer_is_not_acceptable(sender: httpx.Client) -> None:
    study = uid()
    refused = stow(sender, instance(study), Accept="text/plain")
    assert "application/dicom+json" in problem(refused, Code.NOT_ACCEPTABLE)["detail"]
    assert sender.get(f"/dicomweb/studies/{study}/instances").json() == []


def test_a_body_without_a_length_is_taken(sender: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        data = body(instance(uid()), instance(uid()))
        yield from (data[at : at + 1000] for at in range(0, len(data), 1000))

    answer = sender.post("/dicomweb/studies", content=pieces(), headers={"Content-Type": RELATED})
    assert (answer.status_code, len(sops(answer, STORED))) == (200, 2)


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"", RELATED, Code.MALFORMED_MULTIPART),
        (b"--x--\r\n", RELATED, Code.MALFORMED_MULTIPART),
        (body(b"a")[:-6], RELATED, Code.MALFORMED_MULTIPART),
        (body(b"a"), "application/dicom", Code.MALFORMED_MULTIPART),
        (body(b"a"), "multipart/form-data; boundary=x", Code.MALFORMED_MULTIPART),
        (body(b"a"), 'multipart/related; type="application/dicom+json"; boundary=x', Code.UNSUPPORTED_MEDIA),
        (body(bytes(3_100_000)), RELATED, Code.BODY_TOO_LARGE),
    ],
)
def test_an_invalid_request_is_refused(sender: httpx.Client, content: bytes, kind: str, code: Code) -> None:
    problem(sender.post("/dicomweb/studies", content=content, headers={"Content-Type": kind}), code)


def test_storing_needs_the_write_scope(quick: Platform) -> None:
    with quick.client(scope="studies:read") as reader:
        problem(stow(reader, instance(uid())), Code.FORBIDDEN)
    with httpx.Client(base_url=quick.base) as nobody:
        problem(stow(nobody, instance(uid())), Code.UNAUTHENTICATED)


def test_tenants_do_not_share_uids(quick: Platform, sender: httpx.Client) -> None:
    image = instance(study := uid())
    with quick.client() as other:
        assert stow(sender, image).status_code == stow(other, image).status_code == 200
        assert jobs(sender, 1)[0]["id"] != jobs(other, 1)[0]["id"]
    with quick.client() as third:
        problem(third.post(f"/v1/studies/{study}/analyse"), Code.NOT_FOUND)


def test_a_study_is_analysed_at_once_when_asked_for(patient: Platform) -> None:
    study = uid()
    with patient.client() as client:
        assert stow(client, instance(study)).status_code == 200
        answer = client.post(f"/v1/studies/{study}/analyse")
        assert answer.status_code == 202, answer.text
        job = answer.json()["links"]["self"]
        assert answer.json() == {"id": job.rpartition("/")[2], "links": {"self": job}}
        assert finished(client, job)["state"] == "succeeded"
        assert client.post(f"/v1/studies/{study}/analyse").json()["links"]["self"] == job


def test_dicomweb_client_stores(sender: httpx.Client, quick: Platform) -> None:
    web = pytest.importorskip("dicomweb_client")
    study = uid()
    datasets = [dcmread(BytesIO(instance(study, seed))) for seed in (1, 2)]
    client = web.DICOMwebClient(
        f"{quick.base}/dicomweb", headers={"Authorization": sender.headers["authorization"]}
    )
    answer = client.store_instances(datasets, study_instance_uid=study)
    assert len(answer.ReferencedSOPSequence) == 2
    assert len(jobs(sender, 1)[0]["images"]) == 2
