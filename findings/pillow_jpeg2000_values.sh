#!/usr/bin/env bash
# Expected: a lossless JPEG 2000 frame of 12 bits, as DICOMweb hands it out (image/jp2) or as it is in a file, has the same pixel values in
#           every decoder: that is what lossless means, and for 8 and 16 bits without a sign it is so.
# Happens:  Pillow stretches more than 8 bits to 16: times 16 for 12 bits, times 64 for 10; and it adds half the range to signed values, so 0 becomes
#           32768 (128 for 8 bits). OpenCV gives unsigned values as they are, and no image of signed ones; openjpeg gives both as they are. pydicom knows
#           this and undoes it when Pillow decodes for it; who decodes frames alone has another window, other Hounsfield units, another input of a network.
#           Shift the values right by 16 minus the codestream's precision (SIZ, Ssiz), and subtract half the range if it is signed.
# Versions: Pillow 13.0.0, OpenCV 5.0.0 (opencv-python-headless 5.0.0.93), pylibjpeg-openjpeg 2.6.0, numpy 2.4.6. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 opencv-python-headless==5.0.0.93 pylibjpeg-openjpeg==2.6.0 numpy==2.4.6
OPENCV_LOG_LEVEL=SILENT "$folder/venv/bin/python" - <<'PYTHON'
import io
import sys
from importlib.metadata import version

import cv2
import numpy as np
from openjpeg.utils import decode, encode_array
from PIL import Image

print(*(f"{name} {version(name)}" for name in ("pillow", "opencv-python-headless", "pylibjpeg-openjpeg")))
MONOCHROME = 2  # of encode_array's photometric_interpretation


def pixels(bits, signed):
    """An image (64, 64) of all values that so many bits can have, of every 16th for 16 bits."""
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.arange(low, low + 2**bits, 16 if bits == 16 else 1)
    return np.resize(values, (64, 64)).astype(("i" if signed else "u") + ("1" if bits == 8 else "2"))


def by_opencv(codestream):
    return cv2.imdecode(np.frombuffer(codestream, np.uint8), cv2.IMREAD_UNCHANGED)


def by_pillow(codestream):
    return np.asarray(Image.open(io.BytesIO(codestream)))


def compare(bits, signed):
    """What each decoder makes of the values, as "same", "no image" or as factor and offset."""
    made = pixels(bits, signed)
    codestream = bytes(encode_array(made, bits_stored=bits, photometric_interpretation=MONOCHROME))
    told = []
    for decoder in (decode, by_opencv, by_pillow):
        read = decoder(codestream)
        if read is None:
            told.append("no image")
            continue
        factor, offset = np.polyfit(made.ravel().astype(float), read.ravel().astype(float), 1).round(6)
        exact = np.array_equal(read, made * factor + offset)
        told.append("other" if not exact else "same" if (factor, offset) == (1, 0) else f"x {factor:.0f} + {abs(offset):.0f}")
    print(f"{bits:2} bits {'signed' if signed else 'unsigned':8} openjpeg: {told[0]:6} OpenCV: {told[1]:9} Pillow: {told[2]}")
    return tuple(told)


found = {(bits, signed): compare(bits, signed) for bits in (8, 10, 12, 16) for signed in (False, True)}
expected = {
    (8, False): ("same", "same", "same"),
    (8, True): ("same", "no image", "x 1 + 128"),
    (10, False): ("same", "same", "x 64 + 0"),
    (10, True): ("same", "no image", "x 64 + 32768"),
    (12, False): ("same", "same", "x 16 + 0"),
    (12, True): ("same", "no image", "x 16 + 32768"),
    (16, False): ("same", "same", "same"),
    (16, True): ("same", "no image", "x 1 + 32768"),
}
if found != expected:
    sys.exit("The behaviour has changed.")
print("As found: three decoders, three answers.")
PYTHON
