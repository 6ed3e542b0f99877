"""HTTP for WADO-RS (PS3.18, 10.4): instances, metadata, frames and bulk data of what a tenant has stored."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import StreamingResponse

from gateway.dicomweb.accept import OCTETS, accepted, frame_type, not_acceptable, wants_stored, wishes
from gateway.dicomweb.answer import JSON
from gateway.dicomweb.archive import Stored, Target
from gateway.dicomweb.asked import (
    INSTANCE,
    LEVELS,
    ROOT,
    Asked,
    Frames,
    Instance,
    Retrieval,
    binary,
    frame_numbers,
)
from gateway.dicomweb.bodies import Body, Piece, related, single
from gateway.images.endpoints import HEADERS
from gateway.studies.header import EXPLICIT_LITTLE
from thorax.errors import Code, CodedError
from thorax.forms import BULK_URI, EXPLICIT, METADATA, Forms, Part
from thorax.image_headers import DICOM
from thorax.storage import ORIGINAL

router = APIRouter(prefix=ROOT, tags=["DICOM"])


def _add_level(level: str, path: str, target_of: Any) -> None:
    Wanted = Annotated[Target, Depends(target_of)]  # noqa: N806

    @router.get(
        path,
        name=f"retrieve_{level}",
        responses=binary(f'multipart/related; type="{DICOM}"'),
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
        responses=binary(JSON),
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


for _level in LEVELS:
    _add_level(*_level)


@router.get(
    f"{INSTANCE}/frames/{{frames}}",
    responses=binary(f'multipart/related; type="{OCTETS}"'),
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
        for n in frame_numbers(frames, len(parts))
    ]
    if len(bodies) == 1 and not wish.multipart and wish.media_type != "*/*":
        return await single(asked.blobs, bodies[0])
    return await related(asked.blobs, bodies)


@router.get(f"{INSTANCE}/bulkdata/{{tag}}", responses=binary(OCTETS), response_class=Response)
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
