#!/usr/bin/env bash
# Expected: `GetSpacing()` of an image that SimpleITK read is its Pixel Spacing (0028,0030), where it has one: PS3.3, 10.7.1.3 puts there the best
#           known size in the patient, also of radiographs calibrated by a ball of known size, and leaves the detector's in Imager Pixel Spacing (0018,1164).
# Happens:  for radiographs (CR, DX, MG, XA, RF) SimpleITK reads Imager Pixel Spacing only. A calibrated radiograph has the detector's spacing, so a heart of
#           150 mm measures 174 mm here; one with Pixel Spacing alone has a spacing of 1 mm, without an exception. The same attributes in a Secondary Capture,
#           a CT or an MR are read as expected. `GetMetaData("0028|0030")` has the text: call SetSpacing with it, its two values swapped.
# Versions: SimpleITK 2.5.7, pydicom 3.0.2, numpy 2.4.6. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet simpleitk==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import SimpleITK
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

PROJECTIONS = {
    "CR": uid.ComputedRadiographyImageStorage,
    "DX": uid.DigitalXRayImageStorageForPresentation,
    "MG": uid.DigitalMammographyXRayImageStorageForPresentation,
    "XA": uid.XRayAngiographicImageStorage,
    "RF": uid.XRayRadiofluoroscopicImageStorage,
}
OTHERS = {"SC": uid.SecondaryCaptureImageStorage, "CT": uid.CTImageStorage, "MR": uid.MRImageStorage}
CALIBRATED = {"PixelSpacing": [0.125, 0.125], "PixelSpacingCalibrationType": "FIDUCIAL"}
DETECTOR = {"ImagerPixelSpacing": [0.145, 0.145]}


def spacing(sop_class, modality, attributes):
    """Columns' spacing in mm that SimpleITK reads from an image with these attributes."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID, image.Modality = sop_class, uid.generate_uid(), modality
    image.StudyInstanceUID, image.SeriesInstanceUID = uid.generate_uid(), uid.generate_uid()
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PixelData = np.arange(16, dtype=np.uint16).tobytes()
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.save_as("image.dcm", enforce_file_format=True)
    return SimpleITK.ReadImage("image.dcm").GetSpacing()[0]


print("SimpleITK", version("SimpleITK"), "pydicom", version("pydicom"))
print("Pixel Spacing 0.125 (calibrated) and Imager Pixel Spacing 0.145, then Pixel Spacing alone:")
found = {}
for name, sop_class in (PROJECTIONS | OTHERS).items():
    found[name] = spacing(sop_class, name, CALIBRATED | DETECTOR), spacing(sop_class, name, CALIBRATED)
    print(f"{name}: GetSpacing {found[name][0]:.3f} mm, then {found[name][1]:.3f} mm")
heart = round(150 / 0.125)
print(f"a heart of {heart} columns in the calibrated DX: {heart * 0.125:.0f} mm, by GetSpacing {heart * found['DX'][0]:.0f} mm")
expected = dict.fromkeys(PROJECTIONS, (0.145, 1.0)) | dict.fromkeys(OTHERS, (0.125, 0.125))
if not all(np.allclose(found[name], expected[name]) for name in expected):
    sys.exit("The behaviour has changed.")
print("As found: a radiograph's Pixel Spacing is ignored, other images' is read.")
PYTHON
