#!/usr/bin/env bash
# Expected: an image means the same in Explicit and in Implicit VR Little Endian, which is DICOM's default transfer syntax (PS3.5, 10.1).
# Happens:  not for a VOI LUT of an image with unsigned pixels and a negative Rescale Intercept, as CT often is. LUT Descriptor (0028,3002) is US or SS.
#           PS3.3, C.11.2.1.1 makes it SS where values after the rescale may be negative, always for Hounsfield units. Where the file names no VR,
#           pydicom goes by Pixel Representation: the first value mapped, -1000, is read as 64536, and `apply_voi_lut` answers one black image.
#           dcmj2pnm shows it right. dcmconv to Explicit VR writes US, too, so from then on pydicom shows that file wrong as well. Where no value of the
#           image reaches the first value mapped, subtract 65536 from it.
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
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

print("pydicom", pydicom.__version__, "numpy", np.__version__, "(warnings are errors here)")
PIXELS = np.arange(4096, dtype=np.uint16)  # -1024 to 3071 Hounsfield units
SHOWN = [24, 1024, 2071]  # -1000, 0 and 1047 Hounsfield units, from the first to the last entry of the LUT


def write(name, syntax):
    """A CT image of all 12-bit values, with a VOI LUT of 2048 entries from -1000 Hounsfield units on."""
    lut = Dataset()
    lut.add_new("LUTDescriptor", "SS", [2048, -1000, 16])
    lut.add_new("LUTData", "OW", np.arange(0, 65536, 32).astype("<u2").tobytes())
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, generate_uid()
    made.Rows = made.Columns = 64
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.RescaleIntercept, made.RescaleSlope, made.RescaleType = "-1024", "1", "HU"
    made.VOILUTSequence = [lut]
    made.PixelData = PIXELS.astype("<u2").tobytes()
    made["PixelData"].VR = "OW"
    made.save_as(name, enforce_file_format=True)


def shown(name):
    """The descriptor that pydicom reads, and the grey levels 0 to 255 by pydicom and by dcmj2pnm (a PGM's header ends with its greatest value)."""
    read = dcmread(name)
    hounsfield = apply_modality_lut(read.pixel_array, read).astype(int)
    by_pydicom = (apply_voi_lut(hounsfield, read).ravel() / 65535 * 255)[SHOWN].astype(int).tolist()
    subprocess.run(["dcmj2pnm", "+op", "+Wl", "1", name, "image.pgm"], check=True, timeout=300, capture_output=True)
    by_dcmtk = np.frombuffer(Path("image.pgm").read_bytes()[-PIXELS.size :], np.uint8)[SHOWN].tolist()
    descriptor = read.VOILUTSequence[0]["LUTDescriptor"]
    print(f"{name:13} {descriptor.VR} {list(descriptor.value)!s:17} of {SHOWN} dcmj2pnm makes {by_dcmtk}, pydicom {by_pydicom}")
    return descriptor.VR, by_pydicom == [0, 0, 0], by_dcmtk[0] < by_dcmtk[1] < by_dcmtk[2]


write("explicit.dcm", ExplicitVRLittleEndian)
write("implicit.dcm", ImplicitVRLittleEndian)
subprocess.run(["dcmconv", "+te", "implicit.dcm", "converted.dcm"], check=True, timeout=300)
found = [shown(name) for name in ("explicit.dcm", "implicit.dcm", "converted.dcm")]
if found[:2] != [("SS", False, True), ("US", True, True)] or found[2][:2] != ("US", True):
    sys.exit("The behaviour has changed.")
print("As found: by pydicom the same image is black in Implicit VR.")
PYTHON
