#!/usr/bin/env bash
# Expected: a VOI LUT from 12-bit pixels to 8-bit grey levels, LUT Descriptor 4096\0\8, is the plainest there is (PS3.3, C.11.2.1.1): pydicom's
#           `apply_voi_lut` answers as dcmtk does, as it does for 10 to 16 bits per entry.
# Happens:  it takes the type of the entries, uint8, for the pixel values that look them up, too: pixel 300 gets entry 44. The image is dark noise, without
#           an error or a warning; a network gets it as its input. That is with one entry per 16-bit word, which dcmtk and others take (PS3.3, C.11.1.1
#           speaks of it); two entries per word, as the standard has it, pydicom refuses. Descriptors of 10 to 16 bits and of at most 256 entries are right.
#           Where the third value of LUT Descriptor is 8, look up yourself: data[clip(pixels - first, 0, entries - 1)].
# Versions: pydicom 3.0.2, numpy 2.4.6, dcmtk 3.6.7 (Debian 12). Date: 2026-11-27.
# Needs:    the Debian package dcmtk.
set -euo pipefail
command -v dcmj2pnm >/dev/null || { echo "Install the Debian package dcmtk first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 numpy==2.4.6
cd "$folder"
dcmj2pnm --version | sed -n 1p
"$folder/venv/bin/python" -W error - <<'PYTHON'
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

print("pydicom", pydicom.__version__, "numpy", np.__version__, "(warnings are errors here)")
PIXELS = np.arange(4096, dtype=np.uint16)
SHOWN = [0, 200, 300, 2000, 4095]


def write(bits, packed):
    """A file of all 12-bit values, and a VOI LUT that is the straight line from 0 to the greatest value of so many bits."""
    line = PIXELS.astype(int) * (2**bits - 1) // 4095
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [4096, 0, bits])
    lut.add_new("LUTData", "OW", line.astype("u1" if packed else "<u2").tobytes())
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    made.Rows = made.Columns = 64
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.VOILUTSequence = [lut]
    made.PixelData = PIXELS.astype("<u2").tobytes()
    made["PixelData"].VR = "OW"
    made.save_as("image.dcm", enforce_file_format=True)
    return line


def by_dcmtk():
    """The 8-bit grey levels that dcmj2pnm makes by the first VOI LUT (a PGM's header ends with its greatest value, 255)."""
    subprocess.run(["dcmj2pnm", "+op", "+Wl", "1", "image.dcm", "image.pgm"], check=True, timeout=300, capture_output=True)
    return np.frombuffer(Path("image.pgm").read_bytes()[-PIXELS.size :], np.uint8)


def by_pydicom():
    read = dcmread("image.dcm")
    try:
        return apply_voi_lut(read.pixel_array, read).ravel()
    except Exception as error:
        return type(error).__name__


def compare(bits, packed):
    """Whether dcmtk shows the line, and whether pydicom answers it, or its error."""
    line = write(bits, packed)
    dcmtk, answer = by_dcmtk(), by_pydicom()
    straight = bool(np.abs(dcmtk - line / (2**bits - 1) * 255).max() <= 1)
    same = answer if isinstance(answer, str) else np.array_equal(answer, line)
    values = answer if isinstance(answer, str) else answer[SHOWN].tolist()
    print(f"{bits:2} bits, packed: {packed!s:5}  of pixels {SHOWN} dcmtk makes {dcmtk[SHOWN].tolist()}, pydicom {values}")
    return straight, same


found = [compare(16, False), compare(12, False), compare(8, False), compare(8, True)]
if found != [(True, True), (True, True), (True, False), (True, "error")]:
    sys.exit("The behaviour has changed.")
print("As found: with 8 bits per entry the pixels look up other entries.")
PYTHON
