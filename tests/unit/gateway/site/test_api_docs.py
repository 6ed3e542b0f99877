"""/docs: one document of both services, with readable ids, shown from this server alone; a page for each error code."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from auth_service import context
from auth_service.app import create_app as auth_app
from auth_service.config import AuthSettings
from gateway.app import create_app
from gateway.config import GatewaySettings
from gateway.site import api_docs
from thorax.errors import Code
from thorax.http import problems

NOWHERE = SecretStr("postgresql+psycopg://nobody@127.0.0.1/nothing")
METHODS = {"get", "put", "post", "delete", "patch"}


@pytest.fixture(scope="module")
def auth_document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    secret = tmp_path_factory.mktemp("secret") / "secret"
    secret.write_text("x" * 32)
    found: dict[str, Any] = auth_app(
        context.build(AuthSettings(database_url=NOWHERE, auth_secret_file=secret))
    ).openapi()
    return found


def behind(app: FastAPI, answer: httpx.Response) -> TestClient:
    """The gateway, as it would be with an auth-service that answers so; nothing is started."""
    transport = httpx.MockTransport(lambda _: answer)
    app.state.auth = httpx.AsyncClient(base_url="http://auth", transport=transport)
    return TestClient(app)


@pytest.fixture
def gateway() -> Iterator[FastAPI]:
    yield create_app(GatewaySettings(database_url=NOWHERE))


def test_the_document_has_the_operations_of_both_services(
    gateway: FastAPI, auth_document: dict[str, Any]
) -> None:
    found = behind(gateway, httpx.Response(200, json=auth_document)).get("/openapi.json").json()
    assert {"/v1/jobs", "/v1/events", "/auth/token", "/auth/register"} <= set(found["paths"])
    assert found["servers"] == [{"url": "/", "description": "This server."}]
    assert "**Versions.**" in found["info"]["description"] and "Sunset" in found["info"]["description"]
    ids = [
        operation["operationId"]
        for methods in found["paths"].values()
        for method, operation in methods.items()
        if method in METHODS
    ]
    assert len(ids) == len(set(ids)), sorted(ids)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in ids), ids
    assert {"post_job", "list_jobs", "get_job", "get_job_anonymous", "create_token"} <= set(ids)


@pytest.mark.parametrize("answer", [httpx.Response(503, text="away"), httpx.Response(200, json={"keys": []})])
def test_without_auth_service_the_gateway_documents_itself(gateway: FastAPI, answer: httpx.Response) -> None:
    found = behind(gateway, answer).get("/openapi.json").json()
    assert "/v1/jobs" in found["paths"] and "/auth/token" not in found["paths"]


def test_the_page_and_all_that_it_loads_come_from_here(gateway: FastAPI) -> None:
    client = TestClient(gateway)
    page = client.get("/docs")
    assert "unsafe" not in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text)
    assert len(loaded) == 4
    for path in loaded:
        answer = client.get(path)
        assert (answer.status_code, len(answer.content) > 200) == (200, True), path
    assert client.get("/docs/__init__.py").status_code == 404
    assert client.get("/docs/..%2fpages.py").status_code == 404


@pytest.mark.parametrize("code", list(Code))
def test_the_type_of_every_error_leads_to_its_page(code: Code) -> None:
    app = FastAPI()
    problems.install(app)
    app.include_router(api_docs.router)
    client = TestClient(app)
    answer = client.get(problems.render(problems.CodedError(code), "")["type"])
    assert (answer.status_code, str(code) in answer.text) == (200, True)
    assert client.get("/problems").text.count(f'id="{code}"') == 1
    assert client.get("/problems/none_such").status_code == 404
