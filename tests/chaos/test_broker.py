"""Work goes on while the broker is away, and an outage of it is two lines of each process's log."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.factories.bundles import make_bundle
from tests.factories.images import chest_png
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post
from tests.factories.stores import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
OUTAGE_S = 20  # Celery tries after 2, 6, 12 and 20 s, the sweeper every 5 s
SAID = ["broker_away", "broker_back"]


@pytest.mark.parametrize("away", ["killed", "frozen"])
def test_work_goes_on_without_the_broker_which_is_two_lines_of_each_log(
    away: str, tmp_path: Path, url_as: Callable[[str], str], database_url: str
) -> None:
    bundle = make_bundle(tmp_path / "models" / "tiny", 2)
    with (
        Valkey(tmp_path / "valkey", persistent=False) as valkey,
        Platform(tmp_path, bundle, url_as, database_url, valkey.url, workers=1) as platform,
        platform.client() as client,
    ):
        jobs = [post(client, chest_png(1, 64)).headers["location"]]
        assert finished(client, jobs[0])["state"] == "succeeded"
        before = {name: platform.log(name).stat().st_size for name in platform.processes}

        def told() -> dict[str, list[str]]:
            """What each process said of the outage, and whatever else is not an ordinary line."""
            texts = {
                name: platform.log(name).read_text()[size:].rpartition("\n")[0]
                for name, size in before.items()
            }
            lines = {name: [*map(json.loads, text.splitlines())] for name, text in texts.items()}
            return {
                name: [each["event"] for each in said if each["level"] != "info" or each["event"] in SAID]
                for name, said in lines.items()
            }

        if away == "killed":
            valkey.kill()
        else:
            os.kill(valkey.pid, signal.SIGSTOP)
        jobs.append(post(client, chest_png(2, 64)).headers["location"])
        assert finished(client, jobs[1])["state"] == "succeeded"
        until(lambda: told() == dict.fromkeys(before, SAID[:1]), told)
        time.sleep(OUTAGE_S)
        assert told() == dict.fromkeys(before, SAID[:1])
        if away == "killed":
            valkey.start()
        else:
            os.kill(valkey.pid, signal.SIGCONT)
        jobs.append(post(client, chest_png(3, 64)).headers["location"])
        assert {finished(client, job)["state"] for job in jobs} == {"succeeded"}
        until(lambda: platform.scrape("sweeper") and told() == dict.fromkeys(before, SAID), told)
