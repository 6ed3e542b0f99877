"""Forwards /auth/… to auth-service, where no ingress does so: one base URL for everything, also on a laptop."""

from string import punctuation
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Request, Response

from gateway.config import GatewaySettings
from thorax.errors import Code, CodedError
from thorax.http.address import client_address

router = APIRouter(include_in_schema=False)
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
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
_OURS = _DROPPED | {"x-forwarded-for", "accept-encoding"}


@router.api_route("/auth/{path:path}", methods=METHODS)
async def forward(request: Request, path: str) -> Response:
    """Forward a request to the auth-service with the client's true address, and return its answer."""
    settings: GatewaySettings = request.app.state.settings
    address = client_address(request, settings.trusted_proxies)
    headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1") not in _OURS]
    headers += [(b"x-forwarded-for", address.encode()), (b"accept-encoding", b"identity")]
    client: httpx.AsyncClient = request.app.state.auth
    query = quote(request.scope["query_string"], safe=punctuation).encode()
    target = client.base_url.copy_with(raw_path=request.scope["raw_path"] + b"?" * bool(query) + query)
    if not target.path.startswith("/auth/"):  # dots in the path led out of what is ours to forward
        raise CodedError(Code.NOT_FOUND)
    try:
        answer = await client.request(request.method, target, headers=headers, content=await request.body())
    except httpx.HTTPError as error:
        raise CodedError(Code.UNAVAILABLE, "The auth-service did not answer.", retry_after=2) from error
    response = Response(answer.content, answer.status_code)
    response.raw_headers = [
        (name.lower(), value)
        for name, value in answer.headers.raw
        if name.lower().decode() not in _DROPPED | {"x-request-id", "date", "server"}
    ] + [(b"content-length", str(len(answer.content)).encode())]
    return response
