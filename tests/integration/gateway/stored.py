"""What uploads left in a platform's blob folder, half-written files and empty folders included."""

import os
from pathlib import Path

from tests.factories.platform import Platform

MADE_BY_WORKERS = ("display.png", "input-")


def stored(platform: Platform) -> set[Path]:
    """Every path below the folder but what workers add to it in their own time; some may vanish while one looks."""
    found = set()
    for folder, folders, files in os.walk(platform.folder / "blobs"):
        found |= {Path(folder) / name for name in (*folders, *files) if not name.startswith(MADE_BY_WORKERS)}
    return found
