"""What a header claims: one reader for a file's head in the gateway and for the whole file in the sandbox."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from tests.factories.hostile import jpeg_claiming, png, png_of

from thorax.errors import Code, CodedError
from thorax.image_headers import DICOM, HEAD_BYTES, JPEG, PNG, Header, jpeg_header, png_header, sniff

GREY = np.random.default_rng(0).integers(0, 255, (120, 90), dtype=np.uint8)
BASELINE = 0xC0
COLOUR = np.dstack([GREY] * 3)


def jpeg_of(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


def with_long_exif(data: bytes) -> bytes:
    segments = b"".join(b"\xff\xe1\xff\xff" + bytes(65_533) for _ in range(2))
    return data[:2] + segments + data[2:]


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (png_of(GREY), Header(120, 90, 1, 8)),
        (png_of(GREY.astype(np.uint16)), Header(120, 90, 1, 16)),
        (png_of(COLOUR, colour=2), Header(120, 90, 3, 8)),
        (png_of(np.dstack([COLOUR, GREY]), colour=6), Header(120, 90, 4, 8)),
    ],
)
def test_png(data: bytes, header: Header) -> None:
    assert png_header(data) == header
    assert sniff(data[:HEAD_BYTES]) == PNG


@pytest.mark.parametrize(
    ("image", "header"),
    [(GREY, Header(120, 90, 1, 8, frame=BASELINE)), (COLOUR, Header(120, 90, 3, 8, frame=BASELINE))],
)
def test_jpeg(image: np.ndarray, header: Header) -> None:
    data = jpeg_of(image)
    assert jpeg_header(data) == header
    assert sniff(data) == JPEG


def test_a_frame_beyond_the_head_is_not_checked_here() -> None:
    data = with_long_exif(jpeg_of(GREY))
    assert sniff(data[:HEAD_BYTES]) == JPEG
    assert jpeg_header(data) == Header(120, 90, 1, 8, frame=BASELINE)
    with pytest.raises(CodedError, match="ends before"):
        sniff(data[: HEAD_BYTES - 1])  # this is all of the file


def test_dicom_is_known_by_its_prefix() -> None:
    assert sniff(bytes(128) + b"DICM") == DICOM


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.EMPTY_FILE),
        (b"GIF89a" + bytes(500), Code.UNSUPPORTED_MEDIA),
        (png_of(GREY)[:32], Code.UNREADABLE_IMAGE),
        (jpeg_of(GREY)[:40], Code.UNREADABLE_IMAGE),
        (b"\xff\xd8\xff\xda" + bytes(200), Code.UNREADABLE_IMAGE),
        (png(8001, 8000, b""), Code.IMAGE_TOO_LARGE),
        (png(31, 31, b""), Code.IMAGE_SIZE),
        (jpeg_claiming(20_000, 1), Code.IMAGE_SIZE),
    ],
)
def test_refused(data: bytes, code: Code) -> None:
    with pytest.raises(CodedError) as caught:
        sniff(data)
    assert caught.value.code == code


def test_it_needs_the_standard_library_only() -> None:
    """It runs in the sandboxed child and in the gateway, where no decoder may be loaded."""
    script = (
        "import sys; before = set(sys.modules); import thorax.image_headers; "
        "new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "sys.exit(str(new - set(sys.stdlib_module_names) - {'thorax'}) if new - set(sys.stdlib_module_names) - {'thorax'} else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("start", ["02000000554c0400", "080005000a000000", "0800160055491a00"])
def test_a_data_set_without_a_preamble_is_dicom(start: str) -> None:
    assert sniff(bytes.fromhex(start) + bytes(200)) == DICOM
    with pytest.raises(CodedError) as caught:
        sniff(bytes.fromhex(start))
    assert caught.value.code is Code.UNSUPPORTED_MEDIA
