"""Codes as the library for DICOM objects takes them."""

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from thorax.coding import Concept

TITLE = Code("126000", "DCM", "Imaging Measurement Report")
DEVICE = codes.DCM.Device


def code(concept: Concept) -> Code:
    """A concept, as pydicom has it."""
    return Code(concept.value, concept.scheme, concept.meaning)
