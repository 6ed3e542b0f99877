#!/usr/bin/env bash
# Expected: what dcm2json writes with exit code 0 is JSON. It takes care of other forms of a DS that JSON doesn't know: +5, .5 and 007 become 5, 0.5, 7.
# Happens:  a decimal string whose point has no digit after it, "5." or "1.E2", is copied as it is: [5.] is not a number of JSON (RFC 8259, 6), so
#           every parser refuses the whole document, not this attribute only. PS3.5, 6.2 asks for no digit after the point, and C's printf("%#.0f")
#           writes such values. A null among values, and a NaN, are dealt with: null is written, NaN refused with an exit code.
# Versions: dcmtk 3.6.7 (Debian 12), pydicom 3.0.2. Date: 2026-11-27.
# Needs:    the Debian package dcmtk.
set -euo pipefail
command -v dcm2json >/dev/null || { echo "Install the Debian package dcmtk first." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2
cd "$folder"
dcm2json --version | sed -n 1p
"$folder/venv/bin/python" -W error - <<'PYTHON'
import json
import subprocess
import sys

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

print("pydicom", pydicom.__version__, "(warnings are errors here)")


def converted(text):
    """What dcm2json makes of a Slice Thickness: the values that a JSON parser reads, or None where it refuses the document."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    made.SliceThickness = text
    made.save_as("one.dcm", enforce_file_format=True)
    ran = subprocess.run(["dcm2json", "-fc", "one.dcm"], capture_output=True, text=True, timeout=300)
    document = ran.stdout
    start = document.index('"00180050"')
    try:
        values = json.loads(document)["00180050"]["Value"]
    except json.JSONDecodeError:
        values = None
    own = json.loads(pydicom.dcmread("one.dcm").to_json())["00180050"]["Value"]
    print(f"{text:6} dcm2json: {document[start : document.index('}', start) + 1]:36} exit code {ran.returncode}, parsed: {values}, pydicom: {own}")
    return ran.returncode, values


refused = [converted(text) for text in ("5.", "-5.", "+5.", "1.E2")]
taken = [converted(text) for text in ("+5", ".5", "-.5", "007", "1E+2")]
if refused != [(0, None)] * 4 or taken != [(0, [5]), (0, [0.5]), (0, [-0.5]), (0, [7]), (0, [100.0])]:
    sys.exit("The behaviour has changed.")
print("As found: a point without a digit after it is copied into the JSON.")
PYTHON
