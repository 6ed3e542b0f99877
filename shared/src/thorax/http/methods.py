"""HEAD and OPTIONS (RFC 9110, 9.3.2 and 9.3.7) for every resource, without a line in an endpoint."""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET is; the server leaves the body out, as its own scope still says HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", "state": {**scope.get("state", {}), "head": True}}
        await self._app(scope, receive, send)


def only_head(request: Request) -> bool:
    """Whether the client asked by HEAD, for endpoints whose body has no end."""
    return bool(getattr(request.state, "head", False))


def allowed(request: Request, told: str) -> str:
    """The Allow header of the request's path; `told` is what the router says, which knows its first route only."""
    path = getattr(request.scope.get("route"), "path", "")
    found = [method.upper() for method in request.app.openapi()["paths"].get(path, ())] or told.split(", ")
    return ", ".join(dict.fromkeys([*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"]))
