"""`python benchmarks/wado.py [--rounds 15]`: WADO-RS of an 8 MB instance, Thorax beside Orthanc's DICOMweb, in turns in one run.

Both have the same native 16-bit CR image. One client asks for it as it is stored, again and again over one connection; then several do
at once. The table has MB/s of each, the median of the ratios, and the gateway's memory (RSS) before and after.
"""

import argparse
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
from pydicom import dcmread

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.dicom_in import RELATED, Images
from benchmarks.throughput import started
from tests.factories.bundles import make_bundle
from tests.factories.orthanc import run_orthanc

AT_ONCE = 4
STORED = {
    "Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*',
    "Accept-Encoding": "identity",  # or Orthanc compresses every answer with gzip, at 11 MB/s
}


class Server:
    """A DICOMweb server that has the image."""

    def __init__(self, name: str, client: httpx.Client, root: str, image: bytes) -> None:
        self.name, self._client = name, client
        body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + image + b"\r\n--x--\r\n"
        sent = client.post(
            f"{root}/studies",
            content=body,
            headers={"Content-Type": RELATED, "Accept": "application/dicom+json"},
        )
        sent.raise_for_status()
        ds = dcmread(BytesIO(image), stop_before_pixels=True)
        series = f"{root}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        self._url = f"{series}/instances/{ds.SOPInstanceUID}"

    def megabytes_per_second(self, times: int, at_once: int) -> float:
        """How fast `times` answers come, `at_once` at a time."""
        began = time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            sizes = list(pool.map(self._fetch, range(times)))
        return sum(sizes) / 1e6 / (time.perf_counter() - began)

    def _fetch(self, _: int) -> int:
        with self._client.stream("GET", self._url, headers=STORED) as answer:
            answer.raise_for_status()
            return sum(len(chunk) for chunk in answer.iter_raw(1 << 18))


def rss(pid: int) -> float:
    """MB that a process and its children hold."""
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in (process, *process.children(recursive=True))) / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--times", type=int, default=20, help="requests of a round")
    options = parser.parse_args()
    [image] = Images().study(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        platform, _ = started(
            stack, make_bundle(folder / "tiny", 1), settings={"THORAX_MAX_BODY_BYTES": "100000000"}
        )
        gateway = platform.processes["gateway"].pid
        peer = stack.enter_context(run_orthanc(folder))
        servers = [
            Server("Thorax", stack.enter_context(platform.client(uuid4())), "/dicomweb", image),
            Server("Orthanc", peer, "/dicom-web", image),
        ]
        for at_once in (1, AT_ONCE):
            for server in servers:
                server.megabytes_per_second(options.times, at_once)  # warm
            before = rss(gateway)
            turns = [
                [server.megabytes_per_second(options.times, at_once) for server in servers]
                for _ in range(options.rounds)
            ]
            ours, theirs = (statistics.median(column) for column in zip(*turns, strict=True))
            ratio = statistics.median(one / other for one, other in turns)
            print(f"{at_once} at once: Thorax {ours:.0f} MB/s, Orthanc {theirs:.0f} MB/s, ratio {ratio:.2f}")
            print(f"  gateway: {before:.0f} MB before, {rss(gateway):.0f} MB after", flush=True)


if __name__ == "__main__":
    main()
