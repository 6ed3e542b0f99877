"""When the gateway looks again for studies that are due."""

import asyncio
from collections.abc import Callable
from math import inf

import psycopg
import pytest

from gateway.hints import HintSender
from gateway.studies import settling
from gateway.studies.settling import Settling
from tests.factories.patience import PATIENCE_S
from thorax.http.database import async_engine
from thorax.work.hints import Hints

_STUDY = "insert into studies (id, tenant_id) values (gen_random_uuid(), gen_random_uuid()) returning id, tenant_id"
_BUNDLE = "insert into bundles (digest, name, version, manifest, card) values ('b', 'n', '1', '{}', '')"
_IMAGE = """
insert into instances (id, study_id, tenant_id, position, file_name, media_type, size_bytes, sha256)
values (gen_random_uuid(), %s, %s, 0, '', 'application/dicom', 1, '')"""
_ARRIVAL = """
insert into arrivals (study_id, tenant_id, study_instance_uid, source, owner, priority, settles_at)
values (%s, %s, '1.2', '', '', 1, now() + make_interval(secs => %s))"""


@pytest.mark.parametrize(
    ("due_in_s", "earliest", "latest"),
    [(None, inf, inf), (300, 300 - PATIENCE_S, 300), (-1, inf, inf)],
    ids=["nothing waits", "a study waits", "without a bundle it waits for one"],
)
def test_settling_tells_when_the_next_study_is_due(
    database_url: str,
    url_as: Callable[[str], str],
    due_in_s: float | None,
    earliest: float,
    latest: float,
) -> None:
    if due_in_s is not None:
        with psycopg.connect(database_url.replace("+psycopg", "")) as owner:
            study = owner.execute(_STUDY).fetchone()
            assert study
            owner.execute(_ARRIVAL, (*study, due_in_s))
    with psycopg.connect(url_as("thorax_gateway").replace("+psycopg", "")) as gateway:
        found = gateway.execute("select jobs, next_in_s from settle_studies(50)").fetchone()
        assert found
        assert found[0] == []
        assert earliest <= found[1] <= latest


def test_studies_without_a_bundle_hold_up_no_others(database_url: str, url_as: Callable[[str], str]) -> None:
    with psycopg.connect(database_url.replace("+psycopg", "")) as owner:
        for seconds in (-3, -2, -1):
            study = owner.execute(_STUDY).fetchone()
            assert study
            owner.execute(_ARRIVAL, (*study, seconds))
        owner.execute(_IMAGE, study)
        owner.execute(_BUNDLE)
        owner.execute("update arrivals set bundle_digest = 'b' where study_id = %s", study[:1])
    with psycopg.connect(url_as("thorax_gateway").replace("+psycopg", "")) as gateway:
        settled = gateway.execute("select jobs from settle_studies(2)").fetchone()
        assert settled and [(job["tenant"], job["images"]) for job in settled[0]] == [(str(study[1]), 1)]
    with psycopg.connect(database_url.replace("+psycopg", "")) as owner:
        assert owner.execute("select study_id from arrivals where settles_at is null").fetchall() == [
            study[:1]
        ]


def test_a_study_settles_where_it_was_filed_however_seldom_others_look(
    database_url: str, url_as: Callable[[str], str], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "LONGEST_S", 3600.0)

    class Observed(Settling):
        looked = asyncio.Event()

        async def add_due_jobs(self) -> float:
            next_in_s = await super().add_due_jobs()
            self.looked.set()
            return next_in_s

    async def scenario() -> None:
        engine = async_engine(url_as("thorax_gateway"))
        settles = Observed(engine, HintSender(Hints(redis_url)))
        running = asyncio.create_task(settles.run())
        async with (
            await psycopg.AsyncConnection.connect(database_url.replace("+psycopg", "")) as owner,
            asyncio.timeout(PATIENCE_S),
        ):
            await settles.looked.wait()
            study = await (await owner.execute(_STUDY)).fetchone()
            await owner.execute(_BUNDLE)
            await owner.execute("update bundles set active = true")
            await owner.execute(_IMAGE, study)
            await owner.execute(_ARRIVAL, (*(study or ()), 0.5))
            await owner.commit()
            settles.arrived()
            await owner.set_autocommit(True)
            while not await (await owner.execute("select id from jobs")).fetchone():
                await asyncio.sleep(0.02)
        running.cancel()
        await engine.dispose()

    asyncio.run(scenario())
