"""Pictures of a job's images, rendered on request: the image, a heatmap, both, and the raw maps.

OpenCV and numpy are imported by the first request: 25 MB, which a gateway that only takes uploads does not need.
"""

import io
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from gateway.audit import Looks
from gateway.jobs.endpoints import (
    ACCOUNT_ERRORS,
    READ_ERRORS,
    Dependency,
    Service,
    entity_tag,
    open_job,
    own_job,
    seen_versions,
)
from gateway.jobs.repository import AnyRow
from gateway.jobs.service import Access, JobService, known_finding
from thorax.errors import Code, CodedError
from thorax.findings import FINDINGS
from thorax.http import problems
from thorax.http.conditions import UnsatisfiableRangeError, attachment, byte_range, matches
from thorax.http.problems import responses
from thorax.image_headers import DICOM, JPEG, PNG
from thorax.storage import DISPLAY, ORIGINAL, BlobStore

if TYPE_CHECKING:
    from numpy import float16
    from numpy.typing import NDArray

    Map = NDArray[float16]

jobs = APIRouter(prefix="/v1/jobs", tags=["images"], responses=ACCOUNT_ERRORS)
anonymous = APIRouter(prefix="/v1/anonymous/jobs", tags=["open API"])

Size = Annotated[int, Query(ge=64, le=2048, description="Longest side in pixels.")]
Opacity = Annotated[float, Query(ge=0, le=1)]
ColorMap = Literal["inferno", "viridis", "magma", "plasma", "turbo"]
PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "Not changed."},
    **READ_ERRORS,
    **responses(Code.NOT_FOUND, Code.UNKNOWN_FINDING, Code.NOT_READY, Code.UNREADABLE_IMAGE),
}
ARCHIVE = "application/octet-stream"
SUFFIXES = {DICOM: ".dcm", PNG: ".png", JPEG: ".jpg"}


def _file(*media_types: str) -> dict[int | str, dict[str, Any]]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    content = dict.fromkeys(media_types, binary)
    return {200: {"description": "The file.", "content": content}, **READ_ERRORS}


_ORIGINAL = {
    **_file(DICOM, PNG, JPEG),
    206: {"description": "The part that `Range` asks for."},
    304: {"description": "Not changed."},
    **responses(Code.RANGE),
}
RENDERERS = CapacityLimiter(2)  # one needs up to 80 MB
# Browsers keep a picture, and ask each time whether a retry has replaced it: the ETag is the job's version.
HEADERS = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class ImageRequest:
    """A request for a picture of an image; `seen`: the job's versions whose picture the client has already."""

    service: JobService
    blobs: BlobStore
    looks: Looks
    access: Access
    instance_id: UUID
    seen: Collection[int]

    async def picture(
        self, render: Callable[..., bytes], pixels: str, finding: str | None = None
    ) -> Response:
        """What `render` makes of the display image, and of the map of a finding; nothing is rendered if the current one was seen."""
        version, _ = await self.service.version(self.access)
        headers = {**HEADERS, "ETag": entity_tag(version)}
        if version in self.seen:
            return Response(status_code=304, headers=headers)
        if finding is None:
            await self.service.prepared(self.access, self.instance_id)
        maps = () if finding is None else (await self._map(finding),)
        try:
            display = await self.blobs.get_async(self.instance_id, DISPLAY)
        except FileNotFoundError:
            raise CodedError(Code.NOT_FOUND, "The picture was erased.") from None
        await self.looks.note(self.access.tenant_id, [self.instance_id], pixels)
        png = await to_thread.run_sync(render, display, *maps, limiter=RENDERERS)
        return Response(png, media_type=PNG, headers=headers)

    async def _map(self, name: str) -> "Map":
        place = FINDINGS.index(known_finding(name))
        chosen: Map = _array(*await self.service.maps(self.access, self.instance_id))[place]
        return chosen


def _array(maps: bytes, shape: list[int]) -> "Map":
    import numpy as np

    return np.frombuffer(maps, np.float16).reshape(shape)


def add_picture_routes(router: APIRouter, path: str, readable: Dependency) -> None:
    """Give a router the pictures of one image of a job, and the files behind them."""
    base = f"{path}/images/{{instance_id}}"

    async def image_request(
        request: Request,
        service: Service,
        access: Annotated[Access, Depends(readable)],
        instance_id: UUID,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> ImageRequest:
        state, seen = request.app.state, seen_versions(if_none_match)
        return ImageRequest(service, state.blobs, state.looks, access, instance_id, seen)

    _add_pictures(router, base, image_request)
    _add_files(router, base, readable)


def _add_pictures(
    router: APIRouter, base: str, image_request: Callable[..., Awaitable[ImageRequest]]
) -> None:
    Wanted = Annotated[ImageRequest, Depends(image_request)]  # noqa: N806

    @router.get(f"{base}/image.png", responses=PICTURE, response_class=Response)
    async def get_image(wanted: Wanted, size: Size = 1024) -> Response:
        """Fetch the image prepared for display: 8-bit grey, bone bright, turned as EXIF says (DICOM: as stored)."""

        def render(display: bytes) -> bytes:
            from gateway.images import rendering

            return rendering.grey(display, size)

        return await wanted.picture(render, "image")

    @router.get(f"{base}/heatmaps/{{finding}}.png", responses=PICTURE, response_class=Response)
    async def get_heatmap(
        wanted: Wanted, finding: str, size: Size = 1024, colormap: ColorMap = "inferno"
    ) -> Response:
        """Fetch the heatmap of one finding, transparent where it is cold."""

        def render(display: bytes, chosen: "Map") -> bytes:
            from gateway.images import rendering

            return rendering.heatmap(chosen, rendering.fitted(display, size), colormap)

        return await wanted.picture(render, f"heatmaps/{finding}", finding)

    @router.get(f"{base}/overlay/{{finding}}.png", responses=PICTURE, response_class=Response)
    async def get_overlay(
        wanted: Wanted,
        finding: str,
        size: Size = 1024,
        opacity: Opacity = 0.5,
        colormap: ColorMap = "inferno",
    ) -> Response:
        """Fetch the heatmap of one finding over the image."""

        def render(display: bytes, chosen: "Map") -> bytes:
            from gateway.images import rendering

            return rendering.overlay(display, chosen, opacity, colormap, size)

        return await wanted.picture(render, f"overlay/{finding}", finding)


def _add_files(router: APIRouter, base: str, readable: Dependency) -> None:
    Readable = Annotated[Access, Depends(readable)]  # noqa: N806

    @router.get(
        f"{base}/heatmaps.npz",
        responses={**_file(ARCHIVE), **responses(Code.NOT_READY)},
        response_class=Response,
    )
    async def get_maps(request: Request, service: Service, access: Readable, instance_id: UUID) -> Response:
        """Fetch the maps as NumPy arrays, in the order of `findings`.

        `ensemble` float16 [5, h, w] in 0..1, and `backbone_NAME` float16 [5, h, w] with each backbone's own values.
        On one scale (format 2) `ensemble * full[:, None, None]` is in `unit`, and a place is drawn from `cuts` on.
        """
        import numpy as np

        arrays: dict[str, NDArray[Any]] = {"ensemble": _array(*await service.maps(access, instance_id))}
        for name, stored in (await service.backbone_maps(access, instance_id)).items():
            arrays[f"backbone_{name}"] = _array(*stored)
        if scale := await service.map_scale(access):
            arrays |= {
                "unit": np.array(scale.unit),
                "full": np.array(scale.full),
                "cuts": np.array(scale.cuts),
            }
        looks: Looks = request.app.state.looks
        await looks.note(access.tenant_id, [instance_id], "heatmaps")
        buffer = io.BytesIO()
        np.savez_compressed(buffer, findings=np.array(FINDINGS), allow_pickle=False, **arrays)
        headers = {**HEADERS, "Content-Disposition": attachment(f"{instance_id}.npz")}
        return Response(buffer.getvalue(), media_type=ARCHIVE, headers=headers)

    @router.get(f"{base}/original", responses=_ORIGINAL, response_class=StreamingResponse)
    async def get_original(
        request: Request,
        service: Service,
        access: Readable,
        instance_id: UUID,
        wanted: Annotated[str | None, Header(alias="Range", description="One range of bytes.")] = None,
        if_range: Annotated[str | None, Header()] = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Fetch the file exactly as it was sent, or a part of it."""
        found = await service.image(access, instance_id)
        headers = _of_original(found)
        if matches(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        size = found.size_bytes
        try:
            part = byte_range(wanted, size) if if_range in (None, headers["ETag"]) else None
        except UnsatisfiableRangeError:
            return problems.response(request, CodedError(Code.RANGE), {"Content-Range": f"bytes */{size}"})
        start, end = part or (0, size)
        if part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        blobs: BlobStore = request.app.state.blobs
        try:
            chunks = await blobs.stream(instance_id, ORIGINAL, part)
        except FileNotFoundError:
            raise CodedError(Code.NOT_FOUND, "The image was erased.") from None
        looks: Looks = request.app.state.looks
        await looks.note(access.tenant_id, [instance_id], ORIGINAL)
        headers["Content-Length"] = str(end - start)
        return StreamingResponse(chunks, 206 if part else 200, headers, found.media_type)


def _of_original(image: AnyRow) -> dict[str, str]:
    """The headers of an original, whichever part of it is sent."""
    name = image.file_name or f"{image.id}{SUFFIXES[image.media_type]}"
    return {
        **HEADERS,
        "ETag": f'"{image.sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": attachment(name),
        "Content-Security-Policy": "sandbox",
    }


add_picture_routes(jobs, "/{job_id}", own_job)
add_picture_routes(anonymous, "/{secret}", open_job)
