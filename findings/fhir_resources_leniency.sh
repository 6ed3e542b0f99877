#!/usr/bin/env bash
# Expected: a resource that fhir.resources' R4B models accept is valid FHIR R4B in what these models know: required value sets, the form of an id,
#           the types that a reference may name; and a decimal keeps its digits ("the precision of the decimal value has significance", data type decimal).
# Happens:  a status outside its required value set, an id of 70 characters (64 are allowed) and a DiagnosticReport.result that refers to a Patient
#           pass without a warning. A probability of 0.910 is read and written as 0.91, also from Decimal("0.910"). A missing required field and a
#           date-time without an offset are refused.
# Versions: fhir.resources 8.3.0. Date: 2026-11-27.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fhir.resources==8.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from decimal import Decimal
from importlib.metadata import version

from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.observation import Observation
from pydantic import ValidationError

print("fhir.resources", version("fhir.resources"))


def accepts(model, **fields):
    """Whether the model takes these fields beside a code."""
    try:
        model.model_validate({"code": {"text": "Edema"}, **fields})
    except ValidationError:
        return False
    return True


tries = {
    "no status": accepts(Observation),
    "date-time without an offset": accepts(Observation, status="final", effectiveDateTime="2026-11-27T10:00:00"),
    "status 'more or less final'": accepts(DiagnosticReport, status="more or less final"),
    "id of 70 characters": accepts(DiagnosticReport, status="final", id="a" * 70),
    "result that refers to a Patient": accepts(DiagnosticReport, status="final", result=[{"reference": "Patient/1"}]),
}
for what, accepted in tries.items():
    print(f"{what:33}", "accepted" if accepted else "refused")

text = '{"resourceType": "Observation", "status": "final", "code": {"text": "Edema"}, "valueQuantity": {"value": 0.910}}'
read = Observation.model_validate_json(text).model_dump_json()
made = Observation(status="final", code={"text": "Edema"}, valueQuantity={"value": Decimal("0.910")}).model_dump_json()
print("0.910 in, out comes", read[read.index('"valueQuantity"') :])
lost = all('{"value":0.91}' in document for document in (read, made))
if list(tries.values()) != [False, False, True, True, True] or not lost:
    sys.exit("The behaviour has changed.")
print("As found: value sets, id length and reference targets are not checked, and trailing zeros are lost.")
PYTHON
