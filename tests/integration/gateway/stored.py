"""What lies in a platform's blob folder, half-written files and empty folders included."""

import os
from pathlib import Path

from tests.factories.platform import Platform


def stored(platform: Platform) -> set[Path]:
    """Every path below the folder; some may vanish while one looks."""
    found = set()
    for folder, folders, files in os.walk(platform.folder / "blobs"):
        found |= {Path(folder) / name for name in (*folders, *files)}
    return found
