#!/usr/bin/env bash
# Expected: SimpleITK reads a DICOM image's pixel values, as pydicom does and as viewers' measuring tools show them: stored values, after Rescale Slope and
#           Intercept. Photometric Interpretation MONOCHROME1, frequent among radiographs, tells how to show these values (PS3.3, C.7.6.3.1.2).
# Happens:  it turns MONOCHROME1 round (12 bits: 4095 - value), in uncompressed and in compressed files, and before it applies the rescale, so a stored 0 with
#           slope 2 and intercept -5 is 8185, not -5: no output units any more. "0028|0004" of the image's metadata says MONOCHROME1 all the same, so who
#           turns round what that tag calls MONOCHROME1, as with pydicom, shows or learns from a negative. A window of the file fits the values no more.
#           A file that it writes says MONOCHROME2, which suits its values. Turn round by the tag with pydicom, never with SimpleITK.
# Versions: SimpleITK 2.5.7, pydicom 3.0.2, numpy 2.4.6, dcmtk 3.6.7 (Debian 12). Date: 2026-11-28.
# Needs:    the Debian package dcmtk.
set -euo pipefail
command -v dcmcjpeg >/dev/null || { echo "Install the Debian package dcmtk first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet simpleitk==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
dcmcjpeg --version | sed -n 1p
venv/bin/python - <<'PYTHON'
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pydicom
import SimpleITK
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

values = np.arange(256, dtype=np.uint16) * 16


def write(name, photometric="MONOCHROME1", **attributes):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, uid.generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = uid.generate_uid(), uid.generate_uid(), "DX"
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 16, 16, 1, photometric
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = values.tobytes()
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.save_as(name, enforce_file_format=True)


def read(name):
    """SimpleITK's pixel values and its photometric interpretation."""
    image = SimpleITK.ReadImage(name)
    array = SimpleITK.GetArrayFromImage(image).ravel()
    print(f"{name:16} {image.GetMetaData('0028|0004')}: SimpleITK {array[:3]}, pydicom {pydicom.dcmread(name).pixel_array.ravel()[:3]}")
    return array.astype(int), image.GetMetaData("0028|0004").strip()


print("SimpleITK", version("SimpleITK"), "pydicom", version("pydicom"))
write("two.dcm", "MONOCHROME2")
write("one.dcm")
write("rescaled.dcm", RescaleSlope="2", RescaleIntercept="-5", RescaleType="US")
subprocess.run(["dcmcjpeg", "+e1", "one.dcm", "jpeg.dcm"], check=True)
two, one, rescaled = read("two.dcm"), read("one.dcm"), read("rescaled.dcm")
SimpleITK.WriteImage(SimpleITK.ReadImage("one.dcm"), "written.dcm")
again = pydicom.dcmread("written.dcm")
compressed = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("jpeg.dcm")).ravel().astype(int)
print(f"JPEG lossless: {compressed[:3]}, written by SimpleITK: {again.PhotometricInterpretation} {again.pixel_array.ravel()[:3]}")
stored = values.astype(int)
as_found = (
    (two[0] == stored).all() and (one[0] == 4095 - stored).all() and (compressed == 4095 - stored).all()
    and (rescaled[0] == (4095 - stored) * 2 - 5).all() and one[1] == rescaled[1] == "MONOCHROME1"
    and again.PhotometricInterpretation == "MONOCHROME2" and (again.pixel_array.ravel() == 4095 - stored).all()
)  # fmt: skip
if not as_found:
    sys.exit("The behaviour has changed.")
print("As found: values are turned round, and the metadata still says MONOCHROME1.")
PYTHON
