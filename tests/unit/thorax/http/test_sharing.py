"""What surrounds every endpoint: HEAD, OPTIONS, other origins, gzip, request ids."""

from collections.abc import Iterator

import pytest
import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient
from pydantic import ValidationError

from gateway.config import GatewaySettings
from thorax.http import openapi, problems
from thorax.http.methods import HeadAsGet
from thorax.http.middleware import RequestTelemetry
from thorax.http.parameters import refuse_unknown_parameters
from thorax.http.sharing import GzipJson, share

ORIGIN = "https://viewer.example.org"
LONG = ["x" * 40] * 100


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI(dependencies=[Depends(refuse_unknown_parameters)])

    @app.get("/long")
    async def long() -> list[str]:
        return LONG

    @app.put("/long")
    async def put() -> None:
        return None

    @app.get("/secret/long")
    async def secret() -> list[str]:
        return LONG

    @app.get("/file")
    async def file() -> Response:
        return Response(bytes(5000), media_type="application/dicom")

    @app.get("/context")
    async def context(request: Request) -> dict[str, str]:
        return {**structlog.contextvars.get_contextvars(), "urn": problems.request_id(request)}

    problems.install(app)
    openapi.install(app)
    app.add_middleware(GzipJson, secret=("/secret/",))
    app.add_middleware(RequestTelemetry)
    app.add_middleware(HeadAsGet)
    share(app, [ORIGIN])
    with TestClient(app) as client:
        yield client


def test_head_is_the_header_of_get(client: TestClient) -> None:
    head, get = client.head("/long"), client.get("/long")
    assert (head.status_code, head.headers["content-length"]) == (200, get.headers["content-length"])
    assert head.headers["content-encoding"] == "gzip"
    assert client.head("/nothing").status_code == 404


def test_options_names_the_methods(client: TestClient) -> None:
    answer = client.options("/long")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, PUT, HEAD, OPTIONS")
    refused = client.post("/long")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, PUT, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("path", "accepted", "packed"),
    [
        ("/long", "gzip", True),
        ("/long", "identity", False),
        ("/secret/long", "gzip", False),
        ("/file", "gzip", False),
    ],
)
def test_only_long_json_without_secrets_is_packed(
    client: TestClient, path: str, accepted: str, packed: bool
) -> None:
    answer = client.get(path, headers={"Accept-Encoding": accepted})
    assert (answer.headers.get("content-encoding") == "gzip") == packed
    if path != "/file":
        assert answer.json() == LONG
    if packed:
        assert answer.headers["vary"].startswith("Accept-Encoding")
        assert int(answer.headers["content-length"]) < 500


def test_a_page_of_a_named_origin_may_call_with_a_token_and_never_with_cookies(client: TestClient) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    asked["Access-Control-Request-Headers"] = "authorization, idempotency-key, range"
    allowed = client.options("/long", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in allowed.headers
    for path in ("/long", "/nothing", "/long?unknown=1"):
        answer = client.get(path, headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "RateLimit" in answer.headers["access-control-expose-headers"]
    stranger = client.get("/long", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    assert client.options("/long", headers={**asked, "Origin": "https://evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("given", "urn"),
    [
        ("7F0d0f3e-5a0e-4d0e-9d67-3b0c7f2b6a11", "urn:uuid:7f0d0f3e-5a0e-4d0e-9d67-3b0c7f2b6a11"),
        ("1-5759e988-bd862e3fe1be46a994272793", "tag:thorax.dev,2026:1-5759e988-bd862e3fe1be46a994272793"),
    ],
)
def test_a_request_id_is_taken_over(client: TestClient, given: str, urn: str) -> None:
    answer = client.get("/context", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"], answer.json()["urn"], answer.json()["request"]) == (
        given,
        urn,
        urn,
    )


@pytest.mark.parametrize(
    "given", ["Smith-John-19700101", "1970-01-01", "a" * 65, "", "0123456789abcdef\u00e9"]
)
def test_what_could_be_a_name_is_not_taken_over(client: TestClient, given: str) -> None:
    answer = client.get("/context", headers={"X-Request-Id": given.encode()})
    assert answer.headers["x-request-id"] != given
    assert answer.json()["urn"] == f"urn:uuid:{answer.headers['x-request-id']}"


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        (f"00-{'ab' * 16}-{'cd' * 8}-01", "ab" * 16),
        (f"00-{'0' * 32}-{'cd' * 8}-01", None),
        ("00-Smith-John-01", None),
    ],
)
def test_a_trace_is_logged(client: TestClient, given: str, trace: str | None) -> None:
    assert client.get("/context", headers={"traceparent": given}).json().get("trace") == trace
    assert "trace" not in client.get("/context").json()


@pytest.mark.parametrize(
    "origins", ["viewer.example.org", f"{ORIGIN}/path", f"{ORIGIN},ftp://x", f"{ORIGIN}/"]
)
def test_what_is_not_an_origin_is_refused(origins: str) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(database_url="postgresql+psycopg://x@y/z", cors_origins=origins)  # type: ignore[arg-type]


def test_origins_are_a_list_with_commas() -> None:
    found = GatewaySettings(database_url="postgresql+psycopg://x@y/z", cors_origins=f"{ORIGIN}, *")  # type: ignore[arg-type]
    assert found.cors_origins == (ORIGIN, "*")
