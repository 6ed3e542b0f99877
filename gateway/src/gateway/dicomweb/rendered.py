"""HTTP for the rendered resources of WADO-RS (PS3.18, 10.4.1.1.3 and 10.4.1.1.4): images as people see them, and thumbnails."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response

from gateway.dicomweb.accept import accepted, not_acceptable, wishes
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
from gateway.dicomweb.bodies import Body, Piece, held, related, single
from gateway.images.endpoints import RENDERERS
from gateway.images.viewport import Viewport, parse
from thorax.errors import Code, CodedError
from thorax.forms import PICTURES, RENDERED_JPEG, RENDERED_PNG, THUMBNAIL, Forms
from thorax.image_headers import JPEG, PNG

router = APIRouter(prefix=ROOT, tags=["DICOM"])

_MOST_FRAMES = 1000


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


def _add_level(level: str, path: str, target_of: Any) -> None:
    Wanted = Annotated[Target, Depends(target_of)]  # noqa: N806

    @router.get(
        f"{path}/thumbnail",
        name=f"retrieve_{level}_thumbnail",
        responses=binary(JPEG),
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
        responses=binary(JPEG, PNG, f'multipart/related; type="{JPEG}"'),
        response_class=Response,
    )
    async def rendered(asked: Asked, target: Wanted, viewport: Shown) -> Response:
        """Fetch the images as they are shown: with the file's VOI LUT or window, and MONOCHROME1 inverted."""
        return await _rendered(asked, target, viewport)


for _level in LEVELS:
    _add_level(*_level)


@router.get(f"{INSTANCE}/frames/{{frames}}/rendered", responses=binary(JPEG, PNG), response_class=Response)
async def retrieve_rendered_frames(
    asked: Asked, target: Instance, frames: Frames, viewport: Shown
) -> Response:
    """Fetch the first frame as it is shown."""
    if frame_numbers(frames, _MOST_FRAMES) != [1]:
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


def _picture(stored: Stored, forms: Forms, blob: str, media_type: str) -> Body:
    if error := forms.error or forms.undecodable:
        raise CodedError(error)
    if not forms.pictures:
        raise not_acceptable("This instance is not an image.")
    return Body(media_type, (Piece(stored.id, blob, (0, forms.pictures[PICTURES.index(blob)])),))
