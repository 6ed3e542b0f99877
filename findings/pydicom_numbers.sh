#!/usr/bin/env bash
# Expected: a value that its value representation cannot hold is refused, or at least warned about. IS is an integer string, DS a decimal
#           string of at most 16 bytes (PS3.5 6.2).
# Happens:  Dataset.from_json() reads an IS of 7.5 as 7, without a warning. A DS that was set from a Python float is written with as
#           many digits as Python shows, 19 here, without a warning; other readers may cut or refuse it.
# Versions: pydicom 3.0.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2
"$folder/venv/bin/python" -W error - <<'PYTHON'
import io
import sys

import pydicom
from pydicom import Dataset, dcmread, dcmwrite

print("pydicom", pydicom.__version__, "(warnings are errors here)")

read = Dataset.from_json({"00200013": {"vr": "IS", "Value": [7.5]}}).InstanceNumber
print("Instance Number 7.5 in DICOM JSON is read as", int(read))

ds = Dataset()
ds.SliceThickness = 0.1 + 0.2
file = io.BytesIO()
dcmwrite(file, ds, implicit_vr=False, little_endian=True)
file.seek(0)
written = len(dcmread(file, force=True)["SliceThickness"].value.original_string)
print("Slice Thickness 0.1 + 0.2 is written with", written, "characters")
if read != 7 or written <= 16:
    sys.exit("The behaviour has changed.")
print("As found: a fraction is lost silently, and a DS is too long.")
PYTHON
