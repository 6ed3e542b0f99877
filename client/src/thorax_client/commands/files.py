"""Which files a command sends: those that are named, and every image below a folder."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def found(paths: Iterable[Path]) -> Iterator[Path]:
    """Each path that is a file, and below each folder what begins as DICOM (PS3.10, 7.1), PNG or JPEG do, in order of name."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, below, names in os.walk(path):
            below.sort()
            yield from (file for name in sorted(names) if is_image(file := Path(folder, name)))


def is_image(path: Path) -> bool:
    """Whether a file claims to be an image; a media directory (PS3.10 section 8) claims it and has no pixels."""
    if path.name == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return True  # its row says why
    return head[128:] == b"DICM" or head.startswith((_PNG, _JPEG))
