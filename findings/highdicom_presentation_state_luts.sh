#!/usr/bin/env bash
# Expected: highdicom's GrayscaleSoftcopyPresentationState of a valid image shows that image as it is shown without the state: it copies the window or
#           the LUT that the image has.
# Happens:  - an image with a window and a VOI LUT, which PS3.3, C.11.2.1 calls alternatives and many modalities write: ValueError
#           - a VOI LUT whose LUT Data is US, which PS3.6 allows beside OW: TypeError
#           - a Modality LUT: left out in silence, so the VOI LUT is applied to other values than it was made for
#           - MONOCHROME1: Presentation LUT Shape is IDENTITY all the same; a state overrides the image's (PS3.4, N.2.1.4), so it is shown inverted
#           Pass voi_lut_transformations, modality_lut_transformation and presentation_lut_transformation of your own.
# Versions: highdicom 0.28.2, pydicom 3.0.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet highdicom==0.28.2 pydicom==3.0.2
cat >"$folder/states.py" <<'PYTHON'
import sys
import warnings

warnings.simplefilter("ignore")

import highdicom
import numpy as np
import pydicom
from highdicom.pr import GrayscaleSoftcopyPresentationState
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def table(vr):
    values = np.linspace(0, 65535, 4096).astype(np.uint16)
    made = Dataset()
    made.LUTDescriptor, made.LUTExplanation = [4096, 0, 16], "LUT"
    made.add_new("LUTData", vr, values.tobytes() if vr == "OW" else values.tolist())
    return made


def image(photometric="MONOCHROME2", **attributes):
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    made.Modality, made.PatientID, made.PatientName, made.StudyID = "DX", "1", "Doe^Jane", "1"
    made.StudyDate, made.StudyTime, made.SeriesNumber, made.InstanceNumber = "20260101", "120000", 1, 1
    made.PatientBirthDate = made.PatientSex = made.AccessionNumber = made.ReferringPhysicianName = ""
    made.Rows = made.Columns = 16
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, photometric, 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    made.PixelData = np.arange(256, dtype=np.uint16).tobytes()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def outcome(source):
    try:
        state = GrayscaleSoftcopyPresentationState(
            referenced_images=[source], series_instance_uid=generate_uid(), series_number=9, sop_instance_uid=generate_uid(),
            instance_number=1, manufacturer="M", manufacturer_model_name="M", software_versions="1",
            device_serial_number="1", content_label="STATE",
        )  # fmt: skip
    except Exception as error:
        return type(error).__name__
    return f"{state.PresentationLUTShape}, Modality LUT: {'ModalityLUTSequence' in state}"


modality = table("OW")
modality.ModalityLUTType = "US"
found = {
    "a window": outcome(image(**WINDOW)),
    "a VOI LUT (OW)": outcome(image(VOILUTSequence=[table("OW")])),
    "a VOI LUT (US)": outcome(image(VOILUTSequence=[table("US")])),
    "a window and a VOI LUT": outcome(image(VOILUTSequence=[table("OW")], **WINDOW)),
    "a Modality LUT": outcome(image(ModalityLUTSequence=[modality], **WINDOW)),
    "MONOCHROME1": outcome(image("MONOCHROME1", **WINDOW)),
}
print("highdicom", highdicom.__version__, "pydicom", pydicom.__version__)
for name, happened in found.items():
    print(f"{name:24}{happened}")
if list(found.values()) != [
    "IDENTITY, Modality LUT: False", "IDENTITY, Modality LUT: False", "TypeError", "ValueError",
    "IDENTITY, Modality LUT: False", "IDENTITY, Modality LUT: False",
]:  # fmt: skip
    sys.exit("The behaviour has changed.")
print("As found: two of six are refused, and two would be shown differently.")
PYTHON
"$folder/venv/bin/python" "$folder/states.py"
