"""PNG and JPEG of every kind to one upright grey picture."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.factories.hostile import JPEG, PNG, png, png_chunk, png_of

from model_worker.decoding.images import DICOM, canonical, read_image
from model_worker.decoding.raster import Grey, decode_raster, halved
from thorax.bundle import InputSpec
from thorax.errors import Code, CodedError

GREY = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
SAMPLES = Path(__file__).parents[4] / "samples"


def jpeg(image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes())


def decoded(data: bytes, kind: str) -> Grey:
    return decode_raster(data, kind).grey


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block with nothing but an orientation."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


@pytest.mark.parametrize(
    "data",
    [
        png_of(GREY),
        png_of(GREY.astype(np.uint16) * 257),
        png_of((GREY.astype(int) * 4095 // 255).astype(np.uint16)),  # 12 bits in 16 must not become black
        png_of(GREY.astype(np.uint16)),  # 8 bits in 16
        png_of(np.dstack([GREY] * 3), colour=2),
        png_of(np.dstack([GREY.astype(np.uint16) * 257] * 3), colour=2),
        png_of(np.dstack([GREY, np.full_like(GREY, 255)]), colour=4),
        png_of(np.dstack([np.full_like(GREY, 255), GREY]), colour=4),  # alpha lies over black
        png_of(np.dstack([np.full_like(GREY, 255)] * 3 + [GREY]), colour=6),
        png_of(
            255 - GREY,
            colour=3,
            extra=png_chunk(b"PLTE", bytes(v for i in range(255, -1, -1) for v in [i] * 3)),
        ),
    ],
)
def test_every_png_of_a_picture_looks_alike(data: bytes) -> None:
    image = decoded(data, PNG)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - GREY).max() <= 1


def test_a_saturated_letter_does_not_darken_a_twelve_bit_picture() -> None:
    picture = np.tile(np.linspace(0, 4095, 1024).astype(np.uint16), (1024, 1))
    picture[10:20, 10:60] = 65535
    assert decoded(png_of(picture), PNG)[500, -1] == 255


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits(depth: int) -> None:
    row = b"\0" + b"\xff" * (32 * depth // 8) + b"\0" * (32 * depth // 8)
    image = decoded(png(64, 64, row * 64, depth=depth), PNG)
    assert (image[:, :32] == 255).all()
    assert not image[:, 32:].any()


def test_jpeg_grey_and_colour() -> None:
    assert np.abs(decoded(jpeg(GREY), JPEG).astype(int) - GREY).max() <= 2
    assert np.abs(decoded(jpeg(cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR)), JPEG).astype(int) - GREY).max() <= 3


CORNER = np.zeros((64, 96), np.uint8)
CORNER[:16, :16], CORNER[:16, 80:] = 255, 128  # bright at the top left, grey at the top right


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int, order: str) -> None:
    held = {  # how the sensor saw what is CORNER when upright; turning it as EXIF says gives CORNER back
        1: CORNER,
        2: np.fliplr(CORNER),
        3: np.rot90(CORNER, 2),
        4: np.flipud(CORNER),
        5: CORNER.T,
        6: np.rot90(CORNER, 1),
        7: np.rot90(CORNER, 2).T,
        8: np.rot90(CORNER, -1),
    }[orientation]
    block = exif(orientation, order)
    image = decoded(png_of(np.ascontiguousarray(held), extra=png_chunk(b"eXIf", block)), PNG)
    assert (image == CORNER).all()
    plain = jpeg(np.ascontiguousarray(held))
    app1 = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    with_exif = plain[:2] + app1 + plain[2:]
    assert np.abs(decoded(with_exif, JPEG).astype(int) - CORNER).max() < 40
    upright_by_opencv = cv2.imdecode(np.frombuffer(with_exif, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert (decoded(with_exif, JPEG) == upright_by_opencv).all()


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*" + bytes(3), exif(77)])
def test_broken_exif_is_ignored(block: bytes) -> None:
    assert (decoded(png_of(GREY, extra=png_chunk(b"eXIf", block)), PNG) == GREY).all()


def test_a_colour_photograph_is_not_a_chest_but_a_tinted_film_may_be() -> None:
    rng = np.random.default_rng(0)
    photo = cv2.resize(
        rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST
    )
    with pytest.raises(CodedError) as caught:
        decoded(jpeg(photo), JPEG)
    assert caught.value.code is Code.NOT_A_CHEST
    tinted = (np.dstack([GREY] * 3) * [1.0, 0.9, 0.8]).astype(np.uint8)
    annotated = np.dstack([GREY] * 3)
    annotated[5:20, 5:60] = (0, 0, 255)
    for film in (tinted, annotated):
        assert decoded(jpeg(film), JPEG).shape == GREY.shape


def test_cmyk_of_unknown_polarity_is_refused() -> None:
    frame = struct.pack(">BHHB", 8, 64, 64, 4) + b"".join(bytes([i, 0x11, 0]) for i in range(4))
    data = b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\0\x02"
    with pytest.raises(CodedError, match="CMYK"):
        decoded(data, JPEG)


def test_canonical_input_is_squashed_cropped_and_equalised_as_the_manifest_says() -> None:
    picture = np.zeros((400, 200), np.uint8)
    picture[100:300, 50:150] = 100
    plain = canonical(picture, InputSpec(size=64))
    assert plain.shape == (64, 64)
    assert plain.mean() == pytest.approx(25, abs=1)
    assert (canonical(picture, InputSpec(size=64, crop=0.5)) == 100).all()
    assert canonical(picture, InputSpec(size=64, equalise=True)).max() == 255


GRAIN = np.random.default_rng(3).integers(0, 12, (2501, 2047), np.uint8) + cv2.resize(
    np.random.default_rng(4).integers(0, 190, (9, 7), np.uint8), (2047, 2501), interpolation=cv2.INTER_CUBIC
)


@pytest.mark.parametrize("colour", [False, True])
def test_a_large_jpeg_is_halved_by_its_dct_as_well_as_by_averages(colour: bool) -> None:
    data = jpeg(cv2.cvtColor(GRAIN, cv2.COLOR_GRAY2BGR) if colour else GRAIN)
    image, whole = read_image(data, JPEG, force=True), decoded(data, JPEG)
    assert (image.rows, image.columns, max(image.grey.shape)) == (2501, 2047, 1251)
    rows, columns = halved(whole, 1024).shape
    assert np.abs(image.grey[:rows, :columns].astype(int) - halved(whole, 1024)).max() <= 2
    for spec in (InputSpec(size=224), InputSpec(size=299, crop=0.9), InputSpec(size=224, equalise=True)):
        ours, ideal = (canonical(grey, spec).astype(int) for grey in (image.grey, whole))
        assert np.abs(ours - ideal).max() <= 4
        assert np.abs(ours - ideal).mean() < 1


def test_a_jpeg_that_was_held_sideways_has_its_upright_size() -> None:
    block = exif(6)
    app1 = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    plain = jpeg(GRAIN)
    image = read_image(plain[:2] + app1 + plain[2:], JPEG, force=True)
    assert (image.rows, image.columns, image.grey.shape) == (2047, 2501, (1024, 1251))


def test_the_four_samples_are_one_picture() -> None:
    spec = InputSpec(size=64)
    kinds = {"chest.png": PNG, "chest-16bit.png": PNG, "chest.jpg": JPEG, "chest.dcm": DICOM}
    first, *others = (
        canonical(read_image((SAMPLES / name).read_bytes(), kind).grey, spec).astype(int)
        for name, kind in kinds.items()
    )
    assert first.std() > 30
    for other in others:
        assert np.abs(other - first).mean() < 2
