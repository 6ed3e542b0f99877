"""What DICOM calls our errors: C-STORE statuses (PS3.4, B.2.3), which are STOW-RS failure reasons too (PS3.18, I.2)."""

from thorax.errors import Code

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
OUT_OF_RESOURCES = 0xA700
MISMATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000

_STATUSES = {
    Code.UNREADABLE_IMAGE: CANNOT_UNDERSTAND,
    Code.BODY_TOO_LARGE: CANNOT_UNDERSTAND,  # not out of resources: it is never smaller when it is sent again
    Code.VALIDATION: MISMATCH,
    Code.QUOTA_EXCEEDED: OUT_OF_RESOURCES,
    Code.OVERLOADED: OUT_OF_RESOURCES,
    Code.STORAGE_FULL: OUT_OF_RESOURCES,
    Code.UNAVAILABLE: OUT_OF_RESOURCES,
}


def status_of(code: Code) -> int:
    """The status for an error; senders try again after Out of Resources."""
    return _STATUSES.get(code, PROCESSING_FAILURE)
