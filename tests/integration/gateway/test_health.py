"""Probes, metrics, the documents that describe the API, and the gateway while other services are down."""

import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import psutil
import pytest
from pydantic import BaseModel

from gateway.jobs.schemas import JobPage, JobView
from gateway.uploads.accept import Accepted
from tests.factories.images import chest_png
from tests.factories.patience import until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem
from thorax.errors import Code
from thorax.version import VERSION

PROBLEM = "#/components/schemas/Problem"


@pytest.fixture(scope="module")
def document(platform: Platform) -> dict[str, Any]:
    return dict(httpx.get(f"{platform.base}/openapi.json").json())


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_alive_and_ready(platform: Platform) -> None:
    assert httpx.get(f"{platform.base}/healthz").json() == {"status": "alive", "version": VERSION}
    answer = until(lambda: (asked := httpx.get(f"{platform.base}/readyz")).is_success and asked)
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "missing": []})
    assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 60


def test_readyz_names_what_is_missing(platform: Platform) -> None:
    nowhere = {"REDIS_URL": "redis://127.0.0.1:1/0", "AUTH_URL": "http://127.0.0.1:1"}
    with platform.beside("lonely", ready=False, **nowhere) as lonely:
        assert httpx.get(f"{lonely.base}/healthz").status_code == 200

        def missing() -> set[str]:
            """A starved machine may miss the database as well, for a moment."""
            answer = httpx.get(f"{lonely.base}/readyz")
            assert answer.status_code == 503
            return {reason.split(":")[0] for reason in answer.json()["missing"]}

        until(lambda: missing() == {"broker", "auth-service"}, missing)
        with lonely.client() as client:  # its token may be good, but nothing can verify it now
            problem(client.get("/v1/jobs"), Code.UNAVAILABLE)
        problem(httpx.post(f"{lonely.base}/auth/token"), Code.UNAVAILABLE)


def test_past_the_high_water_mark_it_is_alive_and_not_ready(closed: Platform) -> None:
    assert httpx.get(f"{closed.base}/healthz").status_code == 200
    answer = httpx.get(f"{closed.base}/readyz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "capacity" in {reason.split(":")[0] for reason in answer.json()["missing"]}


def test_without_the_broker_uploads_are_accepted_and_done(platform: Platform) -> None:
    with (
        platform.beside("deaf", ready=False, REDIS_URL="redis://127.0.0.1:1/0") as deaf,
        deaf.client() as client,
    ):
        answers = [post(client, chest_png(i)) for i in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert all(finished(client, answer.headers["location"])["state"] == "succeeded" for answer in answers)
        files = [("files", ("a.png", chest_png(5, 64), "image/png"))]
        assert httpx.post(f"{deaf.base}/v1/anonymous/jobs", files=files).status_code == 202


def test_a_database_outage_is_a_503_until_it_is_back(platform: Platform, client: httpx.Client) -> None:
    before = post(client, chest_png(1)).headers["location"]
    # Of this gateway only: others that tests share would each answer a test after this one with a 503.
    own = psutil.Process(platform.processes["gateway"].pid).net_connections("tcp")
    ports = [connection.laddr.port for connection in own]
    cut = platform.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity where client_port = any(%s)", ports
    )
    assert cut
    codes = list[int]()
    until(lambda: codes.append(client.get(before).status_code) or codes[-3:] == [200] * 3, lambda: codes)
    assert set(codes) <= {200, 503}, codes
    assert finished(client, before)["state"] == "succeeded"


def test_metrics_count_by_route_not_by_id(platform: Platform, client: httpx.Client) -> None:
    job = post(client, chest_png(1)).json()
    client.get(job["links"]["self"])
    text = platform.scrape("gateway")
    for name in (
        "thorax_http_requests_total",
        "thorax_http_request_seconds_bucket",
        "thorax_jobs_accepted_total",
    ):
        assert name in text, name
    assert 'route="/v1/jobs/{job_id}"' in text
    assert job["job_id"] not in text


def test_the_models_are_open_to_everybody(platform: Platform) -> None:
    (model,) = httpx.get(f"{platform.base}/v1/models").json()["items"]
    assert (model["name"], model["active"], len(model["backbones"])) == ("tiny", True, 3)
    for finding in model["findings"]:
        assert abs(sum(backbone["weights"][finding] for backbone in model["backbones"]) - 1) < 1e-6
    assert "Not a medical device" in model["disclaimer"]


def test_a_bundle_that_a_newer_version_registered_does_no_harm(platform: Platform) -> None:
    copied = (
        "insert into bundles (digest, name, version, manifest, card) select %s, 'newer', version, "
        "jsonb_set(manifest, '{backbones,0,novel}', '1') || %s::jsonb, card from bundles where active"
    )
    try:
        platform.sql(copied, "newer-fields", '{"novel": {}}')
        platform.sql(copied, "newer-format", '{"format": 3}')
        shown = httpx.get(f"{platform.base}/v1/models").json()["items"]
        assert [model["digest"] for model in shown] == [platform.bundle.digest, "newer-fields"]
    finally:
        platform.sql("delete from bundles where digest ^@ 'newer-'")


def test_every_operation_says_what_it_does(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        assert operation.get("summary") and operation.get("description"), name
        assert operation.get("tags"), name


# What stores the study or destination that it names; and a search where nothing is finds nothing.
UNKNOWN_IS_FINE = {
    "PUT /v1/admin/tenants/{tenant_id}/destinations/{name}",
    "GET /v1/admin/tenants/{tenant_id}/destinations",
    "GET /v1/admin/retention/{tenant_id}/holds",
    "POST /dicomweb/studies/{study}",
    "GET /dicomweb/studies/{study}/series",
    "GET /dicomweb/studies/{study}/instances",
    "GET /dicomweb/studies/{study}/series/{series}/instances",
}


def test_every_operation_with_input_documents_its_errors_as_problems(
    operations: dict[str, dict[str, Any]], document: dict[str, Any]
) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for name, operation in operations.items():
        errors = {code: answer for code, answer in operation["responses"].items() if code[0] in "45"}
        if name.startswith(("GET /healthz", "GET /readyz")):
            continue
        assert errors, f"{name} documents no error"
        for code, answer in errors.items():
            if (
                name.startswith("POST /dicomweb") and code == "409"
            ):  # a Store Instances Response (PS3.18, 10.5.3)
                assert set(answer["content"]) == {"application/dicom+json", "application/dicom+xml"}
                continue
            (media, content), *more = answer["content"].items()
            assert (media, more, content["schema"]) == ("application/problem+json", [], {"$ref": PROBLEM}), (
                name,
                code,
            )
            assert content["examples"], (name, code)
        if operation.get("security"):
            assert {"401", "403"} <= set(errors), name
        if "{" in name and name not in UNKNOWN_IS_FINE:
            assert "404" in errors, name
        if operation.get("parameters"):
            assert "422" in errors, name


def test_every_success_is_documented_with_what_it_carries(operations: dict[str, dict[str, Any]]) -> None:
    for name, operation in operations.items():
        for code, answer in operation["responses"].items():
            if code not in ("200", "202"):
                continue
            (media, content), *_ = answer["content"].items()
            if media == "application/json":
                assert content["schema"], (name, code)
            if name.endswith(".png"):
                assert list(answer["content"]) == ["image/png"], name
            if name.endswith("/events"):
                assert list(answer["content"]) == ["text/event-stream"], name
    receipt = operations["POST /v1/jobs"]["responses"]["202"]
    assert {"Location", "Retry-After"} <= set(receipt["headers"])
    assert "RateLimit" in operations["POST /v1/anonymous/jobs"]["responses"]["202"]["headers"]


@pytest.mark.slow
def test_the_document_is_valid_openapi(document: dict[str, Any]) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(document)


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """The example that a documentation page shows for a schema."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return _example(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return _example(document, schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if "items" in schema:
        return [_example(document, schema["items"])]
    if schema.get("type") != "object":
        return schema.get("type")
    return {name: _example(document, part) for name, part in schema.get("properties", {}).items()}


@pytest.mark.parametrize("model", [JobView, JobPage, Accepted])
def test_the_examples_match_the_schemas(document: dict[str, Any], model: type[BaseModel]) -> None:
    example = _example(document, {"$ref": f"#/components/schemas/{model.__name__}"})
    assert model.model_validate(example).model_dump(mode="json").keys() == example.keys()


def test_the_documentation_loads_nothing_from_other_hosts(platform: Platform) -> None:
    """Neither the page nor what it loads names another host, and its policy would not let it through."""
    page = httpx.get(f"{platform.base}/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert (
        "default-src 'none'" in policy and "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    )
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page.text)
    for path in re.findall(r"""(?:src|href)=["'](/[^"'#]+)""", page.text):
        loaded = httpx.get(platform.base + path)
        assert loaded.status_code == 200, path
    for path in ("/v1/jobs", "/v1/models", "Idempotency-Key"):
        assert path in page.text or "openapi.json" in page.text
