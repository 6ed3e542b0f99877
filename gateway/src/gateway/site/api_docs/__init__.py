"""The API's documentation at /docs: a page of ours that reads /openapi.json, and asks no other host for anything."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/docs")
async def page() -> FileResponse:
    """The page."""
    return FileResponse(FOLDER / "index.html", media_type="text/html; charset=utf-8", headers=HEADERS)


@router.get("/docs/docs.js")
async def script() -> FileResponse:
    """Its script."""
    return FileResponse(FOLDER / "docs.js", media_type="text/javascript; charset=utf-8", headers=HEADERS)


@router.get("/docs/docs.css")
async def style() -> FileResponse:
    """Its look."""
    return FileResponse(FOLDER / "docs.css", media_type="text/css; charset=utf-8", headers=HEADERS)
