"""The Store Instances Response (PS3.18, I.2), as DICOM JSON (annex F) and as the Native DICOM Model in XML (PS3.19, A.1)."""

from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import orjson

from gateway.dicomweb.accept import accepted
from gateway.studies.header import Identifiers

JSON, XML = "application/dicom+json", "application/dicom+xml"

_KEYWORDS = {
    "00081150": ("UI", "ReferencedSOPClassUID"),
    "00081155": ("UI", "ReferencedSOPInstanceUID"),
    "00081190": ("UR", "RetrieveURL"),
    "00081197": ("US", "FailureReason"),
    "00081198": ("SQ", "FailedSOPSequence"),
    "00081199": ("SQ", "ReferencedSOPSequence"),
    "0008119A": ("SQ", "OtherFailuresSequence"),
}
_Items = list[dict[str, Any]]


@dataclass
class StoreAnswer:
    """What became of each instance of one request."""

    stored: list[Identifiers] = field(default_factory=list)
    failed: list[tuple[Identifiers, int]] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)  # failure reasons of parts whose UIDs can't be read

    @property
    def status(self) -> int:
        """200 for all stored, 202 for some, 409 for none (PS3.18, table 10.5.3-1)."""
        if not self.failed and not self.unknown:
            return 200
        return 202 if self.stored else 409

    def render(self, media_type: str) -> bytes:
        """The data set; Retrieve URL (0008,1190) is empty."""
        content = {
            "00081190": [],
            "00081198": [{**_reference(ids), "00081197": [reason]} for ids, reason in self.failed],
            "00081199": [_reference(ids) for ids in self.stored],
            "0008119A": [{"00081197": [reason]} for reason in self.unknown],
        }
        kept = {tag: values for tag, values in content.items() if values or tag == "00081190"}
        if media_type == XML:
            root = Element("NativeDicomModel", {"xml:space": "preserve"})
            _xml(root, kept)
            return bytes(tostring(root, encoding="utf-8", xml_declaration=True))
        return orjson.dumps(_json(kept))


def negotiated(accept: str) -> str:
    """JSON or XML, whichever is wished more. Raises CodedError(NOT_ACCEPTABLE)."""
    wished = accepted(accept, JSON, XML, "application/json", "application/xml")
    return XML if wished.endswith("xml") else JSON


def _reference(ids: Identifiers) -> dict[str, Any]:
    return {"00081150": [ids.sop_class], "00081155": [ids.sop_instance]}


def _json(content: dict[str, Any]) -> dict[str, Any]:
    return {
        tag: {
            "vr": _KEYWORDS[tag][0],
            **({"Value": [_json(v) if isinstance(v, dict) else v for v in values]} if values else {}),
        }
        for tag, values in content.items()
    }


def _xml(parent: Element, content: dict[str, Any]) -> None:
    for tag, values in content.items():
        vr, keyword = _KEYWORDS[tag]
        attribute = SubElement(parent, "DicomAttribute", {"tag": tag, "vr": vr, "keyword": keyword})
        for number, value in enumerate(values, 1):
            if isinstance(value, dict):
                _xml(SubElement(attribute, "Item", {"number": str(number)}), value)
            else:
                SubElement(attribute, "Value", {"number": str(number)}).text = str(value)
