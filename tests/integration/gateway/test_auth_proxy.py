"""/auth/… is passed on unchanged, with the caller's real address and only the caller's own cookies."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from tests.factories.platform import Platform
from tests.integration.gateway.problem import problem
from thorax.errors import Code


@pytest.fixture(scope="module")
def proxied(platform: Platform) -> Iterator[Platform]:
    """A gateway in front of an auth-service that echoes the request and sets two cookies."""
    keys = httpx.get(f"{platform.issuer.url}/auth/.well-known/jwks.json").content

    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            body = self.rfile.read(length).decode("latin-1")
            told = {"path": self.path, "method": self.command, "headers": self.headers.items(), "body": body}
            answer = keys if "jwks" in self.path else json.dumps(told).encode()
            self.send_response(200 if "missing" not in self.path else 404)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Set-Cookie", "thorax_access=secret-of-somebody; Path=/; HttpOnly")
            self.send_header("Set-Cookie", "thorax_csrf=another; Path=/")
            self.send_header("WWW-Authenticate", "Bearer")
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with platform.beside("proxied", AUTH_URL=f"http://127.0.0.1:{server.server_port}") as gateway:
        yield gateway
    server.shutdown()


def heard(answer: httpx.Response) -> dict[str, Any]:
    told = answer.json()
    return {**told, "headers": [(name.lower(), value) for name, value in told["headers"]]}


def test_one_callers_session_never_reaches_the_next(proxied: Platform) -> None:
    first = httpx.post(f"{proxied.base}/auth/session", json={})
    assert first.headers.get_list("set-cookie") == [
        "thorax_access=secret-of-somebody; Path=/; HttpOnly",
        "thorax_csrf=another; Path=/",
    ]
    for _ in range(3):
        told = heard(httpx.get(f"{proxied.base}/auth/me"))
        assert "cookie" not in dict(told["headers"])
    own = heard(httpx.get(f"{proxied.base}/auth/me", headers={"Cookie": "thorax_access=mine"}))
    assert dict(own["headers"])["cookie"] == "thorax_access=mine"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_is_passed_on_as_it_is(proxied: Platform, method: str) -> None:
    path = "/auth/a%2Fb/%C3%A9?q=1&q=2&r=a%20b"
    answer = httpx.request(method, proxied.base + path, content=b"body \xff", headers={"X-Own": "1"})
    told = heard(answer)
    assert (told["method"], told["path"], told["body"]) == (method, path, "body \xff")
    assert dict(told["headers"])["x-own"] == "1"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(answer.headers.get_list("content-length")) == 1


def test_the_status_is_passed_back(proxied: Platform) -> None:
    assert httpx.get(f"{proxied.base}/auth/missing").status_code == 404


def test_only_the_gateway_says_where_a_caller_is(proxied: Platform) -> None:
    forged = {"X-Forwarded-For": "10.9.9.9", "Connection": "keep-alive, X-Own", "TE": "trailers"}
    headers = heard(httpx.get(f"{proxied.base}/auth/me", headers=forged))["headers"]
    assert [value for name, value in headers if name == "x-forwarded-for"] == ["127.0.0.1"]
    assert "te" not in dict(headers)


@pytest.mark.parametrize(
    "path", ["/auth/%00", "/auth/%0d%0aX:1", "/auth/..%2fv1", "/auth/%ff", "/auth/?q=%00", "/auth/a b"]
)
def test_an_invalid_path_is_not_a_server_error(proxied: Platform, path: str) -> None:
    assert httpx.get(proxied.base + path).status_code < 500


@pytest.mark.parametrize("value", [b"\xe9", b"\xff\xfe", "ü".encode()])
def test_an_invalid_header_is_not_a_server_error(proxied: Platform, value: bytes) -> None:
    assert httpx.get(f"{proxied.base}/auth/me", headers={b"X-Strange": value}).status_code == 200


def test_a_large_body_is_refused(proxied: Platform) -> None:
    problem(httpx.post(f"{proxied.base}/auth/token", content=bytes(1_100_000)), Code.BODY_TOO_LARGE)
