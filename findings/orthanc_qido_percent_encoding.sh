#!/usr/bin/env bash
# Expected: PatientName=Doe%5EJane and PatientName=Doe^Jane ask the same question: a server decodes a query's percent-encoding (RFC 3986, 2.4), which
#           ^ and space need, and which HTTP libraries write whether one asks for it or not.
# Happens:  Orthanc compares with the encoded text. A name with %5E, a description with %20, even PatientID=%31 for 1 finds nothing: 200 and an empty
#           list, which reads as "not in the archive". requests, and so dicomweb-client, encode ^ and * in a filter always: with them neither a whole
#           name nor a wildcard ever finds a study. Ask by what needs no encoding (UID, PatientID, AccessionNumber, dates), or by C-FIND.
# Versions: Orthanc 1.10.1 with DICOMweb plugin 1.7 (Debian 12), dicomweb-client 0.61.2, pydicom 3.0.2. Date: 2026-11-27.
# Needs:    the Debian packages orthanc and orthanc-dicomweb, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian packages orthanc and orthanc-dicomweb first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet dicomweb-client==0.61.2 pydicom==3.0.2 requests==2.34.2
cat >"$folder/orthanc.json" <<JSON
{"Name": "finding", "StorageDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"]}
JSON
Orthanc "$folder/orthanc.json" >"$folder/log" 2>&1 &
orthanc=$!
Orthanc --version | sed -n 1p
"$folder/venv/bin/python" - <<'PYTHON'
import io
import json
import sys
import time
import urllib.request

import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

URL = "http://127.0.0.1:18042"
for _ in range(300):
    try:
        requests.get(f"{URL}/system", timeout=5).raise_for_status()
        break
    except requests.RequestException:
        time.sleep(0.2)
image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = generate_uid(), generate_uid(), "OT"
image.PatientID, image.PatientName, image.StudyDescription = "1", "Doe^Jane", "Chest PA"
buffer = io.BytesIO()
pydicom.dcmwrite(buffer, image, enforce_file_format=True)
requests.post(f"{URL}/instances", data=buffer.getvalue(), timeout=60).raise_for_status()


def plain(query):
    """The number of studies that a query finds, sent as it is written here."""
    request = urllib.request.Request(f"{URL}/dicom-web/studies?{query}", headers={"Accept": "application/dicom+json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = len(json.load(answer))
    print(f"{query:32} -> {answer.status}, {found} of 1 studies")
    return found


def client(name):
    found = len(DICOMwebClient(f"{URL}/dicom-web").search_for_studies(search_filters={"PatientName": name}))
    print(f"dicomweb-client, PatientName={name} -> {found} of 1 studies")
    return found


encoded = [plain(query) for query in ("PatientName=Doe%5EJane", "PatientID=%31", "StudyDescription=Chest%20PA")]
bare = [plain(query) for query in ("PatientName=Doe^Jane", "PatientID=1", "StudyDescription=Chest*PA")]
by_client = [client(name) for name in ("Doe^Jane", "Doe*Jane")]
if (encoded, bare, by_client) != ([0, 0, 0], [1, 1, 1], [0, 0]):
    sys.exit("The behaviour has changed.")
print("As found: a percent-encoded value finds nothing, without an error.")
PYTHON
