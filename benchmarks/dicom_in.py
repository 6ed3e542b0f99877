"""Receiving DICOM: Thorax's SCP beside Orthanc, and STOW-RS beside POST /v1/jobs, in turns in one run; settling.

The same dcmtk senders, four associations at once, send the same number of new 8 MB CR images to each in turn, so that a
busy machine slows both. Workers are stopped. Thorax syncs and commits each image before it answers; Orthanc syncs its file, not its index.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from local_stack.roles import create_database
from local_stack.server import free_port
from tests.factories.stores import Postgres, Valkey, login
from tests.factories.bundles import make_bundle
from tests.factories.hostile import dicom
from tests.factories.platform import Platform
from tests.integration.gateway.scp import Scp, answers, instance, run_scp, uid
from thorax.schema import migrate

AT_ONCE = 4
EDGE = 2048  # 16 bits: 8.4 MB
SOP, STUDY = "2.25." + "1" * 38, "2.25." + "2" * 38
RELATED = 'multipart/related; type="application/dicom"; boundary=x'
SETTINGS = {
    f"THORAX_{name}": "100000000" for name in ("MAX_BODY_BYTES", "HIGH_WATER_STEPS", "OPEN_JOBS_PER_TENANT")
}
QUIET_S = 1


def new_uid() -> str:
    """A UID with as many characters as `SOP` and `STUDY` have."""
    return f"2.25.{10**37 + uuid4().int % (8 * 10**37)}"


class Images:
    """CR images of 8 MB that differ in their UIDs only."""

    def __init__(self) -> None:
        words = np.random.default_rng(1).integers(0, 4096, (EDGE, EDGE), np.uint16)
        elements = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "Rows": EDGE, "Columns": EDGE}
        uids = {"SOPInstanceUID": SOP, "StudyInstanceUID": STUDY}
        self._template = dicom(words.tobytes(), **elements, **uids)

    def study(self, count: int) -> list[bytes]:
        """New images of one new study."""
        head, body = self._template[:4096].replace(STUDY.encode(), new_uid().encode()), self._template[4096:]
        return [head.replace(SOP.encode(), new_uid().encode()) + body for _ in range(count)]


@contextmanager
def orthanc(folder: Path) -> Iterator[int]:
    """Debian's Orthanc as a plain process; its DICOM port."""
    port, http = free_port(), free_port()
    place = {"StorageDirectory": str(folder / "orthanc"), "IndexDirectory": str(folder / "orthanc")}
    ports = {"DicomPort": port, "HttpPort": http, "DicomAet": "THORAX", "DicomCheckCalledAet": False}
    (folder / "orthanc.json").write_text(json.dumps({**place, **ports, "DicomAlwaysAllowStore": True}))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        while not answers(port):
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def store(folder: Path, images: list[bytes], port: int) -> float:
    """Images per second over `AT_ONCE` associations of dcmtk's `storescu`."""
    shutil.rmtree(folder, ignore_errors=True)
    for number, image in enumerate(images):
        part = folder / str(number % AT_ONCE)
        part.mkdir(parents=True, exist_ok=True)
        (part / f"{number}.dcm").write_bytes(image)
    command = ["storescu", "-aec", "THORAX", "-aet", "STORESCU", "+sd", "127.0.0.1", str(port)]
    began = time.monotonic()
    senders = [subprocess.Popen([*command, str(part)]) for part in sorted(folder.iterdir())]
    assert [sender.wait() for sender in senders] == [0] * AT_ONCE
    return len(images) / (time.monotonic() - began)


def post(platform: Platform, images: list[bytes], send: Callable[[httpx.Client, bytes], int]) -> float:
    """Images per second of `AT_ONCE` HTTP clients, one image a request."""
    with platform.client() as client, ThreadPoolExecutor(AT_ONCE) as pool:
        began = time.monotonic()
        assert set(pool.map(lambda image: send(client, image), images)) <= {200, 202}
        return len(images) / (time.monotonic() - began)


def stow(client: httpx.Client, image: bytes) -> int:
    """One instance by STOW-RS."""
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + image + b"\r\n--x--\r\n"
    return client.post("/dicomweb/studies", content=body, headers={"Content-Type": RELATED}).status_code


def upload(client: httpx.Client, image: bytes) -> int:
    """One instance by POST /v1/jobs."""
    return client.post("/v1/jobs", files=[("files", ("a.dcm", image))]).status_code


def settling_ms(platform: Platform, studies: int) -> list[float]:
    """How long after its quiet time each study got its job."""
    late = []
    with platform.client() as client:
        for number in range(studies):
            study = uid()
            assert stow(client, instance(study, number)) == 200
            due = "select settles_at from arrivals where study_instance_uid = %s"
            [(settles_at,)] = platform.sql(due, study)
            job = "select j.created_at from jobs j join studies s on s.id = j.study_id where s.study_instance_uid = %s"
            while not (rows := platform.sql(job, study)):
                time.sleep(0.05)
            late.append((rows[0][0] - settles_at).total_seconds() * 1000)
    return late


def compare(name: str, other: str, rounds: list[tuple[float, float]]) -> None:
    """A row of the table: both medians, and the median and range of the ratios of paired rounds."""
    ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    ratios = sorted(a / b for a, b in rounds)
    middle = statistics.median(ratios)
    print(
        f"| {name} / {other} | {ours:.1f} / {theirs:.1f} images/s | {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | 0.9 |"
    )


def run(platform: Platform, scp: Scp, folder: Path, rounds: int, each: int) -> None:
    """All measurements; prints a table."""
    images, memory, doors, ways = Images(), [], [], []
    process = psutil.Process(scp.process.pid)
    with orthanc(folder) as port:
        for _ in range(rounds):
            ours = store(folder / "sent", images.study(each), scp.port)
            memory.append(process.memory_info().rss / 1e6)
            doors.append((ours, store(folder / "sent", images.study(each), port)))
            ways.append(tuple(post(platform, images.study(each), way) for way in (stow, upload)))
    [(kept,)] = platform.sql("select count(*) from instances")
    assert kept == rounds * each * 3, kept
    print("| | measured | ratio of paired rounds (range) | goal |\n|---|---|---|---|")
    compare("C-STORE", "Orthanc", doors)
    compare("STOW-RS", "POST /v1/jobs", ways)
    late = settling_ms(platform, 20)
    print(
        f"| settling beyond the quiet time | median {statistics.median(late):.0f} ms, worst {max(late):.0f} | | 100 ms |"
    )
    print(
        f"| RSS of `dimse` | {memory[0]:.0f} MB after the first round, then at most {max(memory):.0f} | | +60 MB |"
    )


def main() -> None:
    """Start what is needed in a temporary folder and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--each", type=int, default=20, help="images a round and receiver")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(Postgres(folder / "postgres"))
        valkey = stack.enter_context(Valkey(folder / "valkey"))
        owner = create_database(postgres, "thorax")
        migrate(owner)
        platform = Platform(
            folder,
            make_bundle(folder / "models" / "tiny", 3),
            lambda role: login(postgres, "thorax", role),
            owner,
            valkey.url,
            workers=1,
            settings={**SETTINGS, "THORAX_QUIET_S": str(QUIET_S)},
            forked=False,
        )
        stack.enter_context(platform)
        platform.pause()
        (folder / "scp").mkdir()
        scp = stack.enter_context(run_scp(platform, folder / "scp", MAX_BODY_BYTES="100000000"))
        print(
            f"{os.cpu_count()} cores, {options.rounds} rounds of {options.each} images of {EDGE**2 * 2 / 1e6:.1f} MB"
        )
        run(platform, scp, folder, options.rounds, options.each)
        platform.resume()


if __name__ == "__main__":
    main()
