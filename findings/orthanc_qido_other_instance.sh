#!/usr/bin/env bash
# Expected: what QIDO-RS answers about a study matches the question: asked for accession number n1, the study that is found has n1 (PS3.4, C.2.2.2), and a
#           study that is shown with n2 is found by n2.
# Happens:  Orthanc searches by the attributes of the instance that came first, and Debian's DICOMweb plugin answers those of another one. Where a study was
#           corrected between two images (accession number, name, date), a search for n1 answers a study with n2, and a search for n2 finds nothing, though
#           every list shows it. A worklist that matches orders by accession number gives the study to the wrong order or to none. C-FIND answers what it
#           searches by, n1. Check the attributes of an answer, search by Study Instance UID, or read the series' metadata.
# Versions: Orthanc 1.10.1 with DICOMweb plugin 1.7 (Debian 12), pynetdicom 3.0.4, pydicom 3.0.2, requests 2.34.2. Date: 2026-11-28.
# Needs:    the Debian packages orthanc and orthanc-dicomweb, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian packages orthanc and orthanc-dicomweb first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null && wait "$orthanc" || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2 requests==2.34.2
cat >"$folder/orthanc.json" <<JSON
{"Name": "finding", "StorageDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "DicomAlwaysAllowFind": true, "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"]}
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
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND

URL = "http://127.0.0.1:18042"
for _ in range(300):
    try:
        requests.get(f"{URL}/system", timeout=5).raise_for_status()
        break
    except requests.RequestException:
        time.sleep(0.2)
study = generate_uid()
for name, accession in (("Doe^Jane", "n1"), ("Roe^Jane", "n2")):
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality = study, generate_uid(), "CR"
    image.PatientID, image.PatientName, image.AccessionNumber = "1", name, accession
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, image, enforce_file_format=True)
    requests.post(f"{URL}/instances", data=buffer.getvalue(), timeout=60).raise_for_status()


def qido(key, value):
    """Accession numbers of the studies that QIDO-RS answers."""
    answer = requests.get(f"{URL}/dicom-web/studies?{key}={value}", headers={"Accept": "application/dicom+json"}, timeout=60)
    answer.raise_for_status()
    return [found["00080050"]["Value"][0] for found in answer.json()]


def find(accession):
    entity = AE()
    entity.add_requested_context(FIND)
    association = entity.associate("127.0.0.1", 14242, ae_title="ORTHANC")
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID, query.AccessionNumber = "STUDY", "", accession
    found = [identifier.AccessionNumber for _, identifier in association.send_c_find(query, FIND) if identifier]
    association.release()
    return found


by_study = qido("StudyInstanceUID", study)
first, second = (qido("AccessionNumber", number) for number in ("n1", "n2"))
names = [len(qido("PatientName", name)) for name in ("Doe*", "Roe*")]
found = find("n1"), find("n2")
print(f"QIDO-RS by Study Instance UID answers {by_study}, by AccessionNumber=n1 {first}, by AccessionNumber=n2 {second}")
print(f"studies by PatientName=Doe* and by Roe*: {names}; C-FIND by n1 and by n2: {found}")
if (by_study, first, second, names, found) != (["n2"], ["n2"], [], [1, 0], (["n1"], [])):
    sys.exit("The behaviour has changed.")
print("As found: a search for n1 answers n2, and a search for n2 answers nothing.")
PYTHON
