"""What uploads left in a platform's blob folder, half-written files and empty folders included."""

import os
from pathlib import Path

from tests.factories.patience import until
from tests.factories.platform import Platform

MADE_BY_WORKERS = ("display.png", "input-")


def stored(platform: Platform) -> set[Path]:
    """Every instance's folder and files, without those that workers add later, even after an erasure.

    Compare with `<=`: what a test before this one erased may vanish while one looks. The objects that it wanted of Thorax are
    waited for: a busy gateway may have answered without them.
    """
    until(lambda: not platform.sql("select 1 from derivations where made_at is null limit 1"))
    found = set()
    for folder, folders, files in os.walk(platform.folder / "blobs" / "instances"):
        own = {Path(folder) / name for name in files if not name.startswith(MADE_BY_WORKERS)}
        if own or not (folders or files):
            found |= {Path(folder), *own}
    return found - {platform.folder / "blobs" / "instances"}
