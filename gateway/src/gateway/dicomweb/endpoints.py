"""HTTP for STOW-RS. Each part is one instance; a broken one spoils no other."""

import errno
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from gateway.config import GatewaySettings
from gateway.dicomweb.answer import JSON, XML, StoreAnswer, negotiated
from gateway.studies.filing import Filing, NotFiledError, Route
from gateway.studies.header import is_uid
from gateway.studies.statuses import OUT_OF_RESOURCES, status_of
from gateway.uploads.accept import Acceptance
from gateway.uploads.multipart import RELATED, MultipartStream
from thorax.errors import Code, CodedError
from thorax.http.authentication import Writer
from thorax.http.problems import responses
from thorax.image_headers import DICOM
from thorax.metrics import REFUSALS

router = APIRouter(prefix="/dicomweb", tags=["DICOM"])

_OF_THE_BODY = (Code.MALFORMED_MULTIPART, Code.BODY_TOO_LARGE, Code.BODY_TIMEOUT)
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {f'{RELATED}; type="{DICOM}"': {"schema": {"type": "string", "format": "binary"}}},
    }
}
_ANSWER: dict[str, Any] = {"content": {kind: {"schema": {"type": "object"}} for kind in (JSON, XML)}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    **responses(
        *(Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.MALFORMED_MULTIPART, Code.UNSUPPORTED_MEDIA),
        *(Code.BODY_TOO_LARGE, Code.BODY_TIMEOUT, Code.QUOTA_EXCEEDED, Code.OVERLOADED, Code.STORAGE_FULL),
        Code.NOT_ACCEPTABLE,
    ),
    200: {"description": "All instances are stored durably.", **_ANSWER},
    202: {
        "description": "Some instances are stored; the others are listed with a failure reason.",
        **_ANSWER,
    },
    409: {"description": "No instance could be stored.", **_ANSWER},
}


@router.post("/studies", openapi_extra=_BODY, responses=_RESPONSES, response_class=Response)
async def store(request: Request, caller: Writer) -> Response:
    """Store DICOM instances of any studies (STOW-RS). A study is analysed once it has been quiet for a while."""
    return await _store(request, caller, None)


@router.post("/studies/{study}", openapi_extra=_BODY, responses=_RESPONSES, response_class=Response)
async def store_study(
    request: Request, caller: Writer, study: Annotated[str, Path(description="Study Instance UID")]
) -> Response:
    """Store DICOM instances of one study (STOW-RS). Instances of another study are refused."""
    if not is_uid(study):
        raise CodedError(Code.VALIDATION, "The Study Instance UID in the path is not a UID.")
    return await _store(request, caller, study)


async def _store(request: Request, caller: Writer, study: str | None) -> Response:
    acceptance: Acceptance = request.app.state.acceptance
    settings: GatewaySettings = request.app.state.settings
    media_type = negotiated(request.headers.get("accept", ""))
    await acceptance.check_capacity()
    stream = MultipartStream(request, RELATED)
    if stream.options.get("type", DICOM).lower() != DICOM:
        raise CodedError(Code.UNSUPPORTED_MEDIA, f"STOW-RS takes parts of type `{DICOM}` only.")
    route = Route(
        caller.tenant_id,
        caller.subject,
        "STOW-RS",
        quiet_s=settings.quiet_s,
        latest_s=settings.latest_s,
    )
    answer = StoreAnswer()
    async for _ in stream.parts():
        await _file(request.app.state.filing, route, stream.chunks(), study, answer)
    if not (answer.stored or answer.failed or answer.unknown):
        raise CodedError(Code.MALFORMED_MULTIPART, "The body has no DICOM instance.")
    return Response(answer.render(media_type), answer.status, media_type=media_type)


async def _file(
    filing: Filing, route: Route, chunks: AsyncIterator[bytes], study: str | None, answer: StoreAnswer
) -> None:
    """File one part. Where nothing is stored yet, a lack of room is the whole request's answer: try again later."""
    try:
        answer.stored.append(await filing.file(route, chunks, study=study))
    except CodedError as error:
        reason = status_of(error.code)
        if error.code in _OF_THE_BODY or (reason == OUT_OF_RESOURCES and not answer.stored):
            raise
        REFUSALS.labels(error.code).inc()
        if isinstance(error, NotFiledError):
            answer.failed.append((error.found, reason))
        else:
            answer.unknown.append(reason)
    except OSError as error:
        if not answer.stored or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        answer.unknown.append(OUT_OF_RESOURCES)
