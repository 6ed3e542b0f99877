"""The forms of a DICOM instance that DICOMweb serves besides the stored file. A worker's sandbox makes them (docs/adr/0024)."""

from dataclasses import dataclass, field
from typing import Final

from thorax.errors import Code

EXPLICIT: Final = (
    "explicit.dcm"  # the file as Explicit VR Little Endian, where it is stored in another encoding
)
METADATA: Final = "metadata.json"  # DICOM JSON (PS3.18, F.2) without bulk data
RENDERED_JPEG: Final = "rendered.jpg"
RENDERED_PNG: Final = "rendered.png"
THUMBNAIL: Final = "thumbnail.jpg"
PICTURES: Final = (RENDERED_JPEG, RENDERED_PNG, THUMBNAIL)
BULK_URI: Final = b'"BulkDataURI":"bulkdata/'  # what stands in METADATA before an element's tag
LONGEST_INLINE: Final = 1024  # bytes of a value that METADATA says itself

Part = tuple[int, int]
"""Bytes of a file, from the first to before the second."""


@dataclass(frozen=True)  # and not a pydantic model, which would make each fork of the decoders larger
class Forms:
    """Which forms there are, and where in them pixels and other bulk data lie.

    `explicit_size`: bytes of `EXPLICIT`, None where the stored file is Explicit VR Little Endian itself. `frames` and `bulk`
    (by tag, such as 7FE00010) lie in that form, `stored_frames` in the stored file: the fragments of each compressed frame
    (PS3.5, A.4), empty where the pixels are stored native. `pictures`: bytes of each of `PICTURES`. `undecodable`: why the
    pixels can't be decoded. `error`: why it has no form at all.
    """

    explicit_size: int | None = None
    frames: tuple[Part, ...] = ()
    stored_frames: tuple[tuple[Part, ...], ...] = ()
    bulk: dict[str, Part] = field(default_factory=dict)
    pictures: tuple[int, ...] = ()
    undecodable: Code | None = None
    error: Code | None = None
