"""The page, as static files with a strict Content-Security-Policy: no inline script, nothing from elsewhere."""

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from thorax.errors import Code, CodedError

router = APIRouter(include_in_schema=False)
PLAIN = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self' blob:; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def _file(request: Request, path: str) -> Path | None:
    root = (request.app.state.settings.page or PLAIN).resolve()
    target = (root / path).resolve()
    return target if target.is_relative_to(root) and target.is_file() else None


@router.get("/")
async def index(request: Request) -> Response:
    """The page itself."""
    found = _file(request, "index.html")
    if found is None:
        raise CodedError(Code.NOT_FOUND, "The page has not been built.")
    return FileResponse(found, headers={**HEADERS, "Cache-Control": "no-cache"})


@router.get("/assets/{path:path}")
async def asset(request: Request, path: str) -> Response:
    """A file of the page; those with a hash in their name never change."""
    found = _file(request, f"assets/{path}")
    if found is None:
        raise CodedError(Code.NOT_FOUND, "The page has no such file.")
    lasting = "public, max-age=31536000, immutable" if request.app.state.settings.page else "no-cache"
    return FileResponse(found, headers={**HEADERS, "Cache-Control": lasting})
