"""Forwards /auth/… to auth-service, where no ingress does so: one base URL for everything, also on a laptop."""

import httpx
from fastapi import APIRouter, Request, Response

from gateway.config import GatewaySettings
from gateway.door import client_address
from thorax.errors import Code, CodedError

router = APIRouter(include_in_schema=False)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# Hop-by-hop headers (RFC 9110, 7.6.1), and those that the new connection sets itself.
_DROPPED = {
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
}


@router.api_route("/auth/{path:path}", methods=METHODS)
async def forward(request: Request, path: str) -> Response:
    """Pass a request on, and its answer back, with the client's true address."""
    settings: GatewaySettings = request.app.state.settings
    headers = [
        (name, value)
        for name, value in request.headers.items()
        if name not in _DROPPED and name not in ("x-forwarded-for", "accept-encoding")
    ]
    headers.append(("x-forwarded-for", client_address(request, settings.trusted_proxies)))
    client: httpx.AsyncClient = request.app.state.auth
    target = httpx.URL(path=request.url.path, query=request.url.query.encode())
    try:
        answer = await client.request(request.method, target, headers=headers, content=await request.body())
    except httpx.HTTPError as error:
        raise CodedError(Code.UNAVAILABLE, "auth-service did not answer.", retry_after=2) from error
    response = Response(answer.content, answer.status_code)
    response.raw_headers = [
        (name.lower(), value)
        for name, value in answer.headers.raw
        if name.lower().decode() not in _DROPPED | {"x-request-id", "date", "server"}
    ] + [(b"content-length", str(len(answer.content)).encode())]
    return response
