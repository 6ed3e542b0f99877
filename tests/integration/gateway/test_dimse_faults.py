"""What goes wrong between a modality and the SCP: cut connections, kills, full disks, hostile and slow peers."""

import os
import resource
import signal
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from pynetdicom import evt

from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform
from tests.integration.gateway.scp import Scp, Start, data_set, instance, uid
from tests.integration.gateway.stored import stored

KILLS = int(os.environ.get("KILLS", "5"))


def wait(scp: Scp) -> None:
    """Until nothing is left of what was being received."""
    until(lambda: not list(scp.spool.iterdir()), lambda: list(scp.spool.iterdir()))


def recorded(scp: Scp, image: bytes) -> list[bytes]:
    """The PDUs that a sender sends for one image: A-ASSOCIATE-RQ, P-DATA-TF (some), A-RELEASE-RQ."""
    pdus: list[bytes] = []
    association = scp.associate(
        evt_handlers=[(evt.EVT_DATA_SENT, lambda event: pdus.append(bytes(event.data)))]
    )
    assert association.send_c_store(data_set(image)).Status == 0
    association.release()
    return pdus


def cuts(pdus: list[bytes]) -> Iterator[int]:
    """Where to cut: at each PDU's boundaries and beside them, in its header, and in some other places."""
    at, random = 0, Random(0)
    for pdu in pdus:
        yield from (at, at + 1, at + 5, at + 6, at + 7, at + len(pdu) - 1)
        yield from (at + random.randrange(len(pdu)) for _ in range(2))
        at += len(pdu)


def replay(scp: Scp, pdus: list[bytes], cut: int, *, reset: bool) -> None:
    """Send the first `cut` bytes, then end the connection: with FIN, or with RST as a crashed sender's machine does."""
    sent = b"".join(pdus)[:cut]
    request, rest = sent[: len(pdus[0])], sent[len(pdus[0]) :]
    with socket.create_connection(("127.0.0.1", scp.port), timeout=PATIENCE_S) as peer:
        peer.sendall(request)
        if len(request) == len(pdus[0]):
            assert peer.recv(1) == b"\x02"  # A-ASSOCIATE-AC
            peer.sendall(rest)
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_connection_cut_at_any_byte_leaves_nothing_and_harms_nobody(
    start: Start, platform: Platform
) -> None:
    scp = start(DICOM_ASSOCIATIONS="100")  # those that were cut count until their threads have ended
    kept = instance(uid(), 1)
    pdus = recorded(scp, kept)
    before = stored(platform)
    places = [cut for cut in cuts(pdus[:-1]) if cut < sum(map(len, pdus[:-1]))]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: replay(scp, pdus, places[n], reset=bool(n % 2)), range(len(places))))
    wait(scp)
    assert stored(platform) <= before
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid(), 2))).Status == 0
    association.release()
    [(count,)] = platform.sql("select count(*) from instances where tenant_id = %s", scp.tenant)
    assert count == 2


@pytest.mark.slow
def test_instances_answered_with_success_survive_a_kill(start: Start, platform: Platform) -> None:
    """`KILLS=50`: each time it is killed between a success and the next image."""
    scp, study = start(), uid()
    sent = []
    for seed in range(KILLS):
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


def test_a_taken_port_ends_it_with_one_line(start: Start, scp: Scp, platform: Platform) -> None:
    assert start(scp.port).process.wait(PATIENCE_S) == 1
    line = f"THORAX_DICOM_PORT: can't listen at 127.0.0.1:{scp.port}: Address already in use."
    assert line in platform.logs().splitlines()


def test_a_full_blob_store_is_a700(
    start: Start, platform: Platform, standstill: None, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        scp = start(BLOBS=str(small))
        association = scp.associate()
        statuses = [association.send_c_store(data_set(instance(uid(), n))).Status for n in range(12)]
        association.release()
    finally:
        subprocess.run(["umount", "-l", small], check=True)
        # Their blobs are gone, and the platform's worker would look for them once it is no longer paused.
        platform.sql("select erase_studies(array(select id from studies where tenant_id = %s))", scp.tenant)
    assert statuses[0] == 0
    assert set(statuses[-3:]) == {0xA700}


def test_a_full_spool_is_a700_and_the_association_goes_on(start: Start, platform: Platform) -> None:
    """A limit on the size of a file stands in for the disk: the same call fails at the same place."""
    scp, before = start(), stored(platform)
    association = scp.associate()
    for limit in (0, 1000):
        resource.prlimit(scp.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        assert association.send_c_store(data_set(instance(uid(), 1))).Status == 0xA700
    resource.prlimit(scp.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    wait(scp)
    assert stored(platform) <= before
    assert association.send_c_store(data_set(instance(uid(), 2))).Status == 0
    association.release()


def test_without_its_spool_the_scp_answers_a700(start: Start) -> None:
    scp = start()
    scp.spool.rmdir()
    association = scp.associate()
    assert association.send_c_store(data_set(instance(uid(), 1))).Status == 0xA700
    scp.spool.mkdir()
    assert association.send_c_store(data_set(instance(uid(), 1))).Status == 0
    association.release()


def test_messages_that_can_not_be_decoded_use_up_no_association(start: Start) -> None:
    scp = start(DICOM_ASSOCIATIONS="2")
    request = recorded(scp, instance(uid(), 1))[0]
    garbage = bytes([99, 3]) + b"\xff" * 20  # of a presentation context that was not agreed

    def accepted() -> bool:
        """Whether garbage was sent: the association before counts until its thread has ended, a moment after the connection."""
        with socket.create_connection(("127.0.0.1", scp.port), timeout=PATIENCE_S) as peer:
            peer.sendall(request)
            if peer.recv(1) != b"\x02":  # A-ASSOCIATE-AC
                return False
            peer.sendall(struct.pack(">BBII", 4, 0, len(garbage) + 4, len(garbage)) + garbage)
            while peer.recv(4096):
                pass
        return True

    for _ in range(4):
        until(accepted)
    association = until(lambda: (made := scp.associate()).is_established and made)
    assert association.send_c_store(data_set(instance(uid(), 2))).Status == 0
    association.release()


@pytest.mark.parametrize("kind", [1, 4])
def test_a_pdu_longer_than_agreed_ends_the_association_before_it_is_read(start: Start, kind: int) -> None:
    scp = start(DICOM_IDLE_S="3600")
    with socket.create_connection(("127.0.0.1", scp.port), timeout=PATIENCE_S) as peer:
        peer.sendall(struct.pack(">BBI", kind, 0, 2**32 - 1))
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(1000):
            pass


@pytest.mark.slow
def test_a_slow_sender_is_waited_for(start: Start) -> None:
    """Each PDU has to be there within the idle time; the whole data set may take longer."""
    scp = start(DICOM_IDLE_S="4", DICOM_PDU_BYTES="1024")
    pdus = recorded(scp, instance(uid(), 1))
    body = b"".join(pdus[1:])
    step = len(body) // 8
    with socket.create_connection(("127.0.0.1", scp.port), timeout=PATIENCE_S) as peer:
        peer.sendall(pdus[0])
        peer.recv(4096)
        for at in range(0, len(body), step):
            peer.sendall(body[at : at + step])
            time.sleep(0.6)
        answer = b""
        while piece := peer.recv(4096):
            answer += piece
    assert answer[0] == 4  # P-DATA-TF: the status
    assert answer[-10] == 6  # A-RELEASE-RP


@pytest.mark.slow
def test_two_hundred_images_of_five_studies_out_of_order_over_four_associations(
    scp: Scp, platform: Platform
) -> None:
    studies = [uid() for _ in range(5)]
    images = [instance(studies[n % 5], n) for n in range(200)]
    Random(1).shuffle(images)

    def send(part: list[bytes]) -> list[int]:
        association = scp.associate()
        statuses = [int(association.send_c_store(data_set(image)).Status) for image in part]
        association.release()
        return statuses

    with ThreadPoolExecutor(4) as pool:
        parts = [images[n::4] for n in range(4)]
        assert {status for statuses in pool.map(send, parts) for status in statuses} == {0}
    rows = platform.sql(
        "select s.study_instance_uid, count(*) from instances i join studies s on s.id = i.study_id"
        " where i.tenant_id = %s group by 1",
        scp.tenant,
    )
    assert Counter(dict(rows)) == dict.fromkeys(studies, 40)
