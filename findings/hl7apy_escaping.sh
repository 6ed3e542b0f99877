#!/usr/bin/env bash
# Expected: a library that escapes HL7 v2 delimiters in a text escapes all of them: | ^ & ~ \ (HL7 v2 chapter 2, use of escape sequences).
# Happens:  hl7apy escapes | ~ and \ in the text of an OBX-5 of type ST, and leaves ^ and & as they are, so "heart & lungs" is read back as two
#           subcomponents. Where a text is meant, write \S\ and \T\ before the value is set: hl7apy keeps these.
# Versions: hl7apy 1.3.5. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hl7apy==1.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

from hl7apy.core import Segment
from hl7apy.parser import parse_segment

print("hl7apy", version("hl7apy"))
out = {}
for character in "|~\\^&":
    segment = Segment("OBX")
    segment.obx_2, segment.obx_5 = "ST", f"heart {character} lungs"
    out[character] = segment.to_er7().split("|")[5]
    print(f"heart {character} lungs", "is written as", out[character])
ready = Segment("OBX")
ready.obx_2, ready.obx_5 = "ST", r"heart \T\ lungs"
print(r"heart \T\ lungs", "is written as", ready.to_er7().split("|")[5])
read = parse_segment(f"OBX||ST|||{out['&']}")
parts = [part.to_er7() for component in read.obx_5.children for part in component.children]
print("heart & lungs is read back as", parts)
expected = {"|": r"heart \F\ lungs", "~": r"heart \R\ lungs", "\\": r"heart \E\ lungs", "^": "heart ^ lungs", "&": "heart & lungs"}
if out != expected or len(parts) != 2 or ready.to_er7().split("|")[5] != r"heart \T\ lungs":
    sys.exit("The behaviour has changed.")
print("As found: three of five delimiters are escaped.")
PYTHON
