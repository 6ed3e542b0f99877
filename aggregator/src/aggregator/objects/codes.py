"""Codes as the library for DICOM objects takes them."""

from functools import lru_cache

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from thorax.coding import Concept

TITLE = Code("126000", "DCM", "Imaging Measurement Report")
DEVICE = codes.DCM.Device


@lru_cache(maxsize=256)
def code(concept: Concept) -> CodedConcept:
    """A concept, as an item of a code sequence that all who say it share."""
    return CodedConcept(concept.value, concept.scheme, concept.meaning)
