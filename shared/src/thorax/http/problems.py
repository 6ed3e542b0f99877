"""Problem details (RFC 9457) for the HTTP services: every error a client sees has this one form. Extra: http."""

import errno
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from thorax.errors import Code, CodedError
from thorax.http.methods import allowed
from thorax.metrics import REFUSALS
from thorax.telemetry import where

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger(__name__)
_BY_STATUS = {
    401: Code.UNAUTHENTICATED,
    403: Code.FORBIDDEN,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
}


class Problem(BaseModel):
    """An error: `code` is for programs, `detail` and `remedy` are for people."""

    type: str = Field(examples=["/problems/no_files"], description="where the code is explained")
    code: Code = Field(examples=["no_files"])
    title: str = Field(examples=["No image was sent"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["The body had no part named `files`."])
    remedy: str = Field(examples=["Send 1 to 20 images in the field `files`."])
    instance: str = Field(examples=["urn:uuid:0f8f…"], description="the request's id, as in the logs")
    errors: list[dict[str, Any]] | None = Field(default=None, description="the fields that are not valid")


def responses(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for an endpoint that may answer with these codes."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        status = code.status
        entry = by_status.setdefault(
            status, {"model": Problem, "description": "", "content": {MEDIA_TYPE: {"examples": {}}}}
        )
        entry["description"] = ", ".join(filter(None, [entry["description"], f"`{code}`"]))
        example = render(CodedError(code), "urn:uuid:00000000-0000-0000-0000-000000000000")
        entry["content"][MEDIA_TYPE]["examples"][str(code)] = {"value": example}
    return by_status


def render(error: CodedError, instance: str) -> dict[str, Any]:
    """The problem document of an error."""
    return {
        "type": f"/problems/{error.code}",
        "code": str(error.code),
        "title": error.code.title,
        "status": error.code.status,
        "detail": error.detail,
        "remedy": error.code.remedy,
        "instance": instance,
        **error.context,
    }


def request_id(request: Request) -> str:
    """The request's id as a URN; made on first use."""
    if not hasattr(request.state, "request_id"):
        request.state.request_id = f"urn:uuid:{uuid4()}"
    return str(request.state.request_id)


def response(request: Request, error: CodedError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The HTTP answer for an error, with `Retry-After` and `WWW-Authenticate` where they belong."""
    extra = dict(headers or {})
    if error.retry_after is not None:
        extra["Retry-After"] = str(error.retry_after)
    if error.code.status == 401:
        extra.setdefault("WWW-Authenticate", 'Bearer realm="thorax"')
    REFUSALS.labels(error.code).inc()
    document = render(error, request_id(request))
    return JSONResponse(document, error.code.status, headers=extra, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make `app` answer errors as problem documents; `RequestTelemetry` does so for unexpected ones."""

    @app.exception_handler(CodedError)
    async def coded(request: Request, error: CodedError) -> JSONResponse:
        return response(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # `input` is left out: it may repeat a password or a patient's name.
        fields = [{"where": list(e["loc"]), "what": e["msg"]} for e in error.errors()]
        what = f"{'.'.join(str(p) for p in fields[0]['where'])}: {fields[0]['what']}" if fields else ""
        return response(request, CodedError(Code.VALIDATION, what, errors=fields))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = _BY_STATUS.get(error.status_code, Code.VALIDATION)
        headers = dict(error.headers or {})
        if code == Code.METHOD_NOT_ALLOWED:
            headers["Allow"] = allowed(request, headers["Allow"])
            if request.method == "OPTIONS":
                return Response(status_code=204, headers={"Allow": headers["Allow"]})
        return response(request, CodedError(code), headers)

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeout)
    async def away(request: Request, error: Exception) -> JSONResponse:
        if getattr(getattr(error, "orig", None), "sqlstate", None) == "53100":  # disk_full
            return response(request, CodedError(Code.STORAGE_FULL))
        _log.warning("database_away", error=type(error).__name__, request=request_id(request))
        what = "The database did not answer."
        return response(request, CodedError(Code.UNAVAILABLE, what, retry_after=2))

    @app.exception_handler(OSError)
    async def disk(request: Request, error: OSError) -> JSONResponse:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return response(request, CodedError(Code.STORAGE_FULL))
        if isinstance(error, ConnectionError | PermissionError) or error.errno in (errno.EROFS, errno.EIO):
            _log.warning("storage_away", error=type(error).__name__, request=request_id(request))
            what = "The blob store did not answer."
            return response(request, CodedError(Code.UNAVAILABLE, what, retry_after=5))
        return unexpected(request, error)

    @app.exception_handler(DBAPIError)
    async def database(request: Request, error: DBAPIError) -> JSONResponse:
        if error.connection_invalidated:
            return await away(request, error)
        return unexpected(request, error)


def unexpected(request: Request, error: Exception) -> JSONResponse:
    """Log an unexpected error without its message, which may hold data; answer 500."""
    _log.error("unexpected", error=type(error).__name__, at=where(error), request=request_id(request))
    return response(request, CodedError(Code.INTERNAL))
