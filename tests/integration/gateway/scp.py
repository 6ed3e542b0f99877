"""A real SCP in a process of its own, and what senders need: tools, files, associations."""

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt

from aggregator.delivery.checkpoint import own_checkpoint
from local_stack.server import free_port
from local_stack.services import listens
from tests.factories.forked import Forked
from tests.factories.images import chest_dicom
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform, finished

CR = "1.2.840.10008.5.1.4.1.1.1"
MAX_BYTES = 3_000_000
DOCUMENTS = "DOCUMENTS"
SPARE = [f"SPARE{n}" for n in range(99)]


@dataclass
class Scp:
    """A running SCP, and one of its AE titles with the tenant that it belongs to."""

    platform: Platform
    port: int
    metrics: int
    process: Forked
    tenant: UUID
    spool: Path
    title: str = "THORAX"

    def associate(
        self,
        *contexts: Any,
        called: str | None = None,
        calling: str = "SCU",
        evt_handlers: Iterable[Any] = (),
        **more: Any,
    ) -> Any:
        ae = AE(ae_title=calling)
        ae.requested_contexts = list(contexts) or [build_context(CR, ExplicitVRLittleEndian)]
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = PATIENCE_S
        handlers = [OWN_CHECKPOINT, *evt_handlers]
        title = called or self.title
        return ae.associate("127.0.0.1", self.port, ae_title=title, evt_handlers=handlers, **more)

    def jobs(self, count: int) -> list[dict[str, Any]]:
        """All jobs of the tenant, once there are so many and they have ended; its studies have all their images now."""
        settle(self.platform, self.tenant)
        with self.platform.client(self.tenant) as client:
            return jobs(client, count)


OWN_CHECKPOINT = (evt.EVT_CONN_OPEN, own_checkpoint)
"""Without it pynetdicom's own thread would now and then take an answer that the sender waits for."""


def rejection(association: Any) -> Any:
    """The A-ASSOCIATE-RJ that the peer has answered; not `is_rejected`: see findings/pynetdicom_late_rejection.sh."""
    answer = association.acceptor.primitive or association.dul.peek_next_pdu()
    assert not association.is_established and answer.result, answer
    return answer


def jobs(client: httpx.Client, count: int) -> list[dict[str, Any]]:
    """All jobs of the client's tenant, newest first, once there are so many and all have ended."""
    items = until(
        lambda: (found := client.get("/v1/jobs").json()["items"])[count - 1 :] and found, "too few jobs"
    )
    return [finished(client, f"/v1/jobs/{item['id']}") for item in items]


def settle(platform: Platform, tenant: UUID | None = None) -> None:
    """Let the studies of a tenant (of all) that wait for more images wait no longer."""
    whose = "settles_at is not null and tenant_id = coalesce(%s, tenant_id)"
    platform.sql(f"update arrivals set settles_at = now() where {whose}", tenant)
    platform.sql("select settle_studies(1000)")


Start = Callable[..., Scp]


@contextmanager
def run_scp(
    platform: Platform, folder: Path, port: int = 0, tenant: UUID | None = None, **settings: str
) -> Iterator[Scp]:
    """An SCP of a new tenant, which listens or has ended; its files are in `folder`. Studies settle after a second.

    It has spare titles for tests that share it (see `scp`), whose studies settle in `Scp.jobs`: between two images a starved machine
    may need more than a second. One title takes documents.
    """
    port, metrics, tenant, aes = port or free_port(), free_port(), tenant or uuid4(), folder / "aes.toml"
    peers = '{ SCU = ["127.0.0.0/8"], STORESCU = ["127.0.0.0/8"], DCMSEND = ["127.0.0.0/8"], FAR = ["10.0.0.0/8"] }'
    titles = {"THORAX": tenant, DOCUMENTS: tenant} | {title: uuid5(tenant, title) for title in SPARE}
    how = f'priority = "stat"\npeers = {peers}\n'
    quiet_s = {title: 60 if title in SPARE else 1 for title in titles}
    tables = {
        title: f'[{title}]\ntenant = "{owner}"\nquiet_s = {quiet_s[title]}\n{how}'
        for title, owner in titles.items()
    }
    aes.write_text("".join({**tables, DOCUMENTS: tables[DOCUMENTS] + "documents = true\n"}.values()))
    environment = {
        **platform._environment,
        "THORAX_DATABASE_URL": platform.url_as("thorax_gateway"),
        "THORAX_DICOM_PORT": str(port),
        "THORAX_METRICS_PORT": str(metrics),
        "THORAX_DICOM_AES": str(aes),
        "THORAX_DICOM_SPOOL": str(folder / "spool"),
        "THORAX_MAX_BODY_BYTES": str(MAX_BYTES),
        **{f"THORAX_{name}": value for name, value in settings.items()},
    }
    process = Forked("gateway.dimse", env=environment, stdout=platform.log("dimse"))
    try:
        ready = listens(port)  # a probe that connects would count as an association
        until(lambda: ready(process.pid) or process.poll() is not None, lambda: platform.logs()[-3000:])
        yield Scp(platform, port, metrics, process, tenant, folder / "spool")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def _shared(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Scp, Iterator[str]]]:
    with run_scp(platform, tmp_path_factory.mktemp("scp")) as shared:
        yield shared, iter(SPARE)


@pytest.fixture
def scp(_shared: tuple[Scp, Iterator[str]]) -> Scp:
    """An SCP that many tests share, by a title and tenant of this test's own. Its process has to live on."""
    shared, titles = _shared
    title = next(titles)
    return replace(shared, title=title, tenant=uuid5(shared.tenant, title))


@pytest.fixture
def start(platform: Platform, tmp_path: Path) -> Iterator[Start]:
    """`start(DICOM_IDLE_S="2")`: an SCP of the test's own, until the test is over."""
    with ExitStack() as running:
        yield lambda *place, **settings: running.enter_context(
            run_scp(platform, tmp_path, *place, **settings)
        )


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
