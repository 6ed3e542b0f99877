"""Results in a real Orthanc that dies in between, of a study that is analysed again, and of patients with names of their own."""

import socket
import threading
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydicom import Dataset, dcmread

from local_stack.server import free_port
from tests.factories.images import chest_dicom
from tests.factories.orthanc import BASIC, run_orthanc
from tests.factories.patience import PATIENCE_S
from tests.factories.platform import Platform, destine
from tests.integration.gateway.scp import uid
from tests.integration.gateway.test_deliveries import delivery, sent

pytestmark = pytest.mark.slow


@pytest.fixture
def tenant() -> UUID:
    return uuid4()


class Relay:
    """Between a sender and `port`: of the first connection it holds what comes after `most` bytes, until `release`."""

    def __init__(self, port: int, most: int) -> None:
        self._to, self._most = port, most
        self.held, self._released = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def release(self) -> None:
        """Close the first connection."""
        self._released.set()

    def _accept(self) -> None:
        most: int | None = self._most
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._to))
            for ends in ((near, far, most), (far, near, None)):
                threading.Thread(target=self._pass, args=ends, daemon=True).start()
            most = None

    def _pass(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        passed = 0
        try:
            while (most is None or passed < most) and (data := source.recv(4096)):
                target.sendall(data)
                passed += len(data)
            if most is not None and passed >= most:
                self.held.set()
                self._released.wait(PATIENCE_S)
            source.close()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()


def kept(orthanc: httpx.Client, modality: str = "") -> list[Dataset]:
    """What Orthanc has, of one modality."""
    files = [orthanc.get(f"/instances/{one}/file").content for one in orthanc.get("/instances").json()]
    read = [dcmread(BytesIO(file)) for file in files]
    return [one for one in read if modality in ("", one.Modality)]


def test_orthanc_killed_between_report_and_capture_has_all_in_the_end_and_nothing_twice(
    platform: Platform, tenant: UUID, tmp_path: Path
) -> None:
    relay = Relay(port := free_port(), 60_000)  # more than a report, less than a capture
    with run_orthanc(tmp_path, DicomPort=port) as orthanc, platform.client(tenant) as client:
        orthanc.post("/instances", content=(source := chest_dicom(30))).raise_for_status()
        destine(platform, tenant, f"dicom://127.0.0.1:{relay.port}/ORTHANC")
        job = sent(client, source)
        assert relay.held.wait(PATIENCE_S)
    with run_orthanc(tmp_path, DicomPort=port) as orthanc, platform.client(tenant) as client:
        relay.release()
        seen = delivery(client, job, "waiting", "delivered")
        if seen["state"] == "waiting":  # on a starved machine all may have been sent again already
            assert "association ended" in seen["error_detail"]
            assert {one.Modality for one in kept(orthanc)} < {"CR", "SR", "OT", "PR"}
            platform.sql("update deliveries set not_before = now() where tenant_id = %s", tenant)
            platform.sql(
                "delete from outages o using destinations x where x.id = o.destination_id and x.tenant_id = %s",
                tenant,
            )
        assert delivery(client, job, "delivered", "dead")["state"] == "delivered"
        assert sorted(one.Modality for one in kept(orthanc)) == ["CR", "OT", "PR", "SR"]


def stow(client: httpx.Client, study: str, image: bytes) -> str:
    """The job of a study that has one more image."""
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + image + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    client.post("/dicomweb/studies", content=body, headers={"Content-Type": kind}).raise_for_status()
    answer = client.post(f"/v1/studies/{study}/analyse").raise_for_status()
    return f"/v1/jobs/{answer.json()['id']}"


def test_a_new_version_names_the_one_before_and_makes_no_second_patient(
    platform: Platform, tenant: UUID, tmp_path: Path
) -> None:
    study, reports = uid(), list[Dataset]()
    with run_orthanc(tmp_path) as orthanc, platform.client(tenant) as client:
        destine(platform, tenant, f"{orthanc.base_url}/dicom-web", BASIC)
        for seed in (31, 32):
            image = chest_dicom(seed, StudyInstanceUID=study, PatientID="17", PatientName="Doe^Jane")
            orthanc.post("/instances", content=image).raise_for_status()
            assert delivery(client, stow(client, study, image), "delivered", "dead")["state"] == "delivered"
            known = {one.SOPInstanceUID for one in reports}
            reports += [one for one in kept(orthanc, "SR") if one.SOPInstanceUID not in known]
        first, second = reports
        assert "PredecessorDocumentsSequence" not in first
        (before,) = second.PredecessorDocumentsSequence
        (series,) = before.ReferencedSeriesSequence
        assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
        assert before.StudyInstanceUID == study and series.SeriesInstanceUID == first.SeriesInstanceUID
        assert len(orthanc.get("/patients").json()) == len(orthanc.get("/studies").json()) == 1


JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
}
GERMAN = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müßig^Jörg^^Dr."}


@pytest.mark.parametrize(
    "patient",
    [{**JAPANESE, "PatientID": "1"}, {**GERMAN, "PatientID": "2"}, {"PatientID": "", "PatientName": ""}],
)
def test_a_patient_stays_one_with_the_name_as_it_was_sent(
    platform: Platform, tenant: UUID, tmp_path: Path, patient: dict[str, Any]
) -> None:
    source = chest_dicom(33, StudyInstanceUID=uid(), **patient)
    with run_orthanc(tmp_path) as orthanc, platform.client(tenant) as client:
        orthanc.post("/instances", content=source).raise_for_status()
        destine(platform, tenant, f"{orthanc.base_url}/dicom-web", BASIC)
        assert delivery(client, sent(client, source), "delivered", "dead")["state"] == "delivered"
        made = kept(orthanc)
        assert len(made) == 4 and {str(one.PatientName) for one in made} == {patient["PatientName"]}
        assert {one.PatientID for one in made} == {patient["PatientID"]}
        assert len(orthanc.get("/patients").json()) == len(orthanc.get("/studies").json()) == 1
