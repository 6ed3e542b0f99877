"""What FHIR R4 asks for beyond what `fhir.resources` checks: required bindings, ids, and what a reference may name."""

import json
import re
from typing import Any

from fhir.resources.R4B.bundle import Bundle

Resource = dict[str, Any]
BINDINGS = {  # required ones, from each resource's page under hl7.org/fhir/R4
    ("Bundle", "type"): {"document", "message", "transaction", "transaction-response", "batch", "batch-response", "history",
        "searchset", "collection"},
    ("DiagnosticReport", "status"): {"registered", "partial", "preliminary", "final", "amended", "corrected", "appended",
        "cancelled", "entered-in-error", "unknown"},
    ("Observation", "status"): {"registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error",
        "unknown"},
    ("ImagingStudy", "status"): {"registered", "available", "cancelled", "entered-in-error", "unknown"},
    ("Device", "status"): {"active", "inactive", "entered-in-error", "unknown"},
}  # fmt: skip
TARGETS = {
    ("DiagnosticReport", "subject"): {"Patient", "Group", "Device", "Location"},
    ("DiagnosticReport", "result"): {"Observation"},
    ("DiagnosticReport", "imagingStudy"): {"ImagingStudy"},
    ("Observation", "subject"): {"Patient", "Group", "Device", "Location"},
    ("Observation", "device"): {"Device", "DeviceMetric"},
    ("Observation", "hasMember"): {"Observation", "QuestionnaireResponse", "MolecularSequence"},
    ("Observation", "derivedFrom"): {"DocumentReference", "ImagingStudy", "Media", "QuestionnaireResponse", "Observation",
        "MolecularSequence"},
    ("ImagingStudy", "subject"): {"Patient", "Device", "Group"},
}  # fmt: skip
NEEDED = {"DiagnosticReport": ("code",), "Observation": ("code",), "ImagingStudy": ("subject",)}
ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
OID = re.compile(r"urn:oid:[0-2](\.(0|[1-9]\d*))+")


def checked(document: bytes) -> list[Resource]:
    """The resources of a Bundle that keeps the rules; AssertionError or ValidationError otherwise."""
    Bundle.model_validate_json(document)
    made = json.loads(document)
    assert made["resourceType"] == "Bundle" and len(made["entry"]) >= 1
    resources = {entry["fullUrl"]: entry["resource"] for entry in made["entry"]}
    assert len(resources) == len(made["entry"])
    for url, resource in (("", made), *resources.items()):
        _one(resource, resources)
        assert not url or url == f"urn:uuid:{resource['id']}"
    return list(resources.values())


def _one(resource: Resource, others: dict[str, Resource]) -> None:
    kind = resource["resourceType"]
    assert ID.fullmatch(resource["id"])
    assert all(resource.get(name) for name in NEEDED.get(kind, ()))
    for name in ("status", "type"):
        if (kind, name) in BINDINGS:
            assert resource[name] in BINDINGS[kind, name], (kind, resource[name])
    for name, value in resource.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and ("reference" in item or (kind, name) in TARGETS):
                assert item["type"] in TARGETS[kind, name], (kind, name, item)
                if "reference" in item:
                    assert others[item["reference"]]["resourceType"] == item["type"]
    for identifier in resource.get("identifier", ()):
        assert identifier.get("system") != "urn:dicom:uid" or OID.fullmatch(identifier["value"])
