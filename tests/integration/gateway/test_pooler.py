"""A real PgBouncer between the services and Postgres: tenants stay apart in each mode, or the start is refused.

`THORAX_POOLER_REQUESTS=10000 pytest tests/integration/gateway/test_pooler.py` is the long form.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.factories.bundles import make_bundle
from tests.factories.forked import ended
from tests.factories.images import chest_png
from tests.factories.platform import MODULES, Platform, finished, post
from tests.factories.pooler import PGBOUNCER, pooler
from tests.factories.stores import Postgres, login

REQUESTS = int(os.environ.get("THORAX_POOLER_REQUESTS", "1000"))
DATABASE = "behind_a_pooler"
ROLES = ("thorax_gateway", "thorax_worker", "thorax_aggregator", "thorax_auth")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")]


@pytest.fixture(scope="module")
def urls(postgres: Postgres, _template: str) -> dict[str, str]:
    """Each role's URL of one database, straight to Postgres."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {_template} STRATEGY file_copy")
    return {role: login(postgres, DATABASE, role) for role in ROLES}


@contextmanager
def led(
    folder: Path, postgres: Postgres, urls: dict[str, str], mode: str, **settings: str
) -> Iterator[dict[str, str]]:
    """The same URLs through a PgBouncer."""
    folder.mkdir(exist_ok=True)
    with pooler(folder, postgres.port, mode, list(urls.values()), **settings) as through:
        yield dict(zip(urls, through, strict=True))


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_two_tenants_stay_apart_behind_a_pooler(
    tmp_path: Path, postgres: Postgres, urls: dict[str, str], redis_url: str, mode: str
) -> None:
    with led(tmp_path / "pooler", postgres, urls, mode) as pooled:
        platform = Platform(
            tmp_path,
            make_bundle(tmp_path / "models" / "tiny", 2),
            pooled.__getitem__,
            postgres.url_of(DATABASE),
            redis_url,
            workers=1,
            settings={"THORAX_DATABASE_POOLED": "true", "THORAX_HINT_AGAIN_S": "1"},
        )
        with platform:
            jobs = {tenant: _job(platform, tenant) for tenant in (uuid4(), uuid4())}
            counts = asyncio.run(_mix(platform, jobs))
    assert counts == {"own, 200": REQUESTS // 2, "foreign, 404": REQUESTS // 2}


def _job(platform: Platform, tenant: UUID) -> str:
    with platform.client(tenant) as client:
        receipt = post(client, chest_png(1))
        assert receipt.status_code == 202, receipt.text
        job = finished(client, receipt.headers["location"])
        assert job["state"] == "succeeded", job
        return str(job["id"])


async def _mix(platform: Platform, jobs: dict[UUID, str]) -> Counter[str]:
    """Requests of both tenants at once, for the own and the foreign job, its image and the worklist."""
    counts: Counter[str] = Counter()
    tokens = {tenant: {"Authorization": f"Bearer {platform.issuer.token(tenant)}"} for tenant in jobs}
    tenants, gate = list(jobs), asyncio.Semaphore(24)
    async with httpx.AsyncClient(base_url=platform.base, verify=False) as client:

        async def ask(number: int) -> None:
            tenant, own = tenants[number % 2], number // 2 % 2
            job = jobs[tenant if own else tenants[(number + 1) % 2]]
            async with gate:
                if own and number % 8 < 2:
                    listed = await client.get("/v1/jobs", headers=tokens[tenant])
                    assert [item["id"] for item in listed.json()["items"]] == [job]
                answer = await client.get(f"/v1/jobs/{job}", headers=tokens[tenant])
            counts[f"{'own' if own else 'foreign'}, {answer.status_code}"] += 1

        await asyncio.gather(*(ask(number) for number in range(REQUESTS)))
    return counts


DROPPING = {"ignore_startup_parameters": "options"}


@pytest.mark.parametrize(
    ("service", "mode", "settings", "pooled", "sentence"),
    [
        *(
            (service, "transaction", DROPPING, "false", "in transaction mode")
            for service in ("gateway", "worker", "aggregator", "sweeper", "auth")
        ),
        ("gateway", "transaction", {}, "false", "refuses start-up options"),
        ("gateway", "session", DROPPING, "false", "drops start-up options"),
        ("gateway", "statement", {}, "true", "does not carry transactions"),
    ],
)
def test_a_pooler_that_breaks_a_promise_is_refused_with_one_sentence(
    tmp_path: Path,
    postgres: Postgres,
    urls: dict[str, str],
    redis_url: str,
    service: str,
    mode: str,
    settings: dict[str, str],
    pooled: str,
    sentence: str,
) -> None:
    with led(tmp_path / "pooler", postgres, urls, mode, **settings) as through:
        role = {"worker": "thorax_worker", "gateway": "thorax_gateway", "auth": "thorax_auth"}.get(service)
        url = through[role or "thorax_aggregator"]
        (tmp_path / "secret").write_text("x" * 64)
        said = ended(
            {**MODULES, "auth": "auth_service"}[service],
            env={
                **os.environ,
                "THORAX_DATABASE_URL": url,
                "THORAX_DATABASE_POOLED": pooled,
                "THORAX_REDIS_URL": redis_url,
                "THORAX_AUTH_SECRET_FILE": str(tmp_path / "secret"),
                "THORAX_MODELS": str(tmp_path),
                "THORAX_BLOBS": str(tmp_path / "blobs"),
            },
        )
    assert said.returncode == 1
    assert sentence in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert url.rpartition("@")[0].rpartition(":")[2] not in said.stderr
