#!/usr/bin/env bash
# Expected: a list of values with an empty one among them, "2.5\\3.0" in a file and [2.5, null, 3.0] in DICOM JSON (PS3.18, F.2.5), passes through
#           pydicom both ways, since either form is valid, and it reads both without a warning.
# Happens:  - from JSON to a file: the null of a DS or an IS is written as the four letters None, without an error
#           - from a file to JSON: one empty value of a DS, an IS or a PN, and to_json() of the whole data set raises ValueError or IndexError; with
#             suppress_invalid_tags=True the attribute is missing from the answer, and its other values with it
#           So an archive keeps such an image and then cannot answer its metadata, and what it took from JSON another reader refuses.
# Versions: pydicom 3.0.2. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2
"$folder/venv/bin/python" -W error - <<'PYTHON'
import io
import json
import sys

import pydicom
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import dictionary_VR, tag_for_keyword

separator = "\\"
print("pydicom", pydicom.__version__, "(warnings are errors here)")


def encoded(made):
    file = io.BytesIO()
    dcmwrite(file, made, implicit_vr=False, little_endian=True)
    return file.getvalue()


def from_json(name, values):
    """The text of the value that is written to a file, of an attribute read from JSON."""
    tag = tag_for_keyword(name)
    read = Dataset.from_json({f"{tag:08X}": {"vr": dictionary_VR(tag), "Value": values}})
    text = encoded(read)[8:].decode().rstrip()
    print(f"JSON to file: {name:22} {json.dumps(values):26} -> {text}")
    return text


def to_json(name, values):
    """The values in JSON of an attribute read from a file, or the error; whether it is there when what is invalid is suppressed."""
    made = Dataset()
    setattr(made, name, values)
    read = dcmread(io.BytesIO(encoded(made)), force=True)
    try:
        (element,) = json.loads(read.to_json()).values()
        answer = element["Value"]
    except (ValueError, IndexError) as error:
        answer = type(error).__name__
    kept = len(read.to_json_dict(suppress_invalid_tags=True)) == 1
    print(f"file to JSON: {name:22} {separator.join(values):26} -> {answer!s:20} suppress_invalid_tags:", "there" if kept else "missing")
    return answer, kept


written = [
    from_json("ContrastFlowRate", [2.5, None, 3.0]),
    from_json("FieldOfViewDimensions", [None, 300]),
    from_json("OtherPatientIDs", ["1", None, "2"]),
]
answered = [
    to_json("ContrastFlowRate", ["2.5", "3.0"]),
    to_json("ContrastFlowRate", ["2.5", "", "3.0"]),
    to_json("FieldOfViewDimensions", ["", "300"]),
    to_json("OtherPatientNames", ["Doe^Jane", "", "Roe^Jane"]),
    to_json("OtherPatientIDs", ["1", "", "2"]),
]
expected = [
    ([2.5, 3.0], True),
    ("ValueError", False),
    ("ValueError", False),
    ("IndexError", False),
    (["1", "", "2"], True),
]
if written != ["2.5\\None\\3.0", "None\\300", "1\\\\2"] or answered != expected:
    sys.exit("The behaviour has changed.")
print("As found: null is written as None, and one empty value costs the attribute or all of the JSON.")
PYTHON
