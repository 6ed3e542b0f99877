"""What a client accepts (RFC 9110, 12.5.1; PS3.18, 8.7): media types in the order of its wish, and transfer syntaxes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.studies.header import EXPLICIT_LITTLE
from thorax.errors import Code, CodedError
from thorax.image_headers import DICOM

OCTETS = "application/octet-stream"
_RELATED = "multipart/related"
_MEMBER = re.compile(r'(?:[^,"]|"[^"]*")+')
_PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*("[^"]*"|[^;\s]*)')
_OF_FRAMES = {  # PS3.18, table 8.7.3-5
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), "image/jls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (201, 202, 203)), "image/jphc"),
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
_MOST = 4096  # characters of the header that are looked at


@dataclass(frozen=True)
class Wish:
    """One media type that a client accepts; of a multipart/related that of its parts. `syntax` is None where it names none."""

    media_type: str
    syntax: str | None
    multipart: bool

    def takes(self, media_type: str) -> bool:
        """Whether the media type is the wished one or within its range."""
        wished = self.media_type.replace("image/x-", "image/")
        return wished in ("*/*", media_type, media_type.partition("/")[0] + "/*")


def wishes(accept: str) -> list[Wish]:
    """What an Accept header names, the most wished first; everything for an empty one."""
    found = []
    for member in _MEMBER.findall(accept[:_MOST]) or ["*/*"]:
        kind = member.partition(";")[0].strip().lower()
        parameters = {name.lower(): value.strip('"') for name, value in _PARAMETER.findall(member)}
        multipart = kind == _RELATED
        media_type = parameters.get("type", "*/*").lower() if multipart else kind
        try:
            quality = float(parameters.get("q", 1))
        except ValueError:
            quality = 0.0
        if quality > 0:
            found.append((quality, Wish(media_type, parameters.get("transfer-syntax"), multipart)))
    return [wish for _, wish in sorted(found, key=lambda pair: -pair[0])]


def accepted(accept: str, *offers: str) -> str:
    """The offered media type that the client wishes most. Raises CodedError(NOT_ACCEPTABLE)."""
    for wish in wishes(accept):
        for offer in offers:
            if wish.takes(offer):
                return offer
    raise not_acceptable(f"It is served as {' or '.join(offers)}.")


def wants_stored(wished: Sequence[Wish], stored: str) -> bool:
    """Whether a file is sent in the transfer syntax `stored` that it has; without one named it is Explicit VR Little Endian.

    Raises CodedError(NOT_ACCEPTABLE).
    """
    for wish in wished:
        if wish.takes(DICOM) and wish.syntax in ("*", stored):
            return True
        if wish.takes(DICOM) and wish.syntax in (None, EXPLICIT_LITTLE):
            return stored == EXPLICIT_LITTLE
    syntaxes = dict.fromkeys((EXPLICIT_LITTLE, stored, "`*`"))
    raise not_acceptable(f"Accept `{DICOM}` with a transfer syntax of these: {', '.join(syntaxes)}.")


def frame_type(wished: Sequence[Wish], stored: str) -> tuple[str, Wish]:
    """The media type in which frames are sent, `OCTETS` for native ones, and the wish that decided it."""
    compressed = _OF_FRAMES.get(stored)
    for wish in wished:
        if compressed and (
            wish.syntax in ("*", stored) or (wish.syntax is None and wish.media_type == compressed)
        ):
            return compressed, wish
        if wish.takes(OCTETS) and wish.syntax in (None, "*", EXPLICIT_LITTLE):
            return OCTETS, wish
    raise not_acceptable(f"Accept `{OCTETS}`" + (f" or `{compressed}`." if compressed else "."))


def not_acceptable(detail: str) -> CodedError:
    """406, with what there is."""
    return CodedError(Code.NOT_ACCEPTABLE, detail)
