#!/usr/bin/env bash
# Expected: Doe^Jane and Doe^Jane^^^ are one name: trailing empty components may be written or not (PS3.5, 6.2.1), and many modalities write all five.
#           A toolkit that takes names apart compares them so, and two toolkits write one file's name alike.
# Happens:  pydicom's PersonName compares the text: the two differ, in ==, in a set, in Dataset ==, though every component is equal. Its DICOM
#           JSON keeps the delimiters, dcm2json's leaves them out: one file has two names on two servers, and a check whether an image still belongs
#           to its patient fails. Compare family_name, given_name and so on, or the text without trailing ^ and =.
# Versions: pydicom 3.0.2, dcmtk 3.6.7 (Debian 12). Date: 2026-11-27.
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
from pydicom.valuerep import PersonName

print("pydicom", pydicom.__version__, "(warnings are errors here)")
PARTS = ("family_name", "given_name", "middle_name", "name_prefix", "name_suffix")


def in_json(name):
    """The Patient's Name of one file in the DICOM JSON of pydicom and of dcm2json."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    made.PatientName = name
    made.save_as("one.dcm", enforce_file_format=True)
    ran = subprocess.run(["dcm2json", "-fc", "one.dcm"], capture_output=True, text=True, timeout=300, check=True)
    documents = pydicom.dcmread("one.dcm").to_json(), ran.stdout
    names = [json.loads(document)["00100010"]["Value"][0]["Alphabetic"] for document in documents]
    print(f"{name:12} in JSON: pydicom {names[0]}, dcm2json {names[1]}")
    return names


short, long = PersonName("Doe^Jane"), PersonName("Doe^Jane^^^")
same_parts = all(getattr(short, part) == getattr(long, part) for part in PARTS)
one, other = Dataset(), Dataset()
one.PatientName, other.PatientName = short, long
print(f"Doe^Jane and Doe^Jane^^^: same components: {same_parts}, ==: {short == long}, in a set: {len({short, long})}, data sets ==: {one == other}")
found = same_parts, short == long, len({short, long}), one == other
if found != (True, False, 2, False) or in_json("Doe^Jane^^^") != ["Doe^Jane^^^", "Doe^Jane"] or in_json("Doe^Jane") != ["Doe^Jane"] * 2:
    sys.exit("The behaviour has changed.")
print("As found: pydicom tells two spellings of one name apart, dcm2json doesn't.")
PYTHON
