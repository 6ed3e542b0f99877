"""C-STORE with the tools that hospitals use: dcmtk's, Orthanc's, and pynetdicom as a sender that misbehaves."""

import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import AE, build_context

from gateway.dimse.contexts import RADIOGRAPHS, TRANSFER_SYNTAXES
from local_stack.server import free_port
from model_worker.decoding import anatomy
from tests.factories.images import chest_dicom
from tests.factories.platform import Platform, finished
from tests.integration.gateway.stored import stored
from thorax.errors import Code

CR = "1.2.840.10008.5.1.4.1.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
MAX_BYTES = 3_000_000


@dataclass
class Scp:
    """A running SCP, and the tenant to which its title THORAX belongs."""

    platform: Platform
    port: int
    process: subprocess.Popen[bytes]
    tenant: UUID
    spool: Path

    def associate(self, *contexts: Any, called: str = "THORAX", calling: str = "SCU") -> Any:
        ae = AE(ae_title=calling)
        ae.requested_contexts = list(contexts) or [build_context(CR, ExplicitVRLittleEndian)]
        ae.acse_timeout = ae.dimse_timeout = 60
        return ae.associate("127.0.0.1", self.port, ae_title=called)

    def jobs(self, count: int, timeout_s: float = 60) -> list[dict[str, Any]]:
        """All jobs of the tenant, once there are so many and they have ended."""
        with self.platform.client(self.tenant) as client:
            deadline = time.monotonic() + timeout_s
            while len(items := client.get("/v1/jobs").json()["items"]) < count:
                assert time.monotonic() < deadline, items
                time.sleep(0.1)
            return [finished(client, f"/v1/jobs/{item['id']}") for item in items]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


Start = Callable[..., Scp]


@pytest.fixture
def start(platform: Platform, tmp_path: Path) -> Iterator[Start]:
    """`start(DICOM_IDLE_S="2")`: an SCP of a new tenant; studies settle after half a second."""
    running: list[Scp] = []

    def new(port: int = 0, tenant: UUID | None = None, **settings: str) -> Scp:
        port, tenant, aes = port or free_port(), tenant or uuid4(), tmp_path / "aes.toml"
        peers = '{ SCU = ["127.0.0.0/8"], STORESCU = ["127.0.0.0/8"], DCMSEND = ["127.0.0.0/8"], FAR = ["10.0.0.0/8"] }'
        aes.write_text(f'[THORAX]\ntenant = "{tenant}"\npriority = "stat"\nquiet_s = 1\npeers = {peers}\n')
        environment = {
            **platform._environment,
            "THORAX_DATABASE_URL": platform.url_as("thorax_gateway"),
            "THORAX_DICOM_PORT": str(port),
            "THORAX_DICOM_AES": str(aes),
            "THORAX_DICOM_SPOOL": str(tmp_path / "spool"),
            "THORAX_MAX_BODY_BYTES": str(MAX_BYTES),
            **{f"THORAX_{name}": value for name, value in settings.items()},
        }
        with (platform.folder / "dimse.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway.dimse"], env=environment, stdout=log, stderr=log
            )
        scp = Scp(platform, port, process, tenant, tmp_path / "spool")
        running.append(scp)
        deadline = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline, platform.logs()[-3000:]
            time.sleep(0.05)
        return scp

    yield new
    for scp in running:
        scp.process.kill()
        scp.process.wait()


def uid() -> str:
    return f"2.25.{uuid4().int}"


def instance(study: str, seed: int = 0, sop: str | None = None, **elements: Any) -> bytes:
    return chest_dicom(seed, 64, StudyInstanceUID=study, SOPInstanceUID=sop or uid(), **elements)


def data_set(data: bytes) -> Any:
    return dcmread(BytesIO(data))


def tool(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which(name):
        pytest.skip(f"{name} (dcmtk) is not installed")
    return subprocess.run([name, *words], capture_output=True, text=True, timeout=120, check=False)


def test_what_is_negotiated_is_what_the_workers_take() -> None:
    assert set(RADIOGRAPHS) == set(anatomy.SOP_CLASSES)


def test_verification(start: Start) -> None:
    scp = start()
    assert tool("echoscu", "-aec", "THORAX", "-aet", "SCU", "127.0.0.1", str(scp.port)).returncode == 0


def test_a_study_becomes_one_job_that_names_its_sender(start: Start, tmp_path: Path) -> None:
    scp, study = start(), uid()
    files = [tmp_path / f"{n}.dcm" for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes(instance(study, n))
    done = tool("storescu", "-aec", "THORAX", "127.0.0.1", str(scp.port), *map(str, files))
    assert done.returncode == 0, done.stderr
    [job] = scp.jobs(1)
    assert (job["state"], job["priority"], len(job["images"])) == ("succeeded", "stat", 3)
    assert job["study"]["source"] == "C-STORE from STORESCU"
    assert not list(scp.spool.iterdir())


@pytest.mark.parametrize("option", [["-xv"], ["-xs"], ["-xr"], ["-xi"], []])
def test_storescu_proposes_what_it_likes_and_the_file_arrives(
    start: Start, tmp_path: Path, option: list[str]
) -> None:
    scp, file = start(), tmp_path / "a.dcm"
    data = data_set(instance(uid(), 1))
    syntax = {"-xv": JPEG2000Lossless, "-xi": ImplicitVRLittleEndian}.get(
        "".join(option), ExplicitVRLittleEndian
    )
    if syntax == JPEG2000Lossless:
        data.compress(syntax)
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian, enforce_file_format=True)
    done = tool("storescu", *option, "-aec", "THORAX", "127.0.0.1", str(scp.port), str(file))
    assert done.returncode == 0, done.stderr
    [job] = scp.jobs(1)
    assert job["state"] == "succeeded", job


def test_dcmsend_reports_all_as_sent(start: Start, tmp_path: Path) -> None:
    scp, study, report = start(), uid(), tmp_path / "report.txt"
    for n in range(4):
        (tmp_path / f"{n}.dcm").write_bytes(instance(study, n))
    done = tool(
        "dcmsend", "-aec", "THORAX", "+crf", str(report), "127.0.0.1", str(scp.port), "+sd", "+sp", "*.dcm", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(scp.jobs(1)[0]["images"]) == 4


@pytest.mark.parametrize(
    "order", [(JPEG2000Lossless, ExplicitVRLittleEndian), (ExplicitVRLittleEndian, JPEG2000Lossless)]
)
def test_the_first_transfer_syntax_of_the_sender_is_agreed(start: Start, order: tuple[str, ...]) -> None:
    contexts = [build_context(CR, list(order)), build_context(CR, ["1.2.3", order[1]])]
    association = start().associate(*contexts)
    assert association.is_established
    agreed = [context.transfer_syntax[0] for context in association.accepted_contexts]
    association.release()
    assert agreed == [order[0], order[1]]


def test_every_transfer_syntax_is_agreed_and_nothing_else(start: Start) -> None:
    contexts = [build_context(RADIOGRAPHS[0], uid) for uid in (*TRANSFER_SYNTAXES, "1.2.840.10008.1.2.4.102")]
    association = start().associate(*contexts, build_context(CT))
    accepted = {context.transfer_syntax[0] for context in association.accepted_contexts}
    rejected = [context.abstract_syntax for context in association.rejected_contexts]
    association.release()
    assert accepted == set(TRANSFER_SYNTAXES)
    assert rejected == [RADIOGRAPHS[0], CT]


@pytest.mark.parametrize(
    ("called", "calling", "reason"),
    [("OTHER", "SCU", 7), ("THORAX", "STRANGER", 3), ("THORAX", "FAR", 3)],
)
def test_who_is_not_known_is_rejected(start: Start, called: str, calling: str, reason: int) -> None:
    association = start().associate(called=called, calling=calling)
    assert association.is_rejected
    assert association.acceptor.primitive.diagnostic == reason


def test_the_same_instance_at_once_over_four_associations_is_analysed_once(start: Start) -> None:
    scp = start()
    image = instance(uid())

    def send(_: int) -> int:
        association = scp.associate()
        status = association.send_c_store(data_set(image)).Status
        association.release()
        return int(status)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(send, range(8))) == {0}
    [job] = scp.jobs(1)
    assert len(job["images"]) == 1


def test_other_content_under_a_known_uid_is_kept_aside(start: Start) -> None:
    scp, study, sop = start(), uid(), uid()
    association = scp.associate()
    statuses = [association.send_c_store(data_set(instance(study, seed, sop))).Status for seed in (1, 2)]
    association.release()
    assert statuses == [0, 0]
    [job] = scp.jobs(1)
    assert [i["error"] and i["error"]["code"] for i in job["images"]] == [None, Code.INSTANCE_CONFLICT]


def test_a_clinical_refusal_is_a_success_for_the_sender(start: Start) -> None:
    scp = start()
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid(), ViewPosition="LL"))).Status == 0
    association.release()
    [job] = scp.jobs(1)
    assert (job["state"], job["error"]["code"]) == ("failed", Code.NOT_FRONTAL)


def test_what_can_not_be_understood_is_c000_with_a_comment_and_spoils_no_other(
    start: Start, platform: Platform
) -> None:
    scp = start()
    before = stored(platform)
    association = scp.associate()
    answer = association.send_c_store(data_set(chest_dicom(1, 64, StudyInstanceUID=None)))
    assert (answer.Status, answer.ErrorComment) == (0xC000, "The DICOM header lacks the study UID.")
    assert stored(platform) <= before
    assert association.send_c_store(data_set(instance(uid()))).Status == 0
    association.release()


def test_past_its_quota_a_tenant_gets_a700(start: Start) -> None:
    scp = start(OPEN_JOBS_PER_TENANT="0")
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid()))).Status == 0xA700
    association.release()


def test_too_large_a_data_set_aborts_and_leaves_nothing(start: Start, platform: Platform) -> None:
    scp = start()
    before = stored(platform)
    association = scp.associate()
    large = data_set(chest_dicom(1, 2000, StudyInstanceUID=uid(), SOPInstanceUID=uid()))
    assert not association.send_c_store(large)  # no answer
    gone(scp)
    assert stored(platform) <= before
    fine = scp.associate()
    assert fine.send_c_store(data_set(instance(uid()))).Status == 0
    fine.release()


def gone(scp: Scp) -> None:
    """Wait until nothing is left of what was being received."""
    deadline = time.monotonic() + 30
    while list(scp.spool.iterdir()):
        assert time.monotonic() < deadline, list(scp.spool.iterdir())
        time.sleep(0.05)


def test_an_association_that_falls_silent_in_a_pdu_is_ended(start: Start) -> None:
    scp = start(DICOM_IDLE_S="2")
    with socket.create_connection(("127.0.0.1", scp.port), timeout=30) as half:
        half.sendall(struct.pack(">BBI", 1, 0, 1000) + b"half of an A-ASSOCIATE-RQ")
        while half.recv(1000):
            pass


def test_past_the_limit_associations_are_rejected_and_others_go_on(start: Start) -> None:
    scp = start(DICOM_ASSOCIATIONS="2")
    first, second, third = (scp.associate() for _ in range(3))
    assert first.is_established and second.is_established and third.is_rejected
    assert first.send_c_store(data_set(instance(uid()))).Status == 0
    first.release()
    second.release()


def test_what_was_answered_with_success_is_there_after_a_kill(start: Start, platform: Platform) -> None:
    scp, study = start(), uid()
    sent = []
    for seed in range(10):
        association = scp.associate()
        assert association.is_established
        sop = uid()
        assert association.send_c_store(data_set(instance(study, seed, sop))).Status == 0
        scp.process.send_signal(signal.SIGKILL)
        scp.process.wait()
        sent.append(sop)
        association.abort()
        scp = start(scp.port, scp.tenant)
    found = platform.sql("select id, sop_instance_uid from instances where tenant_id = %s", scp.tenant)
    assert sorted(sop for _, sop in found) == sorted(sent)
    for instance_id, _ in found:
        assert (platform.folder / "blobs" / "instances" / str(instance_id) / "original").exists()


def test_orthanc_sends_over_both_doors(start: Start, platform: Platform, tmp_path: Path) -> None:
    plugin = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
    if not shutil.which("Orthanc") or not plugin.exists():
        pytest.skip("Orthanc with its DICOMweb plugin is not installed")
    scp, port = start(), free_port()
    token = platform.issuer.token(scp.tenant)
    server = {
        "Url": f"{platform.base}/dicomweb/",
        "HttpHeaders": {"Authorization": f"Bearer {token}"},
        "ChunkedTransfers": True,
    }
    orthanc = {
        "StorageDirectory": str(tmp_path / "orthanc"), "IndexDirectory": str(tmp_path / "orthanc"), "HttpPort": port,
        "DicomPort": free_port(), "DicomAet": "SCU", "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "Plugins": [str(plugin)], "DicomModalities": {"thorax": ["THORAX", "127.0.0.1", scp.port]},
        "DicomWeb": {"Enable": True, "Servers": {"thorax": server}},
    }  # fmt: skip
    (tmp_path / "orthanc.json").write_text(json.dumps(orthanc))
    with (tmp_path / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(tmp_path / "orthanc.json")], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            deadline = time.monotonic() + 60
            while not answers(port):
                assert time.monotonic() < deadline, (tmp_path / "orthanc.log").read_text()[-2000:]
                time.sleep(0.1)
            ids = [client.post("/instances", content=instance(uid(), seed)).json()["ID"] for seed in (1, 2)]
            stored = client.post("/modalities/thorax/store", json={"Resources": ids[:1], "Synchronous": True})
            assert stored.json().get("FailedInstancesCount") == 0, stored.text
            stow = client.post(
                "/dicom-web/servers/thorax/stow", json={"Resources": ids[1:], "Synchronous": True}
            )
            assert stow.status_code == 200, stow.text
    finally:
        process.kill()
        process.wait()
    sources = {job["study"]["source"] for job in scp.jobs(2)}
    assert sources == {"C-STORE from SCU", "STOW-RS"}
