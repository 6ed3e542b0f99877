"""One tenant never sees another: not through any endpoint, and not through the database itself."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code

Done = tuple[httpx.Client, dict[str, Any]]

# Operations without an id in their path. Before you add one here, decide what it may show.
WITHOUT_ID = {
    ("get", "/v1/jobs"),  # test_a_list_shows_only_the_callers_own
    ("get", "/v1/reading"),  # test_reading: the tenant's own
    ("get", "/v1/events"),  # test_events: of the tenant and of no other
    ("post", "/v1/jobs"),
    ("post", "/v1/anonymous/jobs"),
    ("post", "/dicomweb/studies"),  # it shows what the sender has sent
    ("post", "/dicomweb/studies/{study}"),
    ("get", "/dicomweb/studies"),  # test_qido: of the tenant and of no other
    ("get", "/dicomweb/series"),
    ("get", "/dicomweb/instances"),
    ("get", "/dicomweb/studies/{study}/series"),  # an empty list, as DICOMweb has it
    ("get", "/dicomweb/studies/{study}/instances"),
    ("get", "/dicomweb/studies/{study}/series/{series}/instances"),
    ("get", "/v1/deliveries"),  # test_webhooks: test_an_endpoint_that_is_gone_is_listed_and_can_be_replayed
    ("get", "/v1/models"),
    ("get", "/v1/admin/audit"),  # test_audit: for administrators only
    ("get", "/v1/admin/failed"),  # test_worklist: for administrators only
    ("get", "/healthz"),
    ("get", "/readyz"),
}


@pytest.fixture(scope="module")
def operations(platform: Platform) -> list[tuple[str, str]]:
    """Every method and path that the API documents."""
    paths = httpx.get(f"{platform.base}/openapi.json").json()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


def addressed(path: str, job: str, instance: str) -> str:
    places = {
        "job_id": job,
        "secret": job,
        "instance_id": instance,
        "finding": "edema",
        "study_instance_uid": "1.2.3",
        "tenant_id": job,
        "study": "1.2.3",
        "series": "1.2.4",
        "sop": "1.2.5",
        "frames": "1",
        "tag": "7FE00010",
        "name": "pacs",
        "delivery_id": job,
    }
    for name, value in places.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, f"what is {path}?"
    return path


def test_every_operation_hides_the_jobs_of_others(
    operations: list[tuple[str, str]], done: Done, platform: Platform
) -> None:
    _, job = done
    image = job["images"][0]["id"]
    with platform.client() as stranger:
        for method, path in operations:
            if (method, path) in WITHOUT_ID:
                continue
            if path.startswith("/v1/admin/"):  # for administrators only, whichever tenant owns the job
                problem(stranger.request(method, addressed(path, job["id"], image)), Code.FORBIDDEN)
                continue
            assert "{" in path, f"{method} {path} has no id, and nobody said what it shows of other tenants"
            answer = stranger.request(method, addressed(path, job["id"], image))
            problem(answer, Code.NOT_FOUND)
    assert sum((method, path) not in WITHOUT_ID for method, path in operations) >= 18


def test_an_image_is_reached_through_its_own_job_only(
    operations: list[tuple[str, str]], done: Done, platform: Platform
) -> None:
    owner, job = done
    with platform.client() as other:
        receipt = post(other, chest_png(5, 64)).json()
    own = post(owner, chest_png(6, 64)).json()
    for method, path in operations:
        if "{instance_id}" in path and "{job_id}" in path:
            for instance in (*receipt["instance_ids"], *own["instance_ids"], str(uuid4())):
                problem(owner.request(method, addressed(path, job["id"], instance)), Code.NOT_FOUND)
    finished(owner, own["links"]["self"])
    assert owner.delete(own["links"]["self"]).status_code == 204


def test_a_list_shows_only_the_callers_own(done: Done, platform: Platform) -> None:
    owner, _ = done
    cursor = owner.get("/v1/jobs", params={"limit": 1}).json()
    with platform.client() as stranger:
        for query in ({}, {"title": "two"}, {"bundle": "tiny"}, {"cursor": cursor["next"] or ""}):
            answer = stranger.get("/v1/jobs", params={k: v for k, v in query.items() if v})
            assert answer.json() == {"items": [], "next": None}


def test_no_request_runs_as_the_tenant_of_the_one_before(platform: Platform, done: Done) -> None:
    """Pooled connections remember a tenant; 120 interleaved requests of five tenants get only their own."""
    tenants = [uuid4() for _ in range(5)]
    jobs: dict[UUID, str] = {}
    for tenant in tenants:
        with platform.client(tenant) as client:
            jobs[tenant] = post(client, chest_png(1, 64)).json()["job_id"]

    async def mix() -> None:
        # As many as the gateway's pool has: where it starves, it refuses who waits long for one.
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(base_url=platform.base, limits=limits) as client:
            tokens = {
                tenant: {"Authorization": f"Bearer {platform.issuer.token(tenant)}"} for tenant in tenants
            }

            async def ask(number: int) -> None:
                tenant, other = tenants[number % 5], tenants[(number + 1 + number // 5 % 4) % 5]
                mine = await client.get("/v1/jobs", headers=tokens[tenant])
                assert mine.status_code == 200, mine.text
                assert [item["id"] for item in mine.json()["items"]] == [jobs[tenant]]
                assert (
                    await client.get(f"/v1/jobs/{jobs[tenant]}", headers=tokens[tenant])
                ).status_code == 200
                assert (
                    await client.get(f"/v1/jobs/{jobs[other]}", headers=tokens[tenant])
                ).status_code == 404

            await asyncio.gather(*(ask(number) for number in range(40)))

    asyncio.run(mix())


# --- the database ---------------------------------------------------------------------------------------------

# What the gateway's role may read for every caller: no tenant's data.
FOR_ALL = {"bundles", "workers", "steps", "alembic_version"}


def connect(platform: Platform, role: str) -> psycopg.Connection[Any]:
    return psycopg.connect(platform.url_as(role).replace("+psycopg", ""), autocommit=True)


def rows(connection: psycopg.Connection[Any], table: str) -> int:
    return int(connection.execute(f"select count(*) from {table}").fetchone()[0])  # type: ignore[index]


def test_row_level_security_hides_every_table_without_the_right_tenant(
    platform: Platform, done: Done
) -> None:
    _, job = done
    ((tenant,),) = platform.sql("select tenant_id from jobs where id = %s", job["id"])
    with connect(platform, "thorax_gateway") as gateway:
        readable = {
            row[0]
            for row in gateway.execute(
                "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                "where n.nspname = 'public' and c.relkind = 'r' and has_table_privilege(c.oid, 'select')"
            )
        }
        hidden = readable - FOR_ALL
        assert hidden >= {"studies", "instances", "jobs", "predictions", "study_findings", "heatmaps"}
        for table in hidden:
            assert rows(gateway, table) == 0, f"{table} is visible without a tenant"
        gateway.execute("select set_config('thorax.tenant', %s, false)", [str(uuid4())])
        for table in hidden:
            assert rows(gateway, table) == 0, f"{table} is visible to another tenant"
        gateway.execute("select set_config('thorax.tenant', %s, false)", [str(tenant)])
        for table in hidden - {
            "idempotency_keys",
            "tenant_bundles",
            "tenant_readings",
            "arrivals",
            "deliveries",
            "derivations",
            "derived",
            "erased_jobs",
            "retention",
            "webhook_tests",
        }:
            assert 0 < rows(gateway, table) <= platform.sql(f"select count(*) from {table}")[0][0], table


def test_row_level_security_stops_writes_for_another_tenant(platform: Platform, done: Done) -> None:
    _, job = done
    ((tenant,),) = platform.sql("select tenant_id from jobs where id = %s", job["id"])
    with connect(platform, "thorax_gateway") as gateway:
        gateway.execute("select set_config('thorax.tenant', %s, false)", [str(uuid4())])
        assert gateway.execute("update jobs set version = 0 where id = %s", [job["id"]]).rowcount == 0
        assert gateway.execute("delete from studies where id = %s", [job["study"]["id"]]).rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            gateway.execute("insert into studies (id, tenant_id) values (gen_random_uuid(), %s)", [tenant])


FORBIDDEN = [
    "select title from studies", "select owner from jobs", "select tenant_id from jobs", "select capability from jobs",
    "select file_name from instances", "select sha256 from instances", "select * from tenant_readings",
    "select * from jobs", "select * from idempotency_keys", "select * from auth.users",
    "select * from auth.signing_keys", "delete from jobs", "update jobs set owner = ''",
    "update jobs set tenant_id = gen_random_uuid()", "insert into jobs (id) values (gen_random_uuid())",
    "update bundles set active = true", "update instances set file_name = ''", "set role thorax",
    "create table x (y int)",
]  # fmt: skip
# The sweeper erases what has expired, or belongs to a tenant without users.
SWEEPERS = {
    "delete from jobs",
    "select tenant_id from jobs",
    "select * from idempotency_keys",
}


@pytest.mark.parametrize(
    ("role", "query"),
    [("thorax_worker", query) for query in FORBIDDEN]
    + [("thorax_aggregator", query) for query in FORBIDDEN if query not in SWEEPERS],
)
def test_a_worker_reads_no_name_and_changes_no_owner(platform: Platform, role: str, query: str) -> None:
    with connect(platform, role) as worker, pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute(query)


def test_the_gateway_cannot_read_accounts(platform: Platform) -> None:
    with connect(platform, "thorax_gateway") as gateway:
        for table in ("users", "sessions", "clients", "signing_keys"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                gateway.execute(f"select * from auth.{table}")
