#!/usr/bin/env bash
# Expected: what a server's search lists it hands out: a study that QIDO-RS answers can be retrieved by its Study Instance UID (PS3.18, 10.4), which
#           names one study whoever its patient is said to be.
# Happens:  Orthanc's own identifiers are made from Patient ID, too. If a study's images carry two (0077 and 77, corrected between two images), it
#           has two studies of one Study Instance UID. QIDO-RS and C-FIND list both, lists of their series and instances are complete, and WADO-RS
#           of the study, of its metadata and of the series answers 404, "inexistent": a viewer shows nothing, and a program that asks after 404 whether
#           the study has been deleted says yes. Each instance alone is there. Look for a UID that is answered twice, and retrieve by instance.
# Versions: Orthanc 1.10.1 with DICOMweb plugin 1.7 (Debian 12), pydicom 3.0.2, requests 2.34.2. Date: 2026-11-28.
# Needs:    the Debian packages orthanc and orthanc-dicomweb, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian packages orthanc and orthanc-dicomweb first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null && wait "$orthanc" || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 requests==2.34.2
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

import pydicom
import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

URL = "http://127.0.0.1:18042"
JSON = "application/dicom+json"
for _ in range(300):
    try:
        requests.get(f"{URL}/system", timeout=5).raise_for_status()
        break
    except requests.RequestException:
        time.sleep(0.2)
study, series = generate_uid(), generate_uid()
instances = []
for patient in ("0077", "77"):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality, image.PatientID = study, series, "CR", patient
    instances.append(image.SOPInstanceUID)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, image, enforce_file_format=True)
    requests.post(f"{URL}/instances", data=buffer.getvalue(), timeout=60).raise_for_status()


def ask(what, path, accept=JSON):
    """Status of the answer, and the number of entries where it is a list."""
    answer = requests.get(f"{URL}/dicom-web/{path}", headers={"Accept": accept}, timeout=60)
    entries = len(answer.json()) if answer.ok and accept == JSON else None
    print(f"{what:28} {answer.status_code}" + (f", {entries} entries" if entries is not None else ""))
    return answer.status_code, entries


whole, one = f"studies/{study}", f"studies/{study}/series/{series}"
searches = [
    ask("search for the study", f"studies?StudyInstanceUID={study}"),
    ask("search for its instances", f"{whole}/instances"),
]
retrievals = [
    ask("retrieve the study", whole, 'multipart/related; type="application/dicom"'),
    ask("metadata of the study", f"{whole}/metadata"),
    ask("metadata of the series", f"{one}/metadata"),
]
alone = [ask("metadata of one instance", f"{one}/instances/{instance}/metadata") for instance in instances]
if (searches, [status for status, _ in retrievals], alone) != ([(200, 2)] * 2, [404] * 3, [(200, 1)] * 2):
    sys.exit("The behaviour has changed.")
print("As found: the search lists the study, twice, and its retrieval says that there is none.")
PYTHON
