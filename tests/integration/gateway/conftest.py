"""One platform for the whole folder; a test that needs other settings starts a second gateway."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.factories.bundles import make_bundle
from tests.factories.certificates import Authority
from tests.factories.collector import Collector, collector
from tests.factories.images import chest_png
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post
from tests.factories.stores import Postgres, login
from tests.integration.gateway.scp import _shared, scp, settle, start  # noqa: F401 - fixtures

Stage = Callable[..., AbstractContextManager[Platform]]
_numbers = itertools.count()
BODY_IDLE_S, BODY_TOTAL_S = 4, 10  # how long the strict gateway waits for the next byte, and for a whole body


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Issues certificates that the platform's sweeper trusts."""
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def stage(
    postgres: Postgres,
    _template: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
) -> Stage:
    """`with stage(blobs=…) as platform`: a platform with a database and a Redis database of its own."""

    @contextmanager
    def new(**settings: str) -> Iterator[Platform]:
        number = next(_numbers)
        name = f"gateway_{number}"
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {_template} STRATEGY file_copy")
        folder = tmp_path_factory.mktemp(name)
        platform = Platform(
            folder,
            make_bundle(folder / "models" / "tiny", 3),
            lambda role: login(postgres, name, role),
            postgres.url_of(name),
            f"{redis_url.rpartition('/')[0]}/{number + 3}",
            workers=1,
            settings={"THORAX_HINT_AGAIN_S": "1", **_webhooks(folder, authority), **settings},
        )
        with platform:
            yield platform

    return new


def _webhooks(folder: Path, authority: Authority) -> dict[str, str]:
    """What the platform needs to post to a test's own server over TLS."""
    secret = folder / "delivery-secret"
    secret.write_text("of the credentials of a test's destinations")
    return {
        "SSL_CERT_FILE": str(authority.certificate),
        "THORAX_DELIVERY_SECRET_FILE": str(secret),
        "THORAX_PRIVATE_WEBHOOKS": "127.0.0.1",
        "THORAX_DICOM_TLS_FOLDER": str(folder),
    }


@pytest.fixture(scope="session")
def collected() -> Iterator[Collector]:
    """Where the shared platform sends its spans."""
    with collector() as running:
        yield running


@pytest.fixture(scope="session")
def platform(stage: Stage, collected: Collector) -> Iterator[Platform]:
    """The platform that all tests of this folder share; each brings tenants of its own."""
    with stage(**collected.environment) as platform:
        yield platform


@pytest.fixture
def client(platform: Platform) -> Iterator[httpx.Client]:
    """A client of a new tenant."""
    with platform.client() as client:
        yield client


@pytest.fixture(scope="session")
def done(platform: Platform) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
    """A client of some tenant, and its job of two images that has succeeded. To be read only."""
    with platform.client() as client:
        receipt = post(client, chest_png(1), chest_png(2), data={"title": "two views"})
        assert receipt.status_code == 202, receipt.text
        job = finished(client, receipt.headers["location"])
        assert job["state"] == "succeeded", job
        yield client, job


@pytest.fixture
def rest(platform: Platform) -> None:
    """What tests before this one have sent is done: also studies of peers, which would settle in the middle of this one."""
    settle(platform)
    waits = "select 1 from arrivals where settles_at is not null"
    busy = f"select 1 from steps where state in ('waiting', 'running') union all {waits} limit 1"
    until(lambda: not platform.sql(busy), "the platform does not come to rest")


@pytest.fixture
def standstill(platform: Platform, rest: None) -> Iterator[None]:
    """No worker claims anything until the test is over; claimed work is finished first."""
    platform.pause()
    yield
    platform.resume()


@pytest.fixture
def idle(
    platform: Platform, client: httpx.Client, standstill: None
) -> Iterator[Callable[..., httpx.Response]]:
    """`idle(title="…")`: post a job that stays queued; all of them are erased when the test is over."""
    posted = []

    def queue(seed: int = 0, **fields: str) -> httpx.Response:
        receipt = post(client, chest_png(seed, 64), data=fields)
        assert receipt.status_code == 202, receipt.text
        posted.append(receipt.headers["location"])
        return receipt

    yield queue
    for job in posted:
        if client.delete(job).status_code == 200:
            client.delete(job)


@pytest.fixture(scope="session")
def strict(platform: Platform) -> Iterator[Platform]:
    """The same platform through a second gateway with low limits."""
    settings = {
        "OPEN_JOBS_PER_TENANT": "2",
        "ANONYMOUS_JOBS_PER_HOUR": "3",
        "BODY_IDLE_S": str(BODY_IDLE_S),
        "BODY_TOTAL_S": str(BODY_TOTAL_S),
        "MAX_BODY_BYTES": "2000000",
    }
    with platform.beside("strict", **settings) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def closed(platform: Platform) -> Iterator[Platform]:
    """The same platform through a gateway that is always overloaded and has no open API."""
    with platform.beside("closed", ready=False, HIGH_WATER_STEPS="-1", ANONYMOUS="false") as gateway:
        yield gateway
