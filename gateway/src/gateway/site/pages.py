"""The built page as static files, with a strict Content-Security-Policy: no inline script, nothing from elsewhere."""

import re
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse

from gateway.jobs.schemas import DISCLAIMER
from thorax.errors import Code, CodedError
from thorax.image_headers import DICOM, PNG

router = APIRouter(include_in_schema=False)
NOT_BUILT = f"The web page is not built: run `make web`, then reload. The API is at /docs. {DISCLAIMER}"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
NO_CACHE, FOREVER = "no-cache", "public, max-age=31536000, immutable"
VIEWS = (
    *("/", "/log-in", "/sign-up", "/studies", "/account", "/admin", "/model"),
    *("/studies/{rest:path}", "/open/{rest:path}", "/compare/{rest:path}"),
)
"""The paths inside the page: each is answered with its one HTML file, and the page shows the view."""

_JOB = re.compile("/(studies|open)/([A-Za-z0-9_-]{1,100})")
_JOBS = {"studies": "/v1/jobs", "open": "/v1/anonymous/jobs"}

# Written out, as what `mimetypes` knows differs between machines.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".dcm": DICOM,
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": PNG,
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}
PACKED = (("br", ".br"), ("gzip", ".gz"))
"""Encodings that the build leaves beside a file, best first."""


def _serve(request: Request, path: str) -> Response:
    root = (request.app.state.settings.page or Path("nowhere")).resolve()
    try:
        target = (root / path).resolve()
        found = target.is_relative_to(root) and target.is_file()
    except (ValueError, OSError):  # a NUL in the path, or a name longer than the file system allows
        target, found = root, False
    media_type = MEDIA_TYPES.get(target.suffix)
    if media_type is None or not found:
        raise CodedError(Code.NOT_FOUND, "The page does not have this file.")
    headers = {**HEADERS, "Cache-Control": FOREVER if path.startswith("assets/") else NO_CACHE}
    accepted = request.headers.get("accept-encoding", "").replace(" ", "").split(",")
    for encoding, suffix in PACKED:
        packed = target.with_name(target.name + suffix)
        if encoding in accepted and packed.is_file():
            target, headers["Content-Encoding"] = packed, encoding
            break
    return FileResponse(target, media_type=media_type, headers=headers)


async def view(request: Request) -> Response:
    """The page itself, whichever view it is to show; a sentence that says how to build it where that was not done."""
    try:
        page = _serve(request, "index.html")
        if job := _JOB.fullmatch(request.url.path):
            # Fetched while the script is loaded, and taken from there by the first request for it.
            page.headers["Link"] = f"<{_JOBS[job[1]]}/{job[2]}>; rel=preload; as=fetch; crossorigin"
        return page
    except CodedError:
        return PlainTextResponse(NOT_BUILT, 503, HEADERS | {"Cache-Control": NO_CACHE})


for _path in VIEWS:
    router.add_api_route(_path, view, methods=["GET", "HEAD"])


@router.api_route("/favicon.ico", methods=["GET", "HEAD"])  # what browsers ask for beside an image or JSON
@router.api_route("/favicon.svg", methods=["GET", "HEAD"])
async def favicon(request: Request) -> Response:
    """The page's icon."""
    return _serve(request, "favicon.svg")


@router.api_route("/assets/{path:path}", methods=["GET", "HEAD"])
async def asset(request: Request, path: str) -> Response:
    """A file of the page; those of a build have a hash in their name and never change."""
    return _serve(request, f"assets/{path}")
