"""What a request of DICOMweb asks for: of whom, which study, series or instance, what it accepts, and what it may be answered."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Path, Request

from gateway.audit import Looks
from gateway.dicomweb.archive import Archive, Stored, Target
from thorax.errors import Code, CodedError
from thorax.forms import Forms
from thorax.http.authentication import Reader
from thorax.http.problems import responses
from thorax.storage import BlobStore

ROOT = "/dicomweb"
STUDY = "/studies/{study}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{sop}}"
_ERRORS = (Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.NOT_FOUND)
_FORM_ERRORS = (*_ERRORS, Code.NOT_ACCEPTABLE, Code.UNREADABLE_IMAGE, Code.DECODE_LIMIT, Code.UNAVAILABLE)

StudyUid = Annotated[str, Path(description="Study Instance UID")]
SeriesUid = Annotated[str, Path(description="Series Instance UID")]
SopUid = Annotated[str, Path(description="SOP Instance UID")]


def of_study(study: StudyUid) -> Target:
    """A whole study."""
    return Target(study)


def of_series(study: StudyUid, series: SeriesUid) -> Target:
    """One series of it."""
    return Target(study, series)


def of_instance(study: StudyUid, series: SeriesUid, sop: SopUid) -> Target:
    """One instance."""
    return Target(study, series, sop)


LEVELS = (("study", STUDY, of_study), ("series", SERIES, of_series), ("instance", INSTANCE, of_instance))


class Retrieval:
    """One request: whose, and what it accepts."""

    def __init__(self, request: Request, caller: Reader) -> None:
        self.tenant_id, self.accept = caller.tenant_id, request.headers.get("accept", "")
        self.archive: Archive = request.app.state.archive
        self.blobs: BlobStore = request.app.state.blobs
        self.looks: Looks = request.app.state.looks
        scheme = urlsplit(request.app.state.settings.issuer).scheme  # a proxy may end TLS before us
        self.root = f"{scheme}://{request.url.netloc}{ROOT}"

    async def found(self, target: Target) -> list[Stored]:
        """The instances. Raises CodedError(NOT_FOUND)."""
        found = await self.archive.find(self.tenant_id, target)
        await self.looks.note(self.tenant_id, [one.id for one in found], "dicomweb")
        return found

    async def one(self, target: Target) -> tuple[Stored, Forms]:
        """The instance and its forms. Raises CodedError if it has none."""
        [(stored, forms)] = await self.archive.with_forms(self.tenant_id, await self.found(target))
        if forms.error:
            raise CodedError(forms.error)
        return stored, forms


Asked = Annotated[Retrieval, Depends(Retrieval)]
Instance = Annotated[Target, Depends(of_instance)]
Frames = Annotated[str, Path(description="Frame numbers from 1, with commas", max_length=4096)]


def binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of answers that are files of these media types."""
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {
        200: {"description": "Found.", "content": dict.fromkeys(media_types, schema)},
        **responses(*_FORM_ERRORS),
    }


def frame_numbers(frames: str, count: int) -> list[int]:
    """Frame numbers of a path. Raises CodedError: VALIDATION, or NOT_FOUND past the last."""
    try:
        numbers = [int(number) for number in frames.split(",")]
    except ValueError:
        raise CodedError(Code.VALIDATION, "Frame numbers are whole numbers with commas between.") from None
    if not all(1 <= number <= count for number in numbers):
        raise CodedError(Code.NOT_FOUND, f"There are {count} frames; the first is 1.")
    return numbers
