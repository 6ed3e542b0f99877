"""Thorax' own SR, SC and GSPS over QIDO-RS and WADO-RS, in the study that they belong to."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import cv2
import highdicom as hd
import httpx
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from tests.factories.images import chest_dicom
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.test_wado import RELATED, part, uid

STUDY = uid()
CLASSES = {
    "SR": "1.2.840.10008.5.1.4.1.1.88.33",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
    "PR": "1.2.840.10008.5.1.4.1.1.11.1",
}


@pytest.fixture(scope="module")
def read(platform: Platform) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
    """A client whose study was analysed, and the job."""
    with platform.client() as client:
        image = chest_dicom(
            31, StudyInstanceUID=STUDY, SeriesInstanceUID=f"{STUDY}.1", SOPInstanceUID=f"{STUDY}.2"
        )
        job = finished(client, post(client, image, name="chest.dcm").headers["location"])
        assert job["state"] == "succeeded", job
        yield client, job


def instances(client: httpx.Client, study: str) -> list[dict[str, Any]]:
    """The instances of an analysed study, once Thorax' own are among them: on a busy machine an answer does not wait for them."""

    def found() -> list[dict[str, Any]]:
        return list(client.get(f"/dicomweb/studies/{study}/instances").raise_for_status().json())

    return until(lambda: (items := found())[1:] and items, "no object was made")


def listed(client: httpx.Client) -> dict[str, str]:
    """The path of each instance of the study, by modality."""
    items = instances(client, STUDY)
    uids = {
        item["00080060"]["Value"][0]: (item["0020000E"]["Value"][0], item["00080018"]["Value"][0])
        for item in items
    }
    assert len(uids) == len(items)
    return {
        modality: f"/dicomweb/studies/{STUDY}/series/{series}/instances/{sop}"
        for modality, (series, sop) in uids.items()
    }


def fetched(client: httpx.Client, path: str) -> Dataset:
    return dcmread(BytesIO(part(client.get(path, headers={"Accept": RELATED}))[1]))


def test_they_are_listed_with_the_study(read: tuple[httpx.Client, dict[str, Any]]) -> None:
    client, _ = read
    assert set(listed(client)) == {"CR", *CLASSES}
    [study] = client.get("/dicomweb/studies", params={"StudyInstanceUID": STUDY}).json()
    assert (study["00080061"]["Value"], study["00201208"]["Value"]) == (["CR", "OT", "PR", "SR"], [4])
    for modality in ("SR", "CR"):
        assert len(client.get("/dicomweb/studies", params={"ModalitiesInStudy": modality}).json()) == 1
    series = client.get(f"/dicomweb/studies/{STUDY}/series", params={"Modality": "SR"}).json()
    assert [one["00201209"]["Value"] for one in series] == [[1]]


def test_each_is_fetched_as_it_would_be_sent_to_a_pacs(read: tuple[httpx.Client, dict[str, Any]]) -> None:
    client, job = read
    paths = listed(client)
    for modality, sop_class in CLASSES.items():
        made = fetched(client, paths[modality])
        assert (made.StudyInstanceUID, made.SOPClassUID) == (STUDY, sop_class)
        assert made.Manufacturer == "THORAX"
        [metadata] = client.get(f"{paths[modality]}/metadata").json()
        assert metadata["00080018"]["Value"] == [made.SOPInstanceUID]
    report = hd.sr.ComprehensiveSR.from_dataset(fetched(client, paths["SR"]))
    assert len(report.content.get_image_measurement_groups()) + len(
        report.content.get_planar_roi_measurement_groups()
    ) == 1 + len(job["images"][0]["findings"])


def test_a_viewer_draws_the_capture(read: tuple[httpx.Client, dict[str, Any]]) -> None:
    client, _ = read
    path = listed(client)["OT"]
    made = fetched(client, path)
    png = client.get(f"{path}/rendered", headers={"Accept": "image/png"}).content
    shown = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(shown, made.pixel_array)
    frame = part(client.get(f"{path}/frames/1"))[1]
    assert frame == made.PixelData[: made.Rows * made.Columns * 3]


def test_the_same_objects_are_listed_again_and_a_retry_makes_them_anew(platform: Platform) -> None:
    with platform.client() as client:
        study = uid()
        image = chest_dicom(
            32, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", SOPInstanceUID=f"{study}.2"
        )
        job = finished(client, post(client, image, name="chest.dcm").headers["location"])

        def made() -> set[str]:
            return {item["00080018"]["Value"][0] for item in instances(client, study)} - {f"{study}.2"}

        first = made()
        assert len(first) == 3
        assert made() == first
        ids = platform.sql("select id from derived where study_instance_uid = %s", study)
        platform.sql("update jobs set state = 'failed' where id = %s", job["id"])
        assert client.post(f"{job['links']['self']}/retry").status_code == 202
        finished(client, job["links"]["self"])
        again = made()
        assert len(again) == 3
        assert not again & first, "their content says when the answer was ready"
        client.delete(job["links"]["self"])
        assert client.get(f"/dicomweb/studies/{study}/instances").json() == []
        left = platform.sql("select count(*) from derived where id = any(%s)", [row[0] for row in ids])
        assert left == [(0,)]


def test_of_a_study_that_was_analysed_again_the_last_objects_are_listed_and_the_first_are_kept(
    platform: Platform,
) -> None:
    with platform.client() as client:
        study = uid()
        image = chest_dicom(
            33, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", SOPInstanceUID=f"{study}.2"
        )
        job = finished(client, post(client, image, name="chest.dcm").headers["location"])
        first = {item["00080018"]["Value"][0]: item for item in instances(client, study)}
        assert len(first) == 4
        again = client.post(f"{job['links']['self']}/analyse")
        assert again.status_code == 202, again.text
        finished(client, again.headers["location"])
        sops = lambda: {item["00080018"]["Value"][0] for item in instances(client, study)}  # noqa: E731
        until(lambda: sops() != set(first), "no object was made anew")
        second = sops()
        assert len(second) == 4 and second & set(first) == {f"{study}.2"}
        [listed] = client.get("/dicomweb/studies", params={"StudyInstanceUID": study}).json()
        assert (listed["00201206"]["Value"], listed["00201208"]["Value"]) == ([4], [4])
        platform.sql("update derived set modality = 'KO' where job_id = %s", job["id"])
        for modality, studies in (("SR", 1), ("KO", 0)):
            found = client.get("/dicomweb/studies", params={"ModalitiesInStudy": modality}).json()
            assert len(found) == studies, modality
        for sop, item in first.items():
            path = f"/dicomweb/studies/{study}/series/{item['0020000E']['Value'][0]}/instances/{sop}"
            assert fetched(client, path).SOPInstanceUID == sop


@pytest.mark.slow
def test_the_objects_of_an_answer_are_kept_together_or_not_at_all(platform: Platform) -> None:
    with platform.client() as client:
        study = uid()
        platform.sql(
            f"alter table derived add constraint refused check (modality <> 'PR' or study_instance_uid <> '{study}')"
        )
        image = chest_dicom(
            34, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", SOPInstanceUID=f"{study}.2"
        )
        job = finished(client, post(client, image, name="chest.dcm").headers["location"])
        attempt = "select attempts, made_at from derivations where job_id = %s and attempts = %s"
        try:
            until(lambda: len(client.get(f"/dicomweb/studies/{study}/instances").json()) == 1)
            until(lambda: bool(platform.sql(attempt, job["id"], 1)))
            platform.sql("update derivations set not_before = now() where job_id = %s", job["id"])
            until(lambda: bool(platform.sql(attempt, job["id"], 2)))
            assert platform.sql(attempt, job["id"], 2) == [(2, None)]
            assert platform.sql("select * from derived where job_id = %s", job["id"]) == []
        finally:
            platform.sql("alter table derived drop constraint refused")
        platform.sql("update derivations set not_before = now() where job_id = %s", job["id"])
        assert len(instances(client, study)) == 4


def test_another_tenant_finds_none(read: tuple[httpx.Client, dict[str, Any]], platform: Platform) -> None:
    client, _ = read
    paths = listed(client)
    with platform.client() as stranger:
        assert all(stranger.get(path).status_code == 404 for path in paths.values())
