#!/usr/bin/env bash
# Expected: a DICOM file whose transfer syntax a library cannot decode (JPEG XL: Supplement 232, PS3.5 8.2.15) can still be read, changed
#           in its header and written again, as any encapsulated file can; and whether it is encapsulated is a question with an answer.
# Happens:  pydicom reads it, header and fragments. Then `UID.is_encapsulated`, `is_compressed` and `save_as` of the unchanged data set raise ValueError, since pydicom asks its own
#           dictionary whether a UID is a transfer syntax at all. So a gateway that de-identifies or re-routes with pydicom stops at such a file. `UID.set_private_encoding`
#           helps for private UIDs only. Ask `uid in pydicom.uid.AllTransferSyntaxes` first, and hand files on as bytes.
# Versions: pydicom 3.0.2. Date: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2
"$folder/venv/bin/python" - <<'PYTHON'
import io

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import JPEG2000Lossless, generate_uid

JPEG_XL_LOSSLESS = "1.2.840.10008.1.2.4.110"
CR = "1.2.840.10008.5.1.4.1.1.1"


def file_with(syntax):
    """A CR image of one encapsulated frame, preamble, File Meta and data set written one after the other."""
    meta, image = FileMetaDataset(), Dataset()
    meta.MediaStorageSOPClassUID = image.SOPClassUID = CR
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    image.PatientID, image.Rows, image.Columns, image.SamplesPerPixel = "1", 2, 2, 1
    image.PixelData = encapsulate([b"\xff\x0a" + bytes(20)])
    image["PixelData"].VR, image["PixelData"].is_undefined_length = "OB", True
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    out.write(bytes(128) + b"DICM")
    write_file_meta_info(out, meta, enforce_standard=True)
    write_dataset(out, image)
    return out.getvalue()


def said(action):
    try:
        return str(action())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


print("pydicom", pydicom.__version__)
seen = {}
for syntax in (str(JPEG2000Lossless), JPEG_XL_LOSSLESS):
    image = pydicom.dcmread(io.BytesIO(file_with(syntax)))
    frames = len(list(generate_frames(image.PixelData, number_of_frames=1)))
    image.PatientID = "2"
    uid = image.file_meta.TransferSyntaxUID
    seen[syntax] = {
        "frames read": str(frames),
        "is_encapsulated": said(lambda: uid.is_encapsulated),
        "save_as": said(lambda: image.save_as(io.BytesIO()) or "written"),
        "save_as, encoding told": said(lambda: image.save_as(io.BytesIO(), implicit_vr=False, little_endian=True) or "written"),
    }
    print(syntax)
    for what, text in seen[syntax].items():
        print(f"  {what}: {text}")
known, newer = seen.values()
assert known == {"frames read": "1", "is_encapsulated": "True", "save_as": "written", "save_as, encoding told": "written"}
assert newer["frames read"] == "1"
assert all(newer[what].startswith("ValueError") for what in ("is_encapsulated", "save_as", "save_as, encoding told"))
PYTHON
echo "As described above."
