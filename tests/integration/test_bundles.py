"""Another bundle becomes active while jobs run: nothing restarts, no job fails, none is mixed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.factories.bundles import make_bundle
from tests.factories.images import chest_png
from tests.factories.platform import Platform, finished, post


def test_a_new_bundle_is_served_without_a_restart(
    tmp_path: Path, database_url: str, url_as: Callable[[str], str], clean_redis_url: str
) -> None:
    first = make_bundle(tmp_path / "models" / "first", 2)
    platform = Platform(tmp_path, first, url_as, database_url, clean_redis_url)
    with platform, platform.client() as client:
        before = [post(client, chest_png(i)).headers["location"] for i in range(10)]
        second = make_bundle(tmp_path / "models" / "second", 3, name="second")
        command = [sys.executable, "-m", "thorax.cli", "bundle", "register", str(second.folder), "--activate"]
        subprocess.run(command, check=True, env={**os.environ, "THORAX_DATABASE_URL": database_url})
        time.sleep(0.1)
        after = [post(client, chest_png(i)).headers["location"] for i in range(10)]
        for places, bundle in ((before, first), (after, second)):
            for place in places:
                job = finished(client, place)
                assert job["state"] == "succeeded", job["error"]
                assert job["bundle"]["digest"] == bundle.digest
                assert set(job["images"][0]["findings"][0]["backbones"]) == set(bundle.names)
