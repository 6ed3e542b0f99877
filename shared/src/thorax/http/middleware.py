"""Around every HTTP request: an id, limits on its body, metrics, and an answer for unexpected errors."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from uuid import UUID, uuid4

import structlog
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thorax import tracing
from thorax.errors import Code, CodedError
from thorax.http import problems
from thorax.metrics import REQUEST_SECONDS, REQUESTS

LINGER_S, LINGER_IDLE_S = 30, 5  # as nginx does
_REQUEST_ID = re.compile(rb"[0-9a-fA-F-]{16,64}")  # no name, no date can be written so
_TRACE = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}.*")


def _header(scope: Scope, name: bytes, form: re.Pattern[bytes]) -> re.Match[bytes] | None:
    """The only header of that name, if it has the form: anything else could smuggle data into logs."""
    values = [value for key, value in scope["headers"] if key == name]
    return form.fullmatch(values[0]) if len(values) == 1 else None


def _urn(request_id: str) -> str:
    """What names a request in a problem document: a URN of a UUID, or a tag URI (RFC 4151) of another id."""
    try:
        return f"urn:uuid:{UUID(request_id)}"
    except ValueError:
        return f"tag:thorax.dev,2026:{request_id}"


class RequestTelemetry:
    """ASGI middleware: names each request by the client's X-Request-Id (16 to 64 hexadecimal digits and dashes) or a new one,
    logs the trace of its traceparent (W3C Trace Context) and continues it, counts it under its route's template, answers crashes with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given, traced = _header(scope, b"x-request-id", _REQUEST_ID), _header(scope, b"traceparent", _TRACE)
        request_id, began, status = given[0].decode() if given else str(uuid4()), monotonic(), 499
        known = {"request": _urn(request_id)} | ({"trace": traced[1].decode()} if traced else {})
        scope.setdefault("state", {})["request_id"] = known["request"]
        structlog.contextvars.bind_contextvars(**known)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with tracing.request(scope["method"], traced[0].decode() if traced else None) as answered:
            try:
                await self._app(scope, receive, answer)
            except ClientDisconnect:
                status = 499
            except Exception as error:
                if status != 499:  # the answer has begun, so only closing the connection can tell the client
                    raise
                await problems.unexpected(Request(scope), error)(scope, receive, answer)
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                REQUESTS.labels(route, scope["method"], status).inc()
                REQUEST_SECONDS.labels(route).observe(monotonic() - began)
                answered(route, status)
                structlog.contextvars.unbind_contextvars(*known)


async def _read_on(receive: Receive) -> None:
    """Discard what the client still sends, for a while: data that is not read at the close makes TCP reset the connection,
    and the reset may overtake the answer (RFC 9112, 9.6)."""
    end, more = monotonic() + LINGER_S, True
    with suppress(TimeoutError):
        while more and monotonic() < end:
            async with asyncio.timeout(LINGER_IDLE_S):
                more = (await receive()).get("more_body", False)


class BodyLimits:
    """ASGI middleware: counts a body's bytes and seconds, since the server itself counts neither.

    `limits` gives bytes by path; a path that ends in `/` stands for all below it. All others take 1 MiB.
    """

    SMALL_BYTES = 1024 * 1024

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Mapping[str, int] | None = None,
        idle_s: float = 15,
        total_s: float = 120,
    ) -> None:
        self._app, self._limits = app, limits or {}
        self._idle_s, self._total_s = idle_s, total_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        limit = self._limit(scope["path"])
        request = Request(scope)
        length = request.headers.get("content-length", "0")
        deadline, taken = monotonic() + self._total_s, 0
        complete = length == "0" and "transfer-encoding" not in request.headers

        async def limited() -> Message:
            nonlocal taken, complete
            if complete:
                return await receive()
            patience = min(self._idle_s, deadline - monotonic())
            try:
                async with asyncio.timeout(max(patience, 0.01)):
                    message = await receive()
            except TimeoutError:
                raise CodedError(Code.BODY_TIMEOUT, "The request body did not arrive in time.") from None
            taken += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if taken > limit:
                raise self._too_large(limit)
            return message

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and not complete:
                # The rest of the body is not wanted, so the connection cannot carry another request.
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            elif not complete and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _read_on(receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        if not length.isdigit() or int(length) > limit:
            return await problems.response(request, self._too_large(limit))(scope, receive, closing)
        return await self._app(scope, limited, closing)

    def _limit(self, path: str) -> int:
        below = path[: path.rfind("/") + 1]
        return self._limits.get(path, self._limits.get(below, self.SMALL_BYTES))

    @staticmethod
    def _too_large(limit: int) -> CodedError:
        return CodedError(Code.BODY_TOO_LARGE, f"The request body is larger than {limit // 1_000_000} MB.")
