"""Fetches published weights: pinned, resumed where it broke off, and named for hand-carrying without a network."""

import hashlib
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

_CHUNK = 1 << 20
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_NOTOP = "weights_tf_dim_ordering_tf_kernels_notop.h5"


class Pinned(NamedTuple):
    """Where a file is published and what it must hash to: a sha256, or the MD5 that Keras' own source pins."""

    url: str
    md5: str = ""
    sha256: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rsplit("/", 1)[-1]


IMAGENET = {
    "densenet121": Pinned(f"{_KERAS}/densenet/densenet121_{_NOTOP}", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": Pinned(f"{_KERAS}/densenet/densenet169_{_NOTOP}", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": Pinned(f"{_KERAS}/densenet/densenet201_{_NOTOP}", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "xception": Pinned(f"{_KERAS}/xception/xception_{_NOTOP}", "b0042744bf5b25fce3cb969f33bebb97"),
    "inception_resnet_v2": Pinned(
        f"{_KERAS}/inception_resnet_v2/inception_resnet_v2_{_NOTOP}", "d19885ff4a710c122648d3b5c3b684e4"
    ),
}
"""Keras Applications' weights without top (MIT)."""


def fetch(pinned: Pinned, folder: Path) -> Path:
    """The file in `folder`, downloaded if it is not there yet. ValueError says what to fetch, and where to."""
    path = folder / pinned.name
    if not (pinned.md5 or pinned.sha256):
        raise ValueError(
            f"Who publishes {pinned.url} names no digest. Fetch it, put it at {path}, and say by --sha256 which "
            "file you trust; with --sha256 it can be fetched from here as well."
        )
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        try:
            _download(pinned.url, part)
        except OSError as error:
            raise ValueError(
                f"{pinned.url} can't be fetched ({error}); fetch it elsewhere and put it at {path}."
            ) from error
        part.replace(path)
    verify(path, pinned)
    return path


def verify(path: Path, pinned: Pinned) -> None:
    """ValueError unless the file is there and is the pinned one."""
    told, expected = ("sha256", pinned.sha256) if pinned.sha256 else ("MD5", pinned.md5)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, told.lower()).hexdigest()
    except OSError as error:
        raise ValueError(f"{path}: expected the file of {pinned.url}; {error.strerror}.") from error
    if found != expected.lower():
        raise ValueError(
            f"{path}: expected the {told} {expected}, found {found}; delete it and fetch it again."
        )


def _download(url: str, part: Path) -> None:
    """Append to `part` what is missing of it (RFC 9110, section 14.2), with a progress bar."""
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = urlopen(request, timeout=30)  # noqa: S310
    except HTTPError as error:
        if error.code == 416:  # nothing is missing
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file:
        length = int(response.headers.get("Content-Length", 0))
        with tqdm(total=length, unit="B", unit_scale=True, desc=url.rsplit("/", 1)[-1]) as bar:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
