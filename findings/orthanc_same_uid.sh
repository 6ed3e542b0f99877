#!/usr/bin/env bash
# Expected: a PACS that has a SOP Instance UID already and is sent other content under it refuses it or replaces it; in both cases its answer says
#           what it kept, and storage commitment (PS3.4 J) confirms only what was kept.
# Happens:  Orthanc answers Success (0x0000) to C-STORE and 200 to STOW-RS, keeps the first content, and commits the second in storage commitment,
#           which compares SOP Class and Instance UID only. Who must know that a new version arrived has to read it back, or to give it a new UID.
#           (OverwriteInstances is false by default.)
# Versions: Orthanc 1.10.1 with DICOMweb plugin 1.7 (Debian 12), pynetdicom 3.0.4, pydicom 3.0.2, requests 2.34.2. Date: 2026-11-27.
# Needs:    the Debian packages orthanc and orthanc-dicomweb, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian packages orthanc and orthanc-dicomweb first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2 requests==2.34.2
cat >"$folder/orthanc.json" <<JSON
{"Name": "finding", "StorageDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false, "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
 "DicomModalities": {"me": ["ME", "127.0.0.1", 14243]}}
JSON
Orthanc "$folder/orthanc.json" >"$folder/log" 2>&1 &
orthanc=$!
Orthanc --version | head -1
"$folder/venv/bin/python" - <<'PYTHON'
import io
import queue
import sys
import time

import pydicom
import pynetdicom
import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import SecondaryCaptureImageStorage as SC
from pynetdicom.sop_class import StorageCommitmentPushModel

print("pynetdicom", pynetdicom.__version__, "pydicom", pydicom.__version__, "requests", requests.__version__)
URL = "http://127.0.0.1:18042"
for _ in range(100):
    try:
        requests.get(f"{URL}/system", timeout=5).raise_for_status()
        break
    except requests.RequestException:
        time.sleep(0.1)


def image(description, like=None):
    """A valid 4 x 4 secondary capture; `like` another one it has the same UIDs."""
    new = Dataset()
    new.file_meta = FileMetaDataset()
    new.SOPClassUID = new.file_meta.MediaStorageSOPClassUID = SC
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(new, name, like[name].value if like else generate_uid())
    new.file_meta.MediaStorageSOPInstanceUID = new.SOPInstanceUID
    new.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    new.PatientID, new.PatientName, new.Modality, new.ConversionType = "1", "Test^Test", "OT", "WSD"
    new.SeriesDescription = description
    new.StudyDate = new.StudyTime = new.AccessionNumber = new.StudyID = new.PatientBirthDate = new.PatientSex = ""
    new.ReferringPhysicianName, new.SeriesNumber, new.InstanceNumber, new.PatientOrientation = "", 1, 1, ""
    new.Rows = new.Columns = 4
    new.SamplesPerPixel, new.PhotometricInterpretation, new.PixelRepresentation = 1, "MONOCHROME2", 0
    new.BitsAllocated = new.BitsStored = 8
    new.HighBit, new.PixelData = 7, bytes(16)
    return new


def kept(sent):
    """The Series Description that Orthanc gives back for an instance."""
    path = f"studies/{sent.StudyInstanceUID}/series/{sent.SeriesInstanceUID}/instances/{sent.SOPInstanceUID}"
    rows = requests.get(f"{URL}/dicom-web/{path}/metadata", timeout=10).json()
    return rows[0]["0008103E"]["Value"][0]


first = image("first")
second, third = image("second", first), image("third", first)
sender = AE("ME")
sender.add_requested_context(SC, ExplicitVRLittleEndian)
sender.add_requested_context(StorageCommitmentPushModel)
association = sender.associate("127.0.0.1", 14242, ae_title="ORTHANC")
statuses = [association.send_c_store(sent).Status for sent in (first, second)]
print("C-STORE of two contents under one UID:", [f"0x{status:04X}" for status in statuses], "kept:", kept(first))

buffer = io.BytesIO()
pydicom.dcmwrite(buffer, third, enforce_file_format=True)
body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + buffer.getvalue() + b"\r\n--b--\r\n"
headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b', "Accept": "application/dicom+json"}
stow = requests.post(f"{URL}/dicom-web/studies", data=body, headers=headers, timeout=10)
print("STOW-RS of a third content under it:", stow.status_code, "kept:", kept(first))

reports = queue.Queue()


def reported(event):
    reports.put((event.event_type, event.event_information))
    return 0x0000, None


listener = AE("ME")
listener.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
server = listener.start_server(("127.0.0.1", 14243), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, reported)])
request, item = Dataset(), Dataset()
request.TransactionUID = generate_uid()
item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = third.SOPClassUID, third.SOPInstanceUID
request.ReferencedSOPSequence = [item]
association.send_n_action(request, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
kind, information = reports.get(timeout=20)
committed = kind == 1 and len(information.ReferencedSOPSequence) == 1
print("storage commitment after the third:", "committed" if committed else "not committed")
association.release()
server.shutdown()

if (statuses, stow.status_code, kept(first), committed) != ([0, 0], 200, "first", True):
    sys.exit("The behaviour has changed.")
print("As found: every answer says success, and the first content stayed.")
PYTHON
