"""Results delivered to a real Orthanc over DICOMweb, and to peers that lie, refuse or are away."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydicom import dcmread

from local_stack.server import free_port
from tests.factories.certificates import Authority
from tests.factories.images import chest_dicom
from tests.factories.orthanc import BASIC, run_orthanc
from tests.factories.patience import answers, until
from tests.factories.platform import Platform, destine, finished, post
from tests.integration.gateway.scp import DOCUMENTS, Scp, Start


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The Orthanc that the tests of this file share."""
    with run_orthanc(tmp_path_factory.mktemp("orthanc")) as client:
        yield client


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


def sent(client: httpx.Client, file: bytes) -> str:
    receipt = post(client, file, name="chest.dcm")
    assert receipt.status_code == 202, receipt.text
    return str(receipt.headers["location"])


def delivery(client: httpx.Client, job: str, *states: str) -> dict[str, Any]:
    """The one delivery of a job that ends, once its state is one of `states`."""
    finished(client, job)
    return attempted(client, job, *states)


def attempted(client: httpx.Client, job: str, *states: str) -> dict[str, Any]:
    """The job's one delivery, once it was tried and its state is one of `states`."""

    def tried() -> dict[str, Any] | None:
        items = client.get(f"{job}/deliveries").json()["items"]
        return dict(items[0]) if items and items[0]["state"] in states and items[0]["attempts"] else None

    return until(tried, lambda: client.get(f"{job}/deliveries").text) or {}


@pytest.mark.slow
def test_report_capture_and_presentation_state_lie_in_the_source_study(
    platform: Platform, orthanc: httpx.Client, tenant: UUID
) -> None:
    source = chest_dicom(
        11, PatientName="Yamada^Tarou=山田^太郎", SpecificCharacterSet="ISO_IR 192", PatientID="17"
    )
    orthanc.post("/instances", content=source).raise_for_status()
    destine(platform, tenant, f"{orthanc.base_url}/dicom-web", BASIC)
    with platform.client(tenant) as client:
        done = delivery(client, sent(client, source), "delivered", "dead")
    assert (done["state"], done["proof"]) == (
        "delivered",
        "read back over DICOMweb: the data sets are equal",
    ), done
    uid = str(dcmread(BytesIO(source)).StudyInstanceUID)
    found = orthanc.post(
        "/tools/find", json={"Level": "Study", "Query": {"StudyInstanceUID": uid}, "Expand": True}
    ).json()
    assert len(found) == 1
    assert len({study["ParentPatient"] for study in found}) == 1
    series = orthanc.get(f"/studies/{found[0]['ID']}/series").json()
    assert sorted(one["MainDicomTags"]["Modality"] for one in series) == sorted(
        [dcmread(BytesIO(source)).Modality, "OT", "PR", "SR"]
    )


@pytest.mark.slow
def test_wrong_credentials_end_as_dead_and_can_be_resent(
    platform: Platform, orthanc: httpx.Client, tenant: UUID
) -> None:
    destine(platform, tenant, f"{orthanc.base_url}/dicom-web", "Basic d3Jvbmc6d3Jvbmc=")
    with platform.client(tenant) as client, platform.client(scope="admin") as admin:
        job = sent(client, chest_dicom(12))
        dead = delivery(client, job, "dead")
        assert (dead["error_code"], dead["attempts"]) == ("destination_refuses", 1) and "401" in dead[
            "error_detail"
        ]
        (listed,) = [
            d for d in admin.get("/v1/admin/deliveries").json()["items"] if d["tenant_id"] == str(tenant)
        ]
        destine(platform, tenant, f"{orthanc.base_url}/dicom-web", BASIC)
        assert admin.post(f"/v1/admin/deliveries/{listed['id']}/resend").status_code == 202
        assert delivery(client, job, "delivered")["proof"]
        assert admin.post(f"/v1/admin/deliveries/{listed['id']}/resend").status_code == 409


@pytest.mark.slow
def test_a_uid_with_other_bytes_at_the_destination_ends_as_a_conflict(
    platform: Platform, orthanc: httpx.Client, tenant: UUID
) -> None:
    """Orthanc answers 200 to a UID that it has and keeps the first bytes."""
    with platform.client(tenant) as client:
        destine(platform, tenant, "http://127.0.0.1:9/away", None)
        source = chest_dicom(13)
        job = sent(client, source)
        delivery(client, job, "waiting")
        ((sop, series),) = platform.sql(
            "select report_sop, report_series from deliveries where tenant_id = %s", tenant
        )
        taken = dcmread(BytesIO(source))
        taken.SOPInstanceUID = taken.file_meta.MediaStorageSOPInstanceUID = sop
        taken.SeriesInstanceUID = series
        buffer = BytesIO()
        taken.save_as(buffer)
        orthanc.post("/instances", content=buffer.getvalue()).raise_for_status()
        destine(platform, tenant, f"{orthanc.base_url}/dicom-web", BASIC)
        platform.sql("update deliveries set not_before = now() where tenant_id = %s", tenant)
        assert delivery(client, job, "dead", "delivered")["error_code"] == "instance_conflict"


def test_what_thorax_made_starts_no_analysis_when_it_comes_back(platform: Platform, tenant: UUID) -> None:
    own = chest_dicom(14, Manufacturer="THORAX")
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + own + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    with platform.client(tenant) as client:
        answer = client.post("/dicomweb/studies", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
    assert not platform.sql("select 1 from studies where tenant_id = %s", tenant)


CIRCLE_S = float(os.environ.get("CIRCLE_S", "10"))
"""Ten times as long as a study of this tenant waits for another image."""
FORWARD = """
function OnStoredInstance(id, tags, metadata, origin)
  SendToModality(id, 'thorax')
end
"""


@pytest.mark.slow
@pytest.mark.parametrize("back", ["DICOMweb", "C-STORE"])
def test_a_pacs_that_forwards_all_it_gets_starts_no_circle(
    platform: Platform, scp: Scp, tmp_path: Path, back: str
) -> None:
    (tmp_path / "forward.lua").write_text(FORWARD)
    peers = {"thorax": [scp.title, "127.0.0.1", scp.port]}
    port = free_port()
    settings = {"LuaScripts": [str(tmp_path / "forward.lua")], "DicomModalities": peers, "DicomAet": "SCU", "DicomPort": port}  # fmt: skip
    with run_orthanc(tmp_path, **settings) as orthanc, platform.client(scp.tenant) as client:
        if back == "C-STORE":
            destine(platform, scp.tenant, f"dicom://127.0.0.1:{port}/SCU")
        else:
            destine(platform, scp.tenant, f"{orthanc.base_url}/dicom-web", BASIC)
        orthanc.post("/instances", content=chest_dicom(15)).raise_for_status()
        (job,) = scp.jobs(1)
        assert delivery(client, f"/v1/jobs/{job['id']}", "delivered", "dead")["state"] == "delivered"
        while any(
            one["State"] in ("Pending", "Running")
            for one in orthanc.get("/jobs", params={"expand": ""}).json()
        ):
            time.sleep(0.2)
        time.sleep(CIRCLE_S)
        assert len(scp.jobs(1)) == 1 and len(orthanc.get("/instances").json()) == 4


@pytest.mark.slow
def test_a_pacs_sends_a_whole_study_with_our_results_over_both_doors(
    platform: Platform, start: Start, tmp_path: Path
) -> None:
    scp = start()
    peers = {"thorax": [DOCUMENTS, "127.0.0.1", scp.port]}
    web = {
        "Url": f"{platform.base}/dicomweb/",
        "HttpHeaders": {"Authorization": f"Bearer {platform.issuer.token(scp.tenant)}"},
    }
    settings = {
        "DicomModalities": peers,
        "DicomAet": "SCU",
        "DicomWeb": {"Enable": True, "Servers": {"thorax": web}},
    }
    with run_orthanc(tmp_path, **settings) as orthanc, platform.client(scp.tenant) as client:
        destine(platform, scp.tenant, f"{orthanc.base_url}/dicom-web", BASIC)
        study = orthanc.post("/instances", content=chest_dicom(16)).json()["ParentStudy"]
        whole = {"Resources": [study], "Synchronous": True}
        assert orthanc.post("/modalities/thorax/store", json=whole).json()["FailedInstancesCount"] == 0
        (job,) = scp.jobs(1)
        assert delivery(client, f"/v1/jobs/{job['id']}", "delivered", "dead")["state"] == "delivered"
        assert len(orthanc.get(f"/studies/{study}/instances").json()) == 4
        again = orthanc.post("/modalities/thorax/store", json=whole)
        assert (again.status_code, again.json().get("FailedInstancesCount")) == (200, 0), again.text
        stow = orthanc.post("/dicom-web/servers/thorax/stow", json=whole)
        assert stow.status_code == 200, stow.text
        assert len(scp.jobs(1)) == 1
        assert len(platform.sql("select 1 from instances where tenant_id = %s", scp.tenant)) == 1


@pytest.mark.slow
def test_a_study_returns_by_c_store_to_the_ae_that_sent_it_and_to_no_other(
    platform: Platform, scp: Scp, tmp_path: Path
) -> None:
    """Orthanc answers C-FIND, and lets no association in that calls it by another title."""
    peers = {"thorax": [scp.title, "127.0.0.1", scp.port]}
    settings = {
        "DicomModalities": peers,
        "DicomAet": "SCU",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowFind": True,
    }
    with run_orthanc(tmp_path, **settings) as orthanc, platform.client(scp.tenant) as client:
        port = json.loads((tmp_path / "orthanc.json").read_text())["DicomPort"]
        destine(platform, scp.tenant, f"dicom://127.0.0.1:{port}/SCU", only_from="SCU")
        elsewhere = sent(client, chest_dicom(20))
        orthanc.post("/instances", content=chest_dicom(16)).raise_for_status()
        (study,) = orthanc.get("/studies").json()
        orthanc.post("/modalities/thorax/store", json={"Resources": [study]}).raise_for_status()
        job = next(one for one in scp.jobs(2) if one["study"]["source"] == "C-STORE from SCU")
        done = delivery(client, f"/v1/jobs/{job['id']}", "delivered", "dead")
        assert (done["state"], done["kind"]) == ("delivered", "dicom") and "C-FIND" in done["proof"], done
        series = [
            orthanc.get(f"/series/{one}").json() for one in orthanc.get(f"/studies/{study}").json()["Series"]
        ]
        assert {"SR", "OT", "PR"} < {one["MainDicomTags"]["Modality"] for one in series}
        assert len(orthanc.get("/patients").json()) == 1
        assert not client.get(f"{elsewhere}/deliveries").json()["items"]
        destine(platform, scp.tenant, f"dicom://127.0.0.1:{port}/OTHER")
        refused = delivery(client, sent(client, chest_dicom(17)), "dead", "delivered")
        assert refused["error_code"] == "destination_refuses" and "AE title" in refused["error_detail"]


@pytest.mark.slow
def test_storescp_over_tls_gets_nothing_until_it_is_trusted_and_then_what_can_be_made(
    platform: Platform, authority: Authority, tenant: UUID, tmp_path: Path
) -> None:
    if not shutil.which("storescp"):
        pytest.skip("storescp (dcmtk) is not installed")
    port, own = free_port(), authority.issue("storescp")
    shutil.copy(authority.certificate, platform.folder / "pacs.ca.pem")
    stranger = Authority(tmp_path, "stranger")
    shutil.move(stranger.certificate, platform.folder / "stranger.ca.pem")
    kept = tmp_path / "kept"
    kept.mkdir()
    tls = ["+tls", str(own.key), str(own.certificate), "-ic"]
    process = subprocess.Popen(["storescp", *tls, "-od", str(kept), str(port)])
    try:
        until(lambda: answers(port))
        with platform.client(tenant) as client, platform.client(scope="admin") as admin:
            destine(platform, tenant, f"dicom://127.0.0.1:{port}/STORESCP?tls=stranger")
            job = sent(client, chest_dicom(18))
            assert delivery(client, job, "dead", "delivered")["error_code"] == "destination_untrusted"
            assert not list(kept.iterdir())
            (listed,) = [
                d for d in admin.get("/v1/admin/deliveries").json()["items"] if d["tenant_id"] == str(tenant)
            ]
            assert "certificate is not trusted" in listed["error_detail"]
            destine(platform, tenant, f"dicom://127.0.0.1:{port}/STORESCP?tls=pacs")
            assert admin.post(f"/v1/admin/deliveries/{listed['id']}/resend").status_code == 202
            done = delivery(client, job, "delivered")
            assert "no C-FIND" in done["proof"] and not done["error_code"], done
            made = set(kept.iterdir())
            assert sorted(dcmread(path, force=True).Modality for path in made) == ["OT", "PR", "SR"]
            unmakeable = """
                with turned as (update instances set orientation = 9 where tenant_id = %s returning id)
                update study_findings set verdict = 'likely' where instance_id in (select id from turned)"""
            platform.sql(unmakeable, tenant)
            platform.sql("update deliveries set state = 'dead' where tenant_id = %s", tenant)
            assert admin.post(f"/v1/admin/deliveries/{listed['id']}/resend").status_code == 202
            done = attempted(client, job, "delivered")
            assert (done["error_code"], done["error_detail"]) == ("object_not_made", "Not made: SR, GSPS 1.")
            assert [dcmread(path, force=True).Modality for path in set(kept.iterdir()) - made] == ["OT"]
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "url",
    [
        "dicom://host/AE",
        "dicom://h:0/AE",
        "dicom://a..b:104/AE",
        "dicom://h:104/",
        "dicom://h:104/SEVENTEENLETTERSX",
        "dicom://h:104/A?tls=../a",
        "x:",
    ],
)
def test_a_peer_is_a_host_a_port_and_a_title(platform: Platform, tenant: UUID, url: str) -> None:
    with platform.client(scope="admin") as admin:
        answer = admin.put(f"/v1/admin/tenants/{tenant}/destinations/pacs", json={"url": url})
    assert answer.status_code == 422, answer.text
