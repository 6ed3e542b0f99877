#!/usr/bin/env bash
# Expected: a DICOM program that was told "failure" exits with something else than 0, so that `dcmsend ... && rm ...` removes only what has arrived, and
#           a script tells "no such study" from "the query was refused". dcmtk's movescu and storescu do.
# Happens:  echoscu, findscu, getscu and dcmsend exit with 0, mostly without a word, when the peer answers with a failure status; storescu does
#           with --no-halt (-nh). Their exit code tells only of the connection. Read the status from `-v`, or from dcmsend's --create-report-file.
# Versions: dcmtk 3.6.7 (Debian 12), pynetdicom 3.0.4, pydicom 3.0.2. Date: 2026-11-27.
# Needs:    the Debian package dcmtk.
set -euo pipefail
command -v dcmsend >/dev/null || { echo "Install the Debian package dcmtk first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pynetdicom==3.0.4 pydicom==3.0.2
cd "$folder"
dcmsend --version | sed -n 1p
cat >peer.py <<'PYTHON'
import subprocess
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import Verification

image = Dataset()
image.file_meta = FileMetaDataset()
image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
image.StudyInstanceUID, image.SeriesInstanceUID, image.Modality, image.PatientID = generate_uid(), generate_uid(), "OT", "1"
image.save_as("image.dcm", enforce_file_format=True)

answered = []


def refused(event):
    """Out of Resources, from a peer whose disk is full (PS3.4, B.2.3)."""
    answered.append(0xA700)
    return 0xA700


def find_refused(event):
    yield refused(event), None


def get_refused(event):
    yield 1
    yield refused(event), None


peer = AE("PEER")
for context in (Verification, SecondaryCaptureImageStorage, FIND, GET):
    peer.add_supported_context(context)
handlers = [(evt.EVT_C_ECHO, refused), (evt.EVT_C_STORE, refused), (evt.EVT_C_FIND, find_refused), (evt.EVT_C_GET, get_refused)]
server = peer.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
address = ["127.0.0.1", str(server.socket.getsockname()[1])]
study = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={image.StudyInstanceUID}"]


def code(program, *arguments):
    """The exit code of a dcmtk program, and whether the peer told it of a failure."""
    before = len(answered)
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300)
    told = len(answered) > before
    print(f"{program:8} {arguments[0]:9} failure told: {told}, exit code {ran.returncode:3}, printed: {(ran.stdout + ran.stderr)[:70]!r}")
    return ran.returncode, told


found = [
    code("echoscu", *address),
    code("findscu", "-S", *study, *address),
    code("getscu", "-S", *study, *address),
    code("dcmsend", *address, "image.dcm"),
    code("storescu", "-nh", *address, "image.dcm"),
    code("storescu", *address, "image.dcm"),
]
server.shutdown()
if found[:-1] != [(0, True)] * 5 or found[-1][0] == 0:
    sys.exit("The behaviour has changed.")
print("As found: five of six tell of a refusal by exit code 0.")
PYTHON
"$folder/venv/bin/python" peer.py
