"""What is negotiated: the storage classes that can hold a radiograph, in the transfer syntaxes that workers decode.

An AE title may take documents as well, from a PACS that would call a study failed for an object that it can't send.
"""

from collections.abc import Iterable

from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

VERIFICATION = "1.2.840.10008.1.1"
_STORAGE = "1.2.840.10008.5.1.4.1.1."
RADIOGRAPHS = tuple(
    _STORAGE + leaf
    for leaf in ("1", "1.1", "1.1.1", "7", "7.1", "7.2", "7.3", "7.4")  # CR, DX (both), secondary capture
)
DOCUMENTS = tuple(
    _STORAGE + leaf
    for leaf in (
        "11.1",
        "88.11",
        "88.22",
        "88.33",
        "104.1",
    )  # GSPS; basic text, enhanced, comprehensive SR; PDF
)
_SYNTAX = "1.2.840.10008.1.2"
UNCOMPRESSED = (f"{_SYNTAX}.1", _SYNTAX)
TRANSFER_SYNTAXES = (
    *UNCOMPRESSED,
    *(f"{_SYNTAX}.2", f"{_SYNTAX}.1.99", f"{_SYNTAX}.5"),  # big endian, deflated, RLE
    *(f"{_SYNTAX}.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)),  # the JPEG family
)


def supported(sop_classes: Iterable[str] = RADIOGRAPHS) -> list[PresentationContext]:
    """The presentation contexts that are accepted: Verification, and the storage of these classes."""
    return [
        build_context(VERIFICATION, list(UNCOMPRESSED)),
        *(build_context(sop_class, list(TRANSFER_SYNTAXES)) for sop_class in sop_classes),
    ]


def prefer_the_senders_order(proposed: Iterable[PresentationContext]) -> None:
    """Leave of each proposed context the first transfer syntax that is supported.

    pynetdicom takes the first of the acceptor's list; a sender that keeps its files compressed and names that syntax
    first could then not send them.
    """
    for context in proposed:
        first = next((uid for uid in context.transfer_syntax if uid in TRANSFER_SYNTAXES), None)
        if first is not None:
            context.transfer_syntax = [first]
