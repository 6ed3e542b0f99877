#!/usr/bin/env bash
# Expected: who asks a server for a rendered image gets it as it is meant to be shown, with the window or the VOI LUT of the image (PS3.3, C.11.2), and
#           the same one from each of the server's doors.
# Happens:  Orthanc's DICOMweb `.../rendered` ignores window, VOI LUT Function and VOI LUT, and stretches from the least to the greatest value: an
#           implant or a label flattens the rest. Its own `/instances/ID/rendered` and WADO-URI apply the window, also where VOI LUT Function says
#           SIGMOID, as if it were LINEAR, and ignore a VOI LUT. Ask with `?window=centre,width,linear` (or `sigmoid`, which it knows there), and render a
#           VOI LUT yourself.
# Versions: Orthanc 1.10.1 with DICOMweb plugin 1.7 (Debian 12), pydicom 3.0.2. Date: 2026-11-27.
# Needs:    the Debian packages orthanc and orthanc-dicomweb, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian packages orthanc and orthanc-dicomweb first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 numpy==2.4.6 pillow==13.0.0 requests==2.34.2
cat >"$folder/orthanc.json" <<JSON
{"Name": "finding", "StorageDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"]}
JSON
Orthanc "$folder/orthanc.json" >"$folder/log" 2>&1 &
orthanc=$!
Orthanc --version | sed -n 1p
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys
import time

import numpy as np
import requests
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

ORTHANC = "http://127.0.0.1:18042"
PIXELS = np.arange(4096, dtype=np.uint16)
SHOWN = [0, 1500, 1800, 2048, 2300, 4095]
lut = Dataset()
lut.add_new("LUTDescriptor", "US", [4096, 0, 16])
lut.add_new("LUTData", "OW", ((PIXELS / 4095) ** 3 * 65535).astype("<u2").tobytes())
LINEAR = {"WindowCenter": "2048", "WindowWidth": "1000"}
KINDS = {"window": LINEAR, "window, sigmoid": LINEAR | {"VOILUTFunction": "SIGMOID"}, "VOI LUT": {"VOILUTSequence": [lut]}}


def radiograph(display):
    """A radiograph (64, 64) of all 12-bit values, with the attributes that say how to show it."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality, made.PatientID = generate_uid(), generate_uid(), "CR", "1"
    made.Rows = made.Columns = 64
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.PixelData = PIXELS.astype("<u2").tobytes()
    made["PixelData"].VR = "OW"
    made.update(display)
    return made


def meant(image):
    """The grey levels 0 to 255 that PS3.3, C.11.2 gives, by pydicom."""
    levels = apply_voi_lut(image.pixel_array, image).ravel().astype(float)
    return (levels - levels.min()) / (levels.max() - levels.min()) * 255


def rendered(url):
    answer = requests.get(ORTHANC + url, headers={"Accept": "image/png"}, timeout=300)
    answer.raise_for_status()
    return np.asarray(Image.open(io.BytesIO(answer.content))).ravel().astype(float)


def compare(kind, display):
    """Which doors show the image as it is meant to be shown, and which show it stretched from its least to its greatest value."""
    image = radiograph(display)
    file = io.BytesIO()
    image.save_as(file, enforce_file_format=True)
    own = requests.post(ORTHANC + "/instances", data=file.getvalue(), timeout=300).json()["ID"]
    study, series, instance = image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID
    wado = f"requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}&contentType=image/png"
    shown = {
        "DICOMweb": rendered(f"/dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered"),
        "WADO-URI": rendered(f"/wado?{wado}"),
        "own": rendered(f"/instances/{own}/rendered"),
    }
    right, stretched, found = meant(image), PIXELS / 4095 * 255, {}
    print(f"{kind:16} of pixels {SHOWN} meant: {right[SHOWN].astype(int).tolist()}")
    for door, levels in shown.items():
        near = [np.abs(levels - other).max() <= 2 for other in (right, stretched)]
        found[door] = "right" if near[0] else "stretched" if near[1] else "other"
        print(f"    {door:9} {found[door]:9} {levels[SHOWN].astype(int).tolist()}")
    return list(found.values())


for _ in range(100):
    try:
        requests.get(ORTHANC + "/system", timeout=60)
        break
    except requests.ConnectionError:
        time.sleep(0.2)
found = [compare(kind, display) for kind, display in KINDS.items()]
if found != [["stretched", "right", "right"], ["stretched", "other", "other"], ["stretched"] * 3]:
    sys.exit("The behaviour has changed.")
print("As found: DICOMweb shows none of the three as it is meant, the other doors one.")
PYTHON
