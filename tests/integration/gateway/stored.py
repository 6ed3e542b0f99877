"""What uploads left in a platform's blob folder, half-written files and empty folders included."""

import os
from pathlib import Path

from tests.factories.platform import Platform

MADE_BY_WORKERS = ("display.png", "input-")


def stored(platform: Platform) -> set[Path]:
    """Every instance's folder and files, without those that workers add later, even after an erasure.

    Compare with `<=`: what a test before this one erased may vanish while one looks.
    """
    found = set()
    for folder, folders, files in os.walk(platform.folder / "blobs" / "instances"):
        own = {Path(folder) / name for name in files if not name.startswith(MADE_BY_WORKERS)}
        if own or not (folders or files):
            found |= {Path(folder), *own}
    return found - {platform.folder / "blobs" / "instances"}
