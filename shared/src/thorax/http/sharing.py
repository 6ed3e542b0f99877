"""Which other sites' pages may call the API (CORS), and which answers are compressed."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_SENT = (
    *(
        "Authorization",
        "Content-Type",
        "Idempotency-Key",
        "If-None-Match",
        "If-Range",
        "Last-Event-ID",
        "Prefer",
    ),
    *("Range", "X-Request-Id", "traceparent"),
)
_SHOWN = (
    *(
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Range",
        "ETag",
        "Location",
        "RateLimit",
        "RateLimit-Policy",
    ),
    *("Retry-After", "WWW-Authenticate", "X-Request-Id"),
)
_DAY_S = 86_400


def share(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call the API with a bearer token. Cookies stay with the platform's own page."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=_SENT,
            expose_headers=_SHOWN,
            max_age=_DAY_S,
        )


class GzipJson:
    """ASGI middleware: gzip for JSON above 1 kB, where the client takes it.

    Not below `secret` paths, whose answers hold a secret beside what their caller chose: the length of what is compressed
    would tell the one by the other (BREACH). Not for files, which are packed already or have ranges, nor for events.
    """

    MIN_BYTES = 1024
    _NEVER = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/dicom", "application/octet-stream", "application/wasm",
              "image/*", "multipart/*", "text/*")  # fmt: skip

    def __init__(self, app: ASGIApp, *, secret: tuple[str, ...]) -> None:
        self._plain, self._secret = app, secret
        self._packed = GZipMiddleware(app, self.MIN_BYTES, 5, exclude_content_types=self._NEVER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        plain = scope["type"] != "http" or scope["path"].startswith(self._secret)
        await (self._plain if plain else self._packed)(scope, receive, send)
