"""C-STORE with the tools that hospitals use: dcmtk's, Orthanc's, and pynetdicom as a sender that misbehaves."""

import signal
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from pydantic import SecretStr
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless
from pynetdicom import _config, build_context

from gateway.dimse.__main__ import beat
from gateway.dimse.config import DimseSettings
from gateway.dimse.contexts import DOCUMENTS as DOCUMENT_CLASSES
from gateway.dimse.contexts import RADIOGRAPHS, TRANSFER_SYNTAXES
from gateway.studies.header import identify
from model_worker.decoding import anatomy
from tests.factories.images import chest_dicom
from tests.factories.orthanc import run_orthanc
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform
from tests.integration.gateway.scp import CR, DOCUMENTS, Scp, Start, data_set, instance, rejection, tool, uid
from tests.integration.gateway.stored import stored
from thorax.errors import Code

CT = "1.2.840.10008.5.1.4.1.1.2"


def test_the_negotiated_classes_are_those_that_workers_read() -> None:
    assert set(RADIOGRAPHS) == set(anatomy.SOP_CLASSES)


def test_verification(scp: Scp) -> None:
    assert tool("echoscu", "-aec", scp.title, "-aet", "SCU", "127.0.0.1", str(scp.port)).returncode == 0


def test_it_serves_metrics_at_a_port_of_their_own(scp: Scp) -> None:
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid()))).Status == 0
    association.release()
    counted = httpx.get(f"http://127.0.0.1:{scp.metrics}/metrics").text
    (size,) = [
        line.split()[1] for line in counted.splitlines() if line.startswith("thorax_upload_bytes_total")
    ]
    assert float(size) > 1000


def test_the_heartbeat_says_that_associations_are_accepted(start: Start, tmp_path: Path) -> None:
    scp, file = start(HEARTBEAT_FILE=str(tmp_path / "heartbeat")), tmp_path / "heartbeat"
    until(file.exists)
    file.unlink()
    with start_blocking_portal() as portal:
        settings = DimseSettings(
            dicom_port=scp.port,
            dicom_aes=file,
            heartbeat_file=file,
            database_url=SecretStr(scp.platform.owner_url),
        )
        beat(settings, portal)
        assert file.exists()
        scp.process.send_signal(signal.SIGKILL)
        scp.process.wait()  # it beats itself
        file.unlink()
        beat(settings, portal)
        assert not file.exists()


def test_a_study_becomes_one_job_that_names_its_sender(scp: Scp, tmp_path: Path) -> None:
    study = uid()
    files = [tmp_path / f"{n}.dcm" for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes(instance(study, n))
    done = tool("storescu", "-aec", scp.title, "127.0.0.1", str(scp.port), *map(str, files))
    assert done.returncode == 0, done.stderr
    [job] = scp.jobs(1)
    assert (job["state"], job["priority"], len(job["images"])) == ("succeeded", "stat", 3)
    assert job["study"]["source"] == "C-STORE from STORESCU"
    assert not list(scp.spool.iterdir())


def test_a_data_set_of_many_pdus_is_stored_as_it_was_sent(scp: Scp, platform: Platform) -> None:
    """It is larger than the head that is looked at, with which its digests begin."""
    study, sop = uid(), uid()
    sent = data_set(chest_dicom(1, 1024, StudyInstanceUID=study, SOPInstanceUID=sop))
    association = scp.associate()
    assert association.send_c_store(sent).Status == 0
    association.release()
    query = "select id, sha256, data_sha256, size_bytes from instances where sop_instance_uid = %s"
    [(key, whole, data, size)] = platform.sql(query, sop)
    kept = (platform.folder / "blobs" / "instances" / str(key) / "original").read_bytes()
    assert (sha256(kept).hexdigest(), len(kept)) == (whole, size)
    assert data_set(kept) == sent
    assert identify(kept).data_at > 132
    syntax = ExplicitVRLittleEndian.encode()
    assert data == sha256(syntax + kept[identify(kept).data_at :]).hexdigest()


@pytest.mark.parametrize("option", [["-xv"], ["-xs"], ["-xr"], ["-xi"], []])
def test_storescu_proposes_what_it_likes_and_the_file_arrives(
    scp: Scp, tmp_path: Path, option: list[str]
) -> None:
    file = tmp_path / "a.dcm"
    data = data_set(instance(uid(), 1))
    syntax = {"-xv": JPEG2000Lossless, "-xi": ImplicitVRLittleEndian}.get(
        "".join(option), ExplicitVRLittleEndian
    )
    if syntax == JPEG2000Lossless:
        data.compress(syntax)
    data.file_meta.TransferSyntaxUID = syntax
    data.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian, enforce_file_format=True)
    done = tool("storescu", *option, "-aec", scp.title, "127.0.0.1", str(scp.port), str(file))
    assert done.returncode == 0, done.stderr
    [job] = scp.jobs(1)
    assert job["state"] == "succeeded", job


def test_dcmsend_reports_all_as_sent(scp: Scp, tmp_path: Path) -> None:
    study, report = uid(), tmp_path / "report.txt"
    for n in range(4):
        (tmp_path / f"{n}.dcm").write_bytes(instance(study, n))
    done = tool(
        "dcmsend", "-aec", scp.title, "+crf", str(report), "127.0.0.1", str(scp.port), "+sd", "+sp", "*.dcm", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(scp.jobs(1)[0]["images"]) == 4


@pytest.mark.parametrize(
    "order", [(JPEG2000Lossless, ExplicitVRLittleEndian), (ExplicitVRLittleEndian, JPEG2000Lossless)]
)
def test_the_first_transfer_syntax_of_the_sender_is_agreed(scp: Scp, order: tuple[str, ...]) -> None:
    contexts = [build_context(CR, list(order)), build_context(CR, ["1.2.3", order[1]])]
    association = scp.associate(*contexts)
    assert association.is_established
    agreed = [context.transfer_syntax[0] for context in association.accepted_contexts]
    association.release()
    assert agreed == [order[0], order[1]]


def test_every_transfer_syntax_is_agreed_and_nothing_else(scp: Scp) -> None:
    contexts = [build_context(RADIOGRAPHS[0], uid) for uid in (*TRANSFER_SYNTAXES, "1.2.840.10008.1.2.4.102")]
    association = scp.associate(*contexts, build_context(CT))
    accepted = {context.transfer_syntax[0] for context in association.accepted_contexts}
    rejected = [context.abstract_syntax for context in association.rejected_contexts]
    association.release()
    assert accepted == set(TRANSFER_SYNTAXES)
    assert rejected == [RADIOGRAPHS[0], CT]


def test_documents_are_taken_by_a_title_that_says_so(scp: Scp) -> None:
    report, image = DOCUMENT_CLASSES[3], instance(uid(), SOPClassUID=DOCUMENT_CLASSES[3], Modality="SR")
    contexts = [build_context(report, ExplicitVRLittleEndian), build_context(CR)]
    plain, association = scp.associate(*contexts), scp.associate(*contexts, called=DOCUMENTS)
    assert [context.abstract_syntax for context in plain.accepted_contexts] == [CR]
    assert association.send_c_store(data_set(image)).Status == 0
    plain.release()
    association.release()


@pytest.mark.parametrize(
    ("called", "calling", "reason"),
    [("OTHER", "SCU", 7), (None, "STRANGER", 3), (None, "FAR", 3)],
)
def test_an_unknown_peer_is_rejected(scp: Scp, called: str | None, calling: str, reason: int) -> None:
    association = scp.associate(called=called, calling=calling)
    assert rejection(association).diagnostic == reason


def test_the_same_instance_at_once_over_four_associations_is_analysed_once(scp: Scp) -> None:
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


def test_other_content_under_a_known_uid_is_kept_aside(scp: Scp) -> None:
    study, sop = uid(), uid()
    association = scp.associate()
    statuses = [association.send_c_store(data_set(instance(study, seed, sop))).Status for seed in (1, 2)]
    association.release()
    assert statuses == [0, 0]
    [job] = scp.jobs(1)
    assert [i["error"] and i["error"]["code"] for i in job["images"]] == [None, Code.INSTANCE_CONFLICT]


def test_a_clinical_refusal_is_a_success_for_the_sender(scp: Scp) -> None:
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid(), ViewPosition="LL"))).Status == 0
    association.release()
    [job] = scp.jobs(1)
    assert (job["state"], job["error"]["code"]) == ("failed", Code.NOT_FRONTAL)


def test_what_thorax_made_is_a_success_and_is_dropped(scp: Scp, platform: Platform) -> None:
    before = stored(platform)
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid(), Manufacturer="THORAX"))).Status == 0
    association.release()
    assert stored(platform) <= before
    assert not platform.sql("select 1 from studies where tenant_id = %s", scp.tenant)


def test_a_data_set_whose_study_can_not_be_found_is_taken_as_a_study_of_its_own(scp: Scp) -> None:
    association = scp.associate()
    assert (
        association.send_c_store(
            data_set(chest_dicom(1, 64, StudyInstanceUID=None, SOPInstanceUID=uid()))
        ).Status
        == 0
    )
    association.release()
    [job] = scp.jobs(1)
    assert job["state"] == "succeeded"


def test_what_is_not_a_data_set_is_c000_with_a_comment_and_does_not_affect_others(
    scp: Scp, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    whole, before, file = instance(uid()), stored(platform), tmp_path / "noise.dcm"
    file.write_bytes(whole[: 144 + int.from_bytes(whole[140:144], "little")] + b"noise" * 100)
    association = scp.associate()
    answer = association.send_c_store(file)
    assert (answer.Status, answer.ErrorComment) == (0xC000, "The data is not a DICOM file.")
    assert stored(platform) <= before
    assert association.send_c_store(data_set(whole)).Status == 0
    association.release()


def test_past_its_quota_a_tenant_gets_a700(start: Start) -> None:
    scp = start(OPEN_JOBS_PER_TENANT="0")
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid()))).Status == 0xA700
    association.release()


def test_too_large_a_data_set_is_answered_and_the_association_goes_on(scp: Scp, platform: Platform) -> None:
    before = stored(platform)
    association = scp.associate()
    large = data_set(chest_dicom(1, 2000, StudyInstanceUID=uid(), SOPInstanceUID=uid()))
    answer = association.send_c_store(large)
    assert (answer.Status, answer.ErrorComment) == (0xC000, "The data set has more than 3000000 bytes.")
    assert stored(platform) <= before and not list(scp.spool.iterdir())
    assert association.send_c_store(data_set(instance(uid()))).Status == 0
    association.release()


def test_a_data_set_without_end_is_aborted_and_leaves_nothing(start: Start, platform: Platform) -> None:
    scp, before = start(MAX_BODY_BYTES="20000"), stored(platform)
    association = scp.associate()
    endless = data_set(chest_dicom(1, 512, StudyInstanceUID=uid(), SOPInstanceUID=uid()))
    assert not association.send_c_store(endless)  # no answer
    gone(scp)
    assert stored(platform) <= before


def gone(scp: Scp) -> None:
    """Wait until nothing is left of what was being received."""
    until(lambda: not list(scp.spool.iterdir()), lambda: list(scp.spool.iterdir()))


def test_an_association_that_falls_silent_in_a_pdu_is_ended(start: Start) -> None:
    scp = start(DICOM_IDLE_S="2")
    with socket.create_connection(("127.0.0.1", scp.port), timeout=PATIENCE_S) as half:
        half.sendall(struct.pack(">BBI", 1, 0, 1000) + b"half of an A-ASSOCIATE-RQ")
        while half.recv(1000):
            pass


def test_past_the_limit_associations_are_rejected_and_others_continue(start: Start) -> None:
    scp = start(DICOM_ASSOCIATIONS="2")
    first, second, third = (scp.associate() for _ in range(3))
    assert first.is_established and second.is_established
    assert rejection(third).reason_str == "Local limit exceeded"
    assert first.send_c_store(data_set(instance(uid()))).Status == 0
    first.release()
    second.release()


@pytest.mark.slow
def test_orthanc_sends_over_both_doors(scp: Scp, platform: Platform, tmp_path: Path) -> None:
    token = platform.issuer.token(scp.tenant)
    server = {
        "Url": f"{platform.base}/dicomweb/",
        "HttpHeaders": {"Authorization": f"Bearer {token}"},
        "ChunkedTransfers": True,
    }
    settings = {
        "DicomAet": "SCU",
        "DicomModalities": {"thorax": [scp.title, "127.0.0.1", scp.port]},
        "DicomWeb": {"Enable": True, "Servers": {"thorax": server}},
    }
    with run_orthanc(tmp_path, **settings) as client:
        ids = [client.post("/instances", content=instance(uid(), seed)).json()["ID"] for seed in (1, 2)]
        stored = client.post("/modalities/thorax/store", json={"Resources": ids[:1], "Synchronous": True})
        assert stored.json().get("FailedInstancesCount") == 0, stored.text
        stow = client.post("/dicom-web/servers/thorax/stow", json={"Resources": ids[1:], "Synchronous": True})
        assert stow.status_code == 200, stow.text
    sources = {job["study"]["source"] for job in scp.jobs(2)}
    assert sources == {"C-STORE from SCU", "STOW-RS"}
