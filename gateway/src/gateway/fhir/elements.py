"""The data types of FHIR R4 that resources are made of (hl7.org/fhir/R4/datatypes.html), as JSON."""

from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from thorax.coding import NO_UNIT, OURS, Concept, decimal

Element = dict[str, Any]

_OWN: Final = "urn:oid:2.25.101655746750916229967338610904015171681"  # uuid5(NAMESPACE_OID, "99THORAX")
PATIENTS: Final = f"{_OWN}.2"
SYSTEMS: Final = {
    OURS: f"{_OWN}.1",
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
}
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"


def id_of(job_id: UUID, *what: object) -> str:
    """The id of one of a job's resources: always the same, 36 characters."""
    return str(uuid5(job_id, "/".join(map(str, what))))


def coded(concept: Concept) -> Element:
    """A CodeableConcept of one coding."""
    coding = {"system": SYSTEMS[concept.scheme], "code": concept.value, "display": concept.meaning}
    return {"coding": [coding], "text": concept.meaning}


def hl7(system: str, code: str, display: str) -> Element:
    """A CodeableConcept of one of HL7's own code systems."""
    return {"coding": [{"system": _TERMINOLOGY + system, "code": code, "display": display}]}


def share(number: float) -> Element:
    """A Quantity without a unit, 0..1. It keeps its zeros: a decimal's precision has significance."""
    return {
        "value": orjson.Fragment(decimal(number)),
        "system": SYSTEMS[NO_UNIT.scheme],
        "code": NO_UNIT.value,
    }


def reference(kind: str, id_: str) -> Element:
    """A Reference to a resource of the same bundle."""
    return {"reference": f"urn:uuid:{id_}", "type": kind}


def uid(value: str | None) -> Element:
    """An Identifier that is a DICOM UID (hl7.org/fhir/R4/imagingstudy.html, 5.4.4)."""
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{value}"}


def patient(pseudonym: str | None) -> Element:
    """A Reference to the patient, of whom only a keyed hash is known, or not even that."""
    unknown = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    if pseudonym is None:
        return {"type": "Patient", "extension": [unknown]}
    return {"type": "Patient", "identifier": {"system": PATIENTS, "value": pseudonym}}
