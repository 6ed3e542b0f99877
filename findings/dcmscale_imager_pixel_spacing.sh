#!/usr/bin/env bash
# Expected: a tool that scales a DICOM image, and writes it as a DICOM image again, keeps its sizes in mm: half the columns, twice the spacing.
# Happens:  dcmtk's dcmscale corrects Pixel Spacing (0028,0030), and adds it where a radiograph has only Imager Pixel Spacing (0018,1164), but leaves the
#           latter as it was. After scaling to half, what measured 150 mm measures 75 mm for readers of Imager Pixel Spacing, as SimpleITK is for radiographs.
#           The two were equal or one was missing, which PS3.3, 10.7.1.3 takes for "not calibrated"; now they differ, so others take the image for a
#           calibrated one. It exits with 0 and says nothing. Correct the attribute: dcmodify -m "ImagerPixelSpacing=...".
# Versions: dcmtk 3.6.7 (Debian 12), pydicom 3.0.2, numpy 2.4.6. Date: 2026-11-28.
# Needs:    the Debian package dcmtk.
set -euo pipefail
command -v dcmscale >/dev/null || { echo "Install the Debian package dcmtk first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 numpy==2.4.6
cd "$folder"
dcmscale --version | sed -n 1p
venv/bin/python - <<'PYTHON'
import subprocess
import sys

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset


def scaled(**spacings):
    """Columns, Pixel Spacing and Imager Pixel Spacing (columns', mm) of a radiograph of 64 columns after scaling it to half."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, uid.generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = uid.generate_uid(), uid.generate_uid(), "DX"
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 64, 64, 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = np.arange(4096, dtype=np.uint16).tobytes()
    for keyword, value in spacings.items():
        setattr(image, keyword, [value, value])
    image.save_as("image.dcm", enforce_file_format=True)
    done = subprocess.run(["dcmscale", "+Sxf", "0.5", "image.dcm", "half.dcm"], check=True, capture_output=True, text=True)
    half = pydicom.dcmread("half.dcm")
    pixel, imager = (float(half[keyword].value[1]) if keyword in half else None for keyword in ("PixelSpacing", "ImagerPixelSpacing"))
    print(f"{spacings}: {half.Columns} columns, Pixel Spacing {pixel}, Imager Pixel Spacing {imager}, dcmscale says {done.stderr.strip()!r}")
    return half.Columns, pixel, imager, done.stderr.strip()


found = [scaled(PixelSpacing=0.15), scaled(ImagerPixelSpacing=0.15), scaled(PixelSpacing=0.15, ImagerPixelSpacing=0.15)]
if found != [(32, 0.3, None, ""), (32, 0.3, 0.15, ""), (32, 0.3, 0.15, "")]:
    sys.exit("The behaviour has changed.")
print(f"As found: the detector's spacing stays, so {64 * 0.15:.1f} mm of detector are {32 * 0.15:.1f} mm by the scaled image.")
PYTHON
