#!/usr/bin/env bash
# Expected: QIDO-RS with a key that the server does not know (a misspelt PatientId for PatientID) is refused, finds nothing, or carries a Warning
#           header. Who looks for one patient before sending or deleting something does not get other patients' studies.
# Happens:  Orthanc's DICOMweb plugin ignores the key in silence: 200, every study, no Warning. Keywords are case-sensitive. Other keys beside it
#           still apply.
# Versions: Orthanc 1.10.1 with DICOMweb plugin 1.7 (Debian 12), pydicom 3.0.2, requests 2.34.2. Date: 2026-11-27.
# Needs:    the Debian packages orthanc and orthanc-dicomweb, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian packages orthanc and orthanc-dicomweb first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 requests==2.34.2
cat >"$folder/orthanc.json" <<JSON
{"Name": "finding", "StorageDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"]}
JSON
Orthanc "$folder/orthanc.json" >"$folder/log" 2>&1 &
orthanc=$!
Orthanc --version | head -1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import sys
import time

import pydicom
import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

URL = "http://127.0.0.1:18042"
for _ in range(100):
    try:
        requests.get(f"{URL}/system", timeout=5).raise_for_status()
        break
    except requests.RequestException:
        time.sleep(0.1)
for number in range(3):
    new = Dataset()
    new.file_meta = FileMetaDataset()
    new.SOPClassUID = new.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    new.SOPInstanceUID = new.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    new.StudyInstanceUID, new.SeriesInstanceUID = generate_uid(), generate_uid()
    new.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    new.PatientID, new.Modality, new.StudyDate, new.AccessionNumber = str(number), "OT", "20260101", f"A{number}"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, new, enforce_file_format=True)
    requests.post(f"{URL}/instances", data=buffer.getvalue(), timeout=10).raise_for_status()


def search(query):
    answer = requests.get(f"{URL}/dicom-web/studies?{query}", headers={"Accept": "application/dicom+json"}, timeout=10)
    found = len(answer.json()) if answer.ok else None
    print(f"{query:42}", answer.status_code, f"{found} of 3 studies", "Warning:", answer.headers.get("Warning"))
    return answer.status_code, found, "Warning" in answer.headers


found = [search(query) for query in ("PatientID=1", "PatientId=1", "NoSuchKey=1", "NoSuchKey=1&PatientID=1")]
if found != [(200, 1, False), (200, 3, False), (200, 3, False), (200, 1, False)]:
    sys.exit("The behaviour has changed.")
print("As found: a key that is misspelt by one letter returns every study.")
PYTHON
