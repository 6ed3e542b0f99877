"""The API's documentation: /docs (Swagger UI, from this server alone), /openapi.json, and a page for each error code."""

import html
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from thorax.errors import Code, CodedError
from thorax.http.openapi import merged

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parent
SWAGGER_UI = ("swagger-ui-bundle.js", "swagger-ui.css")  # of the package fastapi-offline
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
KEPT_S = 300
_log = structlog.get_logger(__name__)


@router.get("/docs")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(FOLDER / "index.html", media_type="text/html; charset=utf-8", headers=HEADERS)


@router.get("/docs/{name}")
async def asset(name: str) -> FileResponse:
    """A file of the page."""
    if name in SWAGGER_UI:
        path = Path(str(files("fastapi_offline"))) / "static" / name
    elif name in ("docs.js", "docs.css"):
        path = FOLDER / name
    else:
        raise CodedError(Code.NOT_FOUND)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=HEADERS)


@router.get("/openapi.json")
async def document(request: Request) -> dict[str, Any]:
    """What the gateway and auth-service say of themselves, as one document; of the gateway alone while the other is away."""
    state = request.app.state
    if monotonic() > getattr(state, "api_document_until", 0):
        state.api_document = request.app.openapi()
        if other := await _of_auth_service(state.auth):
            state.api_document = merged(state.api_document, other)
            state.api_document_until = monotonic() + KEPT_S
    found: dict[str, Any] = state.api_document
    return found


async def _of_auth_service(client: httpx.AsyncClient) -> dict[str, Any] | None:
    try:
        found = (await client.get("/auth/openapi.json", timeout=3)).json()
    except (httpx.HTTPError, ValueError) as error:
        _log.warning("auth_service_undocumented", error=type(error).__name__)
        return None
    return found if isinstance(found, dict) and "paths" in found else None


@router.get("/problems")
async def problems() -> HTMLResponse:
    """All error codes."""
    return _shown("Errors", "".join(map(_row, Code)))


@router.get("/problems/{code}")
async def problem(code: str) -> Response:
    """One error code: where the `type` of a problem document leads."""
    if code not in list(Code):
        raise CodedError(Code.NOT_FOUND, "Error code not found.")
    return _shown(Code(code).title, f'{_row(Code(code))}<p><a href="/problems">All error codes</a></p>')


def _row(code: Code) -> str:
    title, remedy = html.escape(code.title), html.escape(code.remedy)
    return f'<h2 id="{code}"><code>{code}</code> {title}</h2><p>Status {code.status}. {remedy}</p>\n'


def _shown(title: str, body: str) -> HTMLResponse:
    head = '<meta charset="utf-8"><link rel="stylesheet" href="/docs/docs.css">'
    page = f'<!doctype html><html lang="en"><head>{head}<title>{html.escape(title)} · Thorax</title></head>'
    text = f"{page}<body><main><h1>{html.escape(title)}</h1>\n{body}</main></body></html>\n"
    return HTMLResponse(text, headers=HEADERS)
