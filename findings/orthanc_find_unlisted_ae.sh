#!/usr/bin/env bash
# Expected: a peer that may store but not query is told so where DICOM has a place for it: the C-FIND context is rejected when the association is
#           negotiated (PS3.8, 9.3.3.2), or the C-FIND is answered with a status such as 0122, SOP Class not supported (PS3.4, C.4.1.1.4).
# Happens:  Orthanc, as Debian installs it, accepts the context and answers C-ECHO from an AE that is not in "DicomModalities", then aborts the whole
#           association at its first C-FIND. Who sends and then asks on one association what has arrived takes a successful delivery for a failed one.
# Versions: Orthanc 1.10.1 (Debian 12), pynetdicom 3.0.4, pydicom 3.0.2. Date: 2026-11-27.
# Needs:    the Debian package orthanc, not running as a service: `Orthanc` on PATH.
set -euo pipefail
command -v Orthanc >/dev/null || { echo "Install the Debian package orthanc first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'kill "${orthanc:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2
cat >"$folder/orthanc.json" <<JSON
{"Name": "finding", "StorageDirectory": "$folder/db", "HttpPort": 18042, "DicomPort": 14242, "RemoteAccessAllowed": false,
 "AuthenticationEnabled": false}
JSON
Orthanc "$folder/orthanc.json" >"$folder/log" 2>&1 &
orthanc=$!
Orthanc --version | head -1
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import time

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import Verification

image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality, image.PatientID = generate_uid(), generate_uid(), "OT", "1"

entity = AE("UNLISTED")
for context in (Verification, FIND):
    entity.add_requested_context(context)
entity.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
for _ in range(100):
    association = entity.associate("127.0.0.1", 14242, ae_title="ORTHANC")
    if association.is_established:
        break
    time.sleep(0.2)
accepted = FIND in [context.abstract_syntax for context in association.accepted_contexts]
echo, store = association.send_c_echo().Status, association.send_c_store(image).Status
query = Dataset()
query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", image.StudyInstanceUID
answers = [status.get("Status") for status, _ in association.send_c_find(query, FIND)]
for _ in range(50):
    if not association.is_established:
        break
    time.sleep(0.1)
print(f"C-FIND's context accepted: {accepted}, C-ECHO 0x{echo:04x}, C-STORE 0x{store:04x}")
print(f"statuses of C-FIND: {answers}, association aborted: {association.is_aborted}")
if (accepted, echo, store, answers, association.is_aborted) != (True, 0, 0, [None], True):
    sys.exit("The behaviour has changed.")
print("As found: what was stored is there, and the association that stored it is aborted at the question.")
PYTHON
