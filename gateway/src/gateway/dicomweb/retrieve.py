"""HTTP for WADO-RS (PS3.18, 10.4): instances, metadata, frames, bulk data and pictures of what a tenant has stored."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from gateway.audit import Looks
from gateway.dicomweb.accept import (
    OCTETS,
    accepted,
    frame_type,
    not_acceptable,
    wants_stored,
    wishes,
)
from gateway.dicomweb.answer import JSON
from gateway.dicomweb.archive import Archive, Stored, Target
from gateway.dicomweb.bodies import Body, Piece, held, related, single
from gateway.dicomweb.viewport import Viewport, parse
from gateway.images.endpoints import HEADERS, RENDERERS
from gateway.studies.header import EXPLICIT_LITTLE
from thorax.errors import Code, CodedError
from thorax.forms import (
    BULK_URI,
    EXPLICIT,
    METADATA,
    PICTURES,
    RENDERED_JPEG,
    RENDERED_PNG,
    THUMBNAIL,
    Forms,
    Part,
)
from thorax.http.authentication import Reader
from thorax.http.problems import responses
from thorax.image_headers import DICOM, JPEG, PNG
from thorax.storage import ORIGINAL, BlobStore

router = APIRouter(prefix="/dicomweb", tags=["DICOM"])

STUDY = "/studies/{study}"
SERIES = f"{STUDY}/series/{{series}}"
INSTANCE = f"{SERIES}/instances/{{sop}}"
_MOST_FRAMES = 1000
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
        self.root = f"{scheme}://{request.url.netloc}{router.prefix}"

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


def _viewport(
    viewport: Annotated[
        str | None,
        Query(
            max_length=100,
            description="vw,vh or vw,vh,sx,sy,sw,sh (PS3.18, 8.3.5.1.3).",
            examples=["256,256"],
        ),
    ] = None,
) -> Viewport | None:
    return None if viewport is None else parse(viewport)


Shown = Annotated[Viewport | None, Depends(_viewport)]


def _binary(*media_types: str) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {
        200: {"description": "Found.", "content": dict.fromkeys(media_types, schema)},
        **responses(*_FORM_ERRORS),
    }


def _add_level(level: str, path: str, target_of: Any) -> None:
    Wanted = Annotated[Target, Depends(target_of)]  # noqa: N806

    @router.get(
        path,
        name=f"retrieve_{level}",
        responses=_binary(f'multipart/related; type="{DICOM}"'),
        response_class=Response,
    )
    async def retrieve(asked: Asked, target: Wanted) -> StreamingResponse:
        """Fetch DICOM files: as Explicit VR Little Endian, or with `transfer-syntax=*` as they are stored."""
        wished, found = wishes(asked.accept), await asked.found(target)
        as_stored = [wants_stored(wished, one.transfer_syntax) for one in found]
        converted = [one for one, stored in zip(found, as_stored, strict=True) if not stored]
        forms = {one.id: made for one, made in await asked.archive.with_forms(asked.tenant_id, converted)}
        bodies = [_file(asked, target.study, one, forms.get(one.id)) for one in found]
        if level == "instance" and not any(wish.multipart or wish.media_type == "*/*" for wish in wished):
            return await single(asked.blobs, bodies[0])
        return await related(asked.blobs, bodies)

    @router.get(
        f"{path}/metadata",
        name=f"retrieve_{level}_metadata",
        responses=_binary(JSON),
        response_class=Response,
    )
    async def metadata(asked: Asked, target: Wanted) -> Response:
        """Fetch the data sets as DICOM JSON, in UTF-8, with links to bulk data."""
        accepted(asked.accept, JSON, "application/json")
        found = await asked.archive.with_forms(asked.tenant_id, await asked.found(target))
        readable = [one for one, forms in found if not forms.error]
        if not readable:
            raise CodedError(found[0][1].error or Code.NOT_FOUND)
        sets = [await _data_set(asked, target.study, one) for one in readable]
        return Response(b"[" + b",".join(sets) + b"]", media_type=JSON, headers=HEADERS)

    @router.get(
        f"{path}/thumbnail",
        name=f"retrieve_{level}_thumbnail",
        responses=_binary(JPEG),
        response_class=Response,
    )
    async def thumbnail(asked: Asked, target: Wanted, viewport: Shown) -> Response:
        """Fetch a small picture, of a study's or series' first image."""
        accepted(asked.accept, JPEG)
        if viewport and viewport != Viewport(viewport.width, viewport.height):
            raise CodedError(Code.VALIDATION, "The `viewport` of a thumbnail is its width and height.")
        first = (await asked.found(target))[0]
        [(stored, forms)] = await asked.archive.with_forms(asked.tenant_id, [first])
        if viewport:
            return held([await _region(asked, stored, forms, viewport, JPEG)], JPEG)
        return await single(asked.blobs, _picture(stored, forms, THUMBNAIL, JPEG))

    @router.get(
        f"{path}/rendered",
        name=f"retrieve_{level}_rendered",
        responses=_binary(JPEG, PNG, f'multipart/related; type="{JPEG}"'),
        response_class=Response,
    )
    async def rendered(asked: Asked, target: Wanted, viewport: Shown) -> Response:
        """Fetch the images as they are shown: with the file's VOI LUT or window, and MONOCHROME1 inverted."""
        return await _rendered(asked, target, viewport)


for _level in LEVELS:
    _add_level(*_level)

Instance = Annotated[Target, Depends(of_instance)]
Frames = Annotated[str, Path(description="Frame numbers from 1, with commas", max_length=4096)]


@router.get(
    f"{INSTANCE}/frames/{{frames}}",
    responses=_binary(f'multipart/related; type="{OCTETS}"'),
    response_class=Response,
)
async def retrieve_frames(asked: Asked, target: Instance, frames: Frames) -> StreamingResponse:
    """Fetch frames: native, or compressed as they are stored where `transfer-syntax=*` or their media type is accepted."""
    stored, forms = await asked.one(target)
    media_type, wish = frame_type(wishes(asked.accept), stored.transfer_syntax)
    if media_type == OCTETS:
        syntax, blob = EXPLICIT_LITTLE, _explicit(forms)
        parts: list[tuple[Part, ...]] = [(frame,) for frame in _native(forms)]
    else:
        syntax, blob, parts = stored.transfer_syntax, ORIGINAL, list(forms.stored_frames)
    bodies = [
        Body(
            f"{media_type}; transfer-syntax={syntax}",
            tuple(Piece(stored.id, blob, part) for part in parts[n - 1]),
        )
        for n in _numbers(frames, len(parts))
    ]
    if len(bodies) == 1 and not wish.multipart and wish.media_type != "*/*":
        return await single(asked.blobs, bodies[0])
    return await related(asked.blobs, bodies)


@router.get(f"{INSTANCE}/frames/{{frames}}/rendered", responses=_binary(JPEG, PNG), response_class=Response)
async def retrieve_rendered_frames(
    asked: Asked, target: Instance, frames: Frames, viewport: Shown
) -> Response:
    """Fetch the first frame as it is shown."""
    if _numbers(frames, _MOST_FRAMES) != [1]:
        raise not_acceptable("Of the frames the first is rendered.")
    return await _rendered(asked, target, viewport)


async def _rendered(asked: Retrieval, target: Target, viewport: Viewport | None) -> Response:
    """The pictures of all images of a target: one alone, where that is accepted, and several as parts (PS3.18, 8.7.4).

    What is not an image, or can't be decoded, has none, unless there is nothing else.
    """
    media_type = accepted(asked.accept, JPEG, PNG)
    blob = RENDERED_JPEG if media_type == JPEG else RENDERED_PNG
    wish = next(wish for wish in wishes(asked.accept) if wish.takes(media_type))
    found = await asked.archive.with_forms(asked.tenant_id, await asked.found(target))
    shown = [(one, forms) for one, forms in found if forms.pictures and not forms.undecodable] or found[:1]
    alone = len(shown) == 1 and not wish.multipart
    if not (alone or wish.multipart or wish.media_type == "*/*"):
        raise not_acceptable(
            f'There are {len(shown)} images. Accept `multipart/related; type="{media_type}"`.'
        )
    if viewport:
        made = [await _region(asked, one, forms, viewport, media_type) for one, forms in shown]
        return held(made, media_type, multipart=not alone)
    bodies = [_picture(one, forms, blob, media_type) for one, forms in shown]
    return await (single(asked.blobs, bodies[0]) if alone else related(asked.blobs, bodies))


async def _region(
    asked: Retrieval, stored: Stored, forms: Forms, viewport: Viewport, media_type: str
) -> bytes:
    """The part of a picture that a viewport shows."""
    from gateway.images import rendering

    [piece] = _picture(stored, forms, RENDERED_PNG, PNG).pieces
    try:
        png = await asked.blobs.get_async(stored.id, piece.blob)
    except FileNotFoundError:
        raise CodedError(Code.NOT_FOUND, "The image was erased.") from None
    jpeg = media_type == JPEG
    return await to_thread.run_sync(lambda: rendering.region(png, viewport, jpeg=jpeg), limiter=RENDERERS)


@router.get(f"{INSTANCE}/bulkdata/{{tag}}", responses=_binary(OCTETS), response_class=Response)
async def retrieve_bulkdata(
    asked: Asked, target: Instance, tag: Annotated[str, Path(description="Such as 7FE00010", max_length=8)]
) -> StreamingResponse:
    """Fetch the value of one element that the metadata link to, as Explicit VR Little Endian."""
    stored, forms = await asked.one(target)
    _, wish = frame_type(wishes(asked.accept), EXPLICIT_LITTLE)
    if tag not in forms.bulk:
        raise CodedError(Code.NOT_FOUND, "The metadata link to no such element.")
    body = Body(OCTETS, (Piece(stored.id, _explicit(forms), forms.bulk[tag]),))
    return await (related(asked.blobs, [body]) if wish.multipart else single(asked.blobs, body))


def _url(asked: Retrieval, study: str, one: Stored) -> str:
    return f"{asked.root}{INSTANCE.format(study=study, series=one.series, sop=one.sop)}"


def _file(asked: Retrieval, study: str, one: Stored, forms: Forms | None) -> Body:
    """The stored file, or with `forms` its Explicit VR Little Endian."""
    piece, syntax = Piece(one.id, ORIGINAL, (0, one.size)), one.transfer_syntax
    if forms:
        if forms.explicit_size is None:
            raise not_acceptable(f"This image can't be decoded. Accept its transfer syntax, {syntax} or `*`.")
        piece, syntax = Piece(one.id, EXPLICIT, (0, forms.explicit_size)), EXPLICIT_LITTLE
    return Body(f"{DICOM}; transfer-syntax={syntax}", (piece,), _url(asked, study, one))


async def _data_set(asked: Retrieval, study: str, one: Stored) -> bytes:
    """DICOM JSON of one instance, with whole URLs of its bulk data."""
    try:
        stored = await asked.blobs.get_async(one.id, METADATA)
    except FileNotFoundError:
        raise CodedError(Code.NOT_FOUND, "The image was erased.") from None
    return stored.replace(BULK_URI, b'"BulkDataURI":"' + _url(asked, study, one).encode() + b"/bulkdata/")


def _explicit(forms: Forms) -> str:
    """The blob in which native frames and bulk data lie."""
    return ORIGINAL if forms.explicit_size is None else EXPLICIT


def _native(forms: Forms) -> tuple[Part, ...]:
    if forms.undecodable:
        raise not_acceptable("The frames can't be decoded. Accept `transfer-syntax=*`.")
    return forms.frames


def _picture(stored: Stored, forms: Forms, blob: str, media_type: str) -> Body:
    if error := forms.error or forms.undecodable:
        raise CodedError(error)
    if not forms.pictures:
        raise not_acceptable("This instance is not an image.")
    return Body(media_type, (Piece(stored.id, blob, (0, forms.pictures[PICTURES.index(blob)])),))


def _numbers(frames: str, count: int) -> list[int]:
    """Frame numbers of a path. Raises CodedError: VALIDATION, or NOT_FOUND past the last."""
    try:
        numbers = [int(number) for number in frames.split(",")]
    except ValueError:
        raise CodedError(Code.VALIDATION, "Frame numbers are whole numbers with commas between.") from None
    if not all(1 <= number <= count for number in numbers):
        raise CodedError(Code.NOT_FOUND, f"There are {count} frames; the first is 1.")
    return numbers
