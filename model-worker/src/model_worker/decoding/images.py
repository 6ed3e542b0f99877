"""From a file's bytes to what the platform keeps: canonical inputs and a display image. Runs in the child."""

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from model_worker.decoding.decoded import DISPLAY_EDGE, DecodedImage, Notes
from model_worker.decoding.orientation import NAMES, QUARTERS, composed, upright
from model_worker.decoding.raster import Grey, decode_raster, halved
from model_worker.decoding.recognition import recognise
from thorax.errors import Code, CodedError
from thorax.image_headers import DICOM, JPEG, PNG, unreadable
from thorax.image_warnings import LOOKED_INVERTED, WarningCode

if TYPE_CHECKING:
    from thorax.bundle import InputSpec

BLANK_BELOW = 4  # grey levels of 255


def read_image(data: bytes, media_type: str, *, force: bool = False) -> DecodedImage:
    """Decode a file, check what it shows, and set it right: upright, bone light, air dark.

    The image is halved while its longest side keeps 1024 pixels: all that is made of it starts here. Raises CodedError
    as the decoders do, and NOT_A_CHEST for another picture; `force` turns a clinical refusal into a warning.
    """
    if media_type == DICOM:
        # Only here: pictures are decoded where pydicom is not loaded.
        from model_worker.decoding.dicom import decode_dicom

        image = decode_dicom(data, force=force)
    elif media_type in (PNG, JPEG):
        image = decode_raster(data, media_type, DISPLAY_EDGE, force=force)
    else:
        raise unreadable("The file is not a DICOM, PNG or JPEG image.")
    image = replace(image, grey=halved(image.grey, DISPLAY_EDGE))
    if is_blank(image.grey):
        raise unreadable("The image is blank: all pixels have the same grey level.")
    return set_right(image, force=force)


def set_right(image: DecodedImage, *, force: bool = False) -> DecodedImage:
    """The image as the picture itself says that it is to be shown. Raises NOT_A_CHEST, which `force` overrules."""
    notes, shown = Notes(force, list(image.warnings)), recognise(image.grey)
    if not shown.chest:
        notes.check(_refuse_picture)
    grey, orientation = image.grey, image.orientation
    if shown.inverted:
        grey = 255 - grey
        notes.warn(WarningCode.POLARITY, LOOKED_INVERTED)
    if shown.turns:
        turn = QUARTERS[shown.turns]
        grey, orientation = upright(grey, turn), composed(orientation, turn)
        notes.warn(WarningCode.TURNED, f"The picture was not upright; it was {NAMES[turn]}.")
    size = (image.columns, image.rows) if shown.turns % 2 else (image.rows, image.columns)
    return DecodedImage(grey, *size, orientation, tuple(notes.warnings), image.dicom_attributes)


def _refuse_picture() -> None:
    raise CodedError(Code.NOT_A_CHEST, "The picture does not look like a frontal chest radiograph.")


def is_blank(grey: Grey) -> bool:
    """Whether all of it is one grey, as after a failed exposure: networks would answer with findings."""
    low, high = np.percentile(grey[::8, ::8], [1, 99])
    return bool(high - low < BLANK_BELOW)


def canonical(grey: Grey, spec: "InputSpec") -> Grey:
    """The input that a backbone was trained on: equalised or cropped if it says so, then squashed.

    `grey` uint8 `[rows, columns]` of any size to uint8 `[size, size]`, averaged by area (no aliasing).
    """
    if spec.equalise:
        grey = np.asarray(cv2.equalizeHist(grey))
    if spec.crop:
        rows, columns = (max(1, round(edge * spec.crop)) for edge in grey.shape)
        top, left = (grey.shape[0] - rows) // 2, (grey.shape[1] - columns) // 2
        grey = grey[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(grey, (spec.size, spec.size), interpolation=cv2.INTER_AREA))


def shown(grey: Grey) -> Grey:
    """A halved image with its longest side at most 1024. Less than halving it needs no more than bilinear."""
    shrink = DISPLAY_EDGE / max(grey.shape)
    if shrink >= 1:
        return grey
    rows, columns = (max(1, round(edge * shrink)) for edge in grey.shape)
    return np.asarray(cv2.resize(grey, (columns, rows), interpolation=cv2.INTER_LINEAR))
