"""`python benchmarks/delivery.py [--studies 20]`: from a result to the proof that a PACS has it, beyond the PACS's own time.

One image after the other is analysed by a graph that costs nothing, and sent to a real Orthanc by STOW-RS and read back, then by C-STORE
and found by C-FIND. A relay on the way measures how long Orthanc takes: from the last byte of each request to the first byte of its answer.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID, uuid4

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.throughput import started
from local_stack.server import free_port
from tests.factories.bundles import make_bundle
from tests.factories.images import chest_dicom
from tests.factories.platform import Platform
from tests.factories.orthanc import BASIC, run_orthanc
from tests.factories.platform import destine
from tests.integration.gateway.test_deliveries import delivery, sent

TOOK = """select 1000 * extract(epoch from d.updated_at - j.finished_at) from deliveries d join jobs j on j.id = d.job_id
where d.tenant_id = %s and j.id::text = %s"""


class Relay:
    """Passes connections on to `port`; `waited_ms` says how long senders have waited for answers."""

    def __init__(self, port: int) -> None:
        self._to, self.waited_ms = port, 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._to))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked: list[float] = []  # when the last byte of the request was passed on
            for ends in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pass, args=(*ends, asked), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, asks: bool, asked: list[float]) -> None:
        try:
            while data := source.recv(1 << 16):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # as the sweeper does
                target.sendall(data)
                now = time.perf_counter()
                if asks:
                    asked[:] = [now]
                elif asked:
                    self.waited_ms += 1000 * (now - asked.pop())
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()


def once(
    platform: Platform, tenant: UUID, client: httpx.Client, relay: Relay, seed: int
) -> tuple[float, float]:
    """Milliseconds from the result to its proof, and those of them in which Orthanc was awaited."""
    before, job = relay.waited_ms, sent(client, chest_dicom(seed, 1024))
    done = delivery(client, job, "delivered", "dead")
    assert done["state"] == "delivered", done
    [(took,)] = platform.sql(TOOK, tenant, job.rpartition("/")[2])
    return float(took), relay.waited_ms - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=20)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        secret = folder / "secret"
        secret.write_text("of the credentials of the destinations")
        settings = {"THORAX_DELIVERY_SECRET_FILE": str(secret)}
        platform, _ = started(stack, make_bundle(folder / "tiny", 1), settings=settings)
        dicom = free_port()
        orthanc = stack.enter_context(run_orthanc(folder, DicomPort=dicom, DicomAlwaysAllowFind=True))
        web, dimse = Relay(orthanc.base_url.port or 0), Relay(dicom)
        ways = {
            "STOW-RS, read back": (web, f"http://127.0.0.1:{web.port}/dicom-web", BASIC),
            "C-STORE, C-FIND": (dimse, f"dicom://127.0.0.1:{dimse.port}/ORTHANC", None),
        }
        for name, (relay, url, authorization) in ways.items():
            tenant = uuid4()
            destine(platform, tenant, url, authorization)
            with platform.client(tenant) as client:
                once(platform, tenant, client, relay, 0)  # imports, and connections to the database
                took = [once(platform, tenant, client, relay, n + 1) for n in range(options.studies)]
            beyond = sorted(all_ - waited for all_, waited in took)
            print(
                f"{name:18} result to proof {statistics.median(t for t, _ in took):4.0f} ms, Orthanc's own"
                f" {statistics.median(w for _, w in took):4.0f} ms; beyond it median {statistics.median(beyond):4.0f} ms,"
                f" 95th percentile {beyond[int(0.95 * (len(beyond) - 1))]:4.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
