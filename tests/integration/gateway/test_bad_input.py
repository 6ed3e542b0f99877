"""Whatever is sent, the answer is a clear refusal or a failed job with a coded reason: never a 500, never a restart."""

import json
import random
import re
import socket
import struct
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories.cpu import cpu_s
from tests.factories.hostile import BOMBS, dicom, jpeg_claiming, png
from tests.factories.images import chest_dicom, chest_jpeg, chest_png, colour_png
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import Platform, finished, post
from tests.integration.gateway.problem import problem, refused
from tests.integration.gateway.stored import stored
from thorax.errors import Code

Done = tuple[httpx.Client, dict[str, Any]]
FILE = ("files", ("a.png", chest_png(1, 64), "image/png"))
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=x"}
MOST_CPU_S = 8  # 2 s are promised; other cores are slower


def worked_s(platform: Platform) -> float:
    return sum(cpu_s(platform.processes[name].pid) for name in ("gateway", "worker-0"))


def megabytes(platform: Platform) -> float:
    return psutil.Process(platform.processes["gateway"].pid).memory_info().rss / 1e6


@pytest.fixture(autouse=True)
def unharmed(platform: Platform) -> Iterator[None]:
    """No process was restarted, the gateway's memory has not grown, and no unexpected error was logged."""
    before = {name: process.pid for name, process in platform.processes.items()}
    memory, logged = megabytes(platform), platform.log("gateway").stat().st_size
    yield
    assert {
        name: process.pid for name, process in platform.processes.items() if process.poll() is None
    } == before
    assert megabytes(platform) - memory < 50
    with platform.log("gateway").open() as log:
        log.seek(logged)
        assert "unexpected" not in (new := log.read()), new
        assert "Traceback" not in new, new


# --- images ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_fails_its_job_within_two_seconds(
    name: str, client: httpx.Client, platform: Platform
) -> None:
    make, _ = BOMBS[name]
    data, before = make(), worked_s(platform)
    answer = post(client, data, name="x.dcm")
    if answer.status_code != 202:
        refused(answer)
        assert worked_s(platform) - before < MOST_CPU_S
        return
    job = finished(client, answer.headers["location"])
    assert job["state"] == "failed"
    assert worked_s(platform) - before < MOST_CPU_S
    error = job["images"][0]["error"]
    assert error["code"] == job["error"]["code"]
    assert Code(error["code"]).status < 500, error
    assert error["detail"] and error["remedy"]
    attempts = platform.sql("select max(attempts) from steps where job_id = %s", job["id"])
    assert attempts == [(1,)], "it was tried again"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.EMPTY_FILE),
        (b"This is a report, not a picture.", Code.UNSUPPORTED_MEDIA),
        (b"\x89PNG\r\n\x1a\n", Code.UNREADABLE_IMAGE),
        (b"\xff\xd8\xff", Code.UNREADABLE_IMAGE),
        (chest_jpeg()[:60], Code.UNREADABLE_IMAGE),
        (b"\xff\xd8\xff" + bytes(70_000), Code.UNREADABLE_IMAGE),
        (b"GIF89a" + bytes(500), Code.UNSUPPORTED_MEDIA),
        (png(0, 0, b"\0"), Code.IMAGE_SIZE),
        (png(0, 100, b"\0"), Code.IMAGE_SIZE),
        (png(1, 20_000, b"\0" * 40_000), Code.IMAGE_SIZE),
        (png(20_000, 1, b"\0" * 20_001), Code.IMAGE_SIZE),
        (png(8001, 8000, b"\0"), Code.IMAGE_TOO_LARGE),
        (png(2**32 - 1, 2**32 - 1, b"\0"), Code.IMAGE_TOO_LARGE),
        (jpeg_claiming(0, 0), Code.IMAGE_SIZE),
        (jpeg_claiming(1, 20_000), Code.IMAGE_SIZE),
    ],
)
def test_a_file_that_shows_its_fault_at_once_is_refused(
    client: httpx.Client, data: bytes, code: Code
) -> None:
    document = problem(post(client, chest_png(1, 64), data), code)
    assert document.get("file", 1) == 1, "the problem names the place of the file"


@pytest.mark.parametrize(
    "data",
    [
        chest_png()[:2000],
        chest_jpeg()[:1500],
        chest_dicom()[:2000],
        chest_dicom()[:200],
        b"\0" * 128 + b"DICM",
        b"\0" * 128 + b"DICM" + b"\xff" * 1000,
        dicom(Rows=0, Columns=0, pixel_data=b""),
        dicom(Rows=1, Columns=20_000, pixel_data=bytes(20_000)),
        dicom(SOPInstanceUID=None, PixelRepresentation=None),
        b"\xff\xd8\xff\xe1\xff\xff" + bytes(65_533) + b"\xff\xd9",
    ],
    ids=lambda data: f"{data[:8].hex()}-{len(data)}",
)
def test_a_file_that_hides_its_fault_fails_its_job_with_a_reason(client: httpx.Client, data: bytes) -> None:
    answer = post(client, data)
    if answer.status_code != 202:
        refused(answer)
        return
    job = finished(client, answer.headers["location"])
    assert job["state"] == "failed", job
    assert Code(job["error"]["code"]).status < 500, job["error"]
    assert job["images"][0]["error"] == job["error"]


def test_a_colour_photo_gets_an_answer_one_way_or_the_other(client: httpx.Client) -> None:
    job = finished(client, post(client, colour_png()).headers["location"])
    assert (job["state"], job["error"] and job["error"]["code"]) in [
        ("failed", Code.NOT_A_CHEST),
        ("failed", Code.UNREADABLE_IMAGE),
        ("succeeded", None),
    ]


def test_a_uid_with_a_path_in_it_is_refused_or_forgotten(client: httpx.Client, platform: Platform) -> None:
    evil = "../../../../tmp/thorax-was-here"
    image = chest_dicom(1, StudyInstanceUID=evil, SOPInstanceUID=evil, SeriesInstanceUID=evil)
    view = finished(client, post(client, image).headers["location"])
    assert evil not in str(view)
    assert not any("thorax-was-here" in path.name for path in platform.folder.rglob("*"))


# --- multipart ------------------------------------------------------------------------------------------------


def part(head: str, body: bytes = b"") -> bytes:
    return f"--x\r\n{head}\r\n\r\n".encode("latin-1") + body + b"\r\n"


IMAGE = part('Content-Disposition: form-data; name="files"; filename="a.png"', chest_png(1, 64))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", Code.MALFORMED_MULTIPART),
        (b"\0\xff" * 500, Code.MALFORMED_MULTIPART),
        (b"--x--\r\n", Code.NO_FILES),
        (b"--y\r\n\r\n\r\n--y--\r\n", Code.MALFORMED_MULTIPART),
        (IMAGE, Code.MALFORMED_MULTIPART),
        (IMAGE[:-200], Code.MALFORMED_MULTIPART),
        (b"--x\r\nContent-Disp", Code.MALFORMED_MULTIPART),
        (part("X-Nothing: here") + b"--x--", Code.MALFORMED_MULTIPART),
        (part("Content-Disposition: form-data") + b"--x--", Code.MALFORMED_MULTIPART),
        (
            part("Content-Disposition: attachment; name=files; filename=a") + b"--x--",
            Code.MALFORMED_MULTIPART,
        ),
        (part(f"X-Long: {'y' * 9000}") + b"--x--", Code.MALFORMED_MULTIPART),
        (part("\r\n".join(f"X-{i}: y" for i in range(2000))) + b"--x--", Code.MALFORMED_MULTIPART),
        (part('Content-Disposition: form-data; name="files"') + b"--x--", Code.UNEXPECTED_FIELD),
        (
            part('Content-Disposition: form-data; name="fil\0es"; filename="a"') + b"--x--",
            Code.UNEXPECTED_FIELD,
        ),
        (
            part('Content-Disposition: form-data; name="title"; filename="a"') + b"--x--",
            Code.UNEXPECTED_FIELD,
        ),
        (part('Content-Disposition: form-data; name="patient"', b"x") + b"--x--", Code.UNEXPECTED_FIELD),
        (part('Content-Disposition: form-data; name="title"', b"\xff\xfe") + b"--x--", Code.VALIDATION),
        (part('Content-Disposition: form-data; name="title"', b"x" * 1025) + b"--x--", Code.VALIDATION),
        (part('Content-Disposition: form-data; name="title"', b"x") * 2 + b"--x--", Code.UNEXPECTED_FIELD),
        (IMAGE + part('Content-Disposition: form-data; name="priority"', b"now") + b"--x--", Code.VALIDATION),
        (IMAGE * 21 + b"--x--", Code.TOO_MANY_FILES),
    ],
)
def test_a_body_that_is_not_an_upload_is_refused_and_leaves_nothing(
    client: httpx.Client, platform: Platform, body: bytes, code: Code
) -> None:
    before = stored(platform)
    problem(client.post("/v1/jobs", content=body, headers=BOUNDARY), code)
    assert stored(platform) <= before


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "image/png", "multipart/form-data", "multipart/mixed; boundary=x", "text/\0"[:5],
     f"multipart/form-data; boundary={'x' * 300}", 'multipart/form-data; boundary="', "multipart/form-data; boundary=\u00e9"],
)  # fmt: skip
def test_another_content_type_is_refused(client: httpx.Client, kind: str) -> None:
    answer = client.post(
        "/v1/jobs", content=IMAGE + b"--x--", headers={"Content-Type": kind.encode("latin-1")}
    )
    problem(answer, Code.MALFORMED_MULTIPART)


def test_a_missing_content_type_is_refused(client: httpx.Client) -> None:
    problem(client.post("/v1/jobs"), Code.MALFORMED_MULTIPART)


def test_a_million_empty_parts_are_refused_early(client: httpx.Client, platform: Platform) -> None:
    body = part('Content-Disposition: form-data; name="title"') * 300_000
    before = worked_s(platform)
    problem(client.post("/v1/jobs", content=body, headers=BOUNDARY), Code.UNEXPECTED_FIELD)
    assert worked_s(platform) - before < MOST_CPU_S


def test_a_long_tail_after_the_last_boundary_is_swallowed(client: httpx.Client, platform: Platform) -> None:
    logged = platform.log("gateway").stat().st_size
    answer = client.post("/v1/jobs", content=IMAGE + b"--x--\r\n" + bytes(3_000_000), headers=BOUNDARY)
    assert answer.status_code == 202, answer.text
    assert platform.log("gateway").stat().st_size - logged < 20_000


@pytest.mark.parametrize(
    "name",
    ["../../../../etc/passwd", "..\\..\\boot.ini", "a" * 5000, "röntgen 肺 \U0001fac1.png", "a\0b.png", "\u202egnp.exe",
     "a\nb", "' or 1=1 --", "%00", "..", "/", "", "{{7*7}}", "<script>alert(1)</script>"],
)  # fmt: skip
def test_a_strange_file_name_is_only_a_name(client: httpx.Client, platform: Platform, name: str) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + name.encode() + b'"\r\n\r\n'
    answer = client.post("/v1/jobs", content=head + chest_png(1, 64) + b"\r\n--x--\r\n", headers=BOUNDARY)
    if answer.status_code != 202:
        refused(answer)
        return
    job = client.get(answer.headers["location"]).json()
    shown = job["images"][0]["file_name"]
    assert shown.isprintable() and len(shown) <= 200 and "/" not in shown and "\\" not in shown
    known = {"blobs", "models", "delivery-secret"}
    assert {path.name for path in platform.folder.iterdir() if "log" not in path.name} <= known
    instance = answer.json()["instance_ids"][0]
    assert (platform.folder / "blobs" / "instances" / instance / "original").exists()


# --- size -----------------------------------------------------------------------------------------------------


def test_a_body_that_declares_too_much_is_refused_before_it_is_sent(
    client: httpx.Client, platform: Platform
) -> None:
    with socket.create_connection(("127.0.0.1", platform.port)) as connection:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
        connection.sendall((head + "Content-Length: 100000001\r\n\r\n").encode())
        answer = HTTPResponse(connection)
        answer.begin()
        said = json.load(answer)
    assert (answer.status, said["code"]) == (413, "body_too_large")
    assert answer.headers["content-type"] == "application/problem+json"


def stuffing(megabytes: int) -> Iterator[bytes]:
    yield part('Content-Disposition: form-data; name="files"; filename="a.png"', png(4000, 4000, b"")[:-14])[
        :-2
    ]
    for _ in range(megabytes):
        yield bytes(1_000_000)
    yield b"\r\n--x--\r\n"


def test_more_than_a_hundred_megabytes_in_chunks_are_refused_and_leave_nothing(
    client: httpx.Client, platform: Platform
) -> None:
    before = stored(platform)
    problem(client.post("/v1/jobs", content=stuffing(101), headers=BOUNDARY), Code.BODY_TOO_LARGE)
    assert stored(platform) <= before


def test_ninety_nine_megabytes_are_taken_without_being_held_in_memory(client: httpx.Client) -> None:
    answer = client.post("/v1/jobs", content=stuffing(99), headers=BOUNDARY)
    assert answer.status_code == 202, answer.text
    job = finished(client, answer.headers["location"])
    assert job["state"] == "failed"


def test_an_upload_that_is_cut_off_leaves_nothing(client: httpx.Client, platform: Platform) -> None:
    before = stored(platform)
    with socket.create_connection(("127.0.0.1", platform.port)) as connection:
        head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: {client.headers['authorization']}\r\n"
        head += f"Content-Type: {BOUNDARY['Content-Type']}\r\nContent-Length: 50000000\r\n\r\n"
        connection.sendall(head.encode() + b"".join(stuffing(20))[:20_000_000])
        until(lambda: not stored(platform) <= before, "the upload does not begin")
    until(lambda: stored(platform) <= before, lambda: stored(platform) - before)


@pytest.mark.parametrize("path", ["/v1/jobs/{}/retry", "/auth/token", "/v1/models", "/healthz"])
def test_elsewhere_a_megabyte_is_the_limit(client: httpx.Client, path: str) -> None:
    answer = client.post(path.format(uuid4()), content=bytes(1_100_000))
    problem(answer, Code.BODY_TOO_LARGE)


# --- HTTP -----------------------------------------------------------------------------------------------------


def until_closed(connection: socket.socket) -> bytes:
    """Everything received until the gateway closes."""
    connection.settimeout(PATIENCE_S)
    answer = b""
    with suppress(ConnectionError):  # the gateway may close while we still send
        while piece := connection.recv(65536):
            answer += piece
    return answer


def raw(platform: Platform, data: bytes) -> bytes:
    """What the gateway answers to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", platform.port)) as connection:
        with suppress(OSError):  # it may have hung up by then
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        return until_closed(connection)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/jobs\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_request_that_is_not_http_gets_a_problem_document(platform: Platform, data: bytes) -> None:
    answer = raw(platform, data)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b"content-type: application/problem+json" in answer, answer
    assert b'"remedy"' in answer


@pytest.mark.parametrize("shape", ["one header of 1 MB", "100,000 headers", "a path of 1 MB", "endless"])
def test_a_huge_header_is_refused_before_it_costs_memory(platform: Platform, shape: str) -> None:
    data = {
        "one header of 1 MB": b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 1_000_000 + b"\r\n\r\n",
        "100,000 headers": b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 100_000 + b"\r\n",
        "a path of 1 MB": b"GET /v1/jobs/" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        "endless": b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000_000,
    }[shape]
    answer = raw(platform, data)
    assert answer.startswith(b"HTTP/1.1 431 ") or answer == b"", answer[:300]


def test_a_header_of_an_ordinary_browser_passes(client: httpx.Client) -> None:
    headers = {"Cookie": "a=" + "b" * 4000, "User-Agent": "c" * 2000, "X-More": "d" * 8000}
    assert client.get("/v1/jobs", headers=headers).status_code == 200


def test_the_limit_is_for_each_header_not_for_the_connection(client: httpx.Client) -> None:
    for _ in range(20):
        assert client.get("/v1/jobs", headers={"X-More": "d" * 8000}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/jobs", "/healthz", "/v1/models", "/"])
def test_another_method_is_refused(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    if method == "HEAD":
        assert answer.status_code == client.get(path).status_code
        return
    if method == "OPTIONS":
        assert (answer.status_code, answer.content) == (204, b"")
    else:
        problem(answer, Code.METHOD_NOT_ALLOWED)
    allowed = set(answer.headers["allow"].split(", "))
    assert "GET" in allowed
    assert ("POST" in allowed) == (path == "/v1/jobs")


@pytest.mark.parametrize(
    "path", ["/v2/jobs", "/v1/job", "/%00", "/..%2f..%2fetc/passwd", "/assets/../app.py", "/assets/%2e%2e/app.py", "/assets/%00", "/assets/" + "a" * 5000 + ".js"]
)  # fmt: skip
def test_an_unknown_path_is_not_found(client: httpx.Client, path: str) -> None:
    problem(client.get(path), Code.NOT_FOUND)


BAD_TEXT = ["\0", "a\0b", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "%", "%zz", "' or '1'='1",
            "x" * 5000, "\U0001fac1", "\u202e", "../..", "-1", "nan", "[]", "1e999"]  # fmt: skip


@pytest.mark.parametrize("name", ["title", "cursor", "finding", "state", "priority", "limit", "unknown"])
@pytest.mark.parametrize("value", BAD_TEXT)
def test_an_invalid_filter_is_not_a_server_error(client: httpx.Client, name: str, value: str) -> None:
    answer = client.get("/v1/jobs", params={name: value})
    assert answer.status_code == 200 or refused(answer)


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01", "2026-01-01T00:00:00.000001Z"],
)
def test_a_forged_cursor_is_not_a_server_error(client: httpx.Client, moment: str) -> None:
    cursor = urlsafe_b64encode(f"{moment} {uuid4()}".encode()).decode()
    answer = client.get("/v1/jobs", params={"cursor": cursor})
    assert answer.status_code == 200 or problem(answer, Code.VALIDATION)


@pytest.mark.parametrize(
    "key", [b"\xff\xfe", "schlüssel".encode(), b"a\x01b", b"'; drop table jobs --", b"\xc2\x00"[:1]]
)
def test_an_invalid_idempotency_key_is_not_a_server_error(client: httpx.Client, key: bytes) -> None:
    answer = client.post("/v1/jobs", files=[FILE], headers={b"Idempotency-Key": key})
    assert answer.status_code == 202 or refused(answer)


# --- identity -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Basic dXNlcjpwYXNz", "Bearer a.b.c", "Bearer " + "x" * 7000, "Bearer \u00e9", "Bearer ..",
     "Bearer eyJhbGciOiJub25lIn0.e30.", "bearer null", "Token x"],
)  # fmt: skip
def test_a_foreign_token_is_unauthenticated(platform: Platform, header: str) -> None:
    for method, path in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", f"/v1/jobs/{uuid4()}")):
        answer = httpx.request(method, platform.base + path, headers={"Authorization": header.encode()})
        problem(answer, Code.UNAUTHENTICATED)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_expired_a_forged_and_a_missing_token_are_unauthenticated(platform: Platform) -> None:
    expired = platform.issuer.token(uuid4(), life_s=-90)  # past the leeway for clocks that differ
    head, body, _ = platform.issuer.token(uuid4()).split(".")
    other = platform.issuer.token(uuid4()).split(".")[2]
    for token in (expired, f"{head}.{body}.{other}", f"{head}.{body}."):
        answer = httpx.get(f"{platform.base}/v1/jobs", headers={"Authorization": f"Bearer {token}"})
        problem(answer, Code.UNAUTHENTICATED)
    problem(httpx.get(f"{platform.base}/v1/jobs"), Code.UNAUTHENTICATED)


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [("studies:read", "POST", "/v1/jobs"), ("studies:write", "GET", "/v1/jobs"),
     ("studies:read", "DELETE", "/v1/jobs/{}"), ("studies:read", "POST", "/v1/jobs/{}/retry"),
     ("studies:write", "GET", "/v1/jobs/{}"), ("admin models:write", "GET", "/v1/jobs")],
)  # fmt: skip
def test_a_token_without_the_scope_is_forbidden(
    platform: Platform, scope: str, method: str, path: str
) -> None:
    with platform.client(scope=scope) as client:
        problem(client.request(method, path.format(uuid4())), Code.FORBIDDEN)


# --- a light fuzz over everything the API documents -----------------------------------------------------------


@cache
def operations() -> list[tuple[str, str, list[str]]]:
    """Method, path and query parameters of each operation."""
    from gateway.app import create_app
    from gateway.config import GatewaySettings

    document = create_app(GatewaySettings(database_url="postgresql+psycopg://u:p@127.0.0.1/x")).openapi()
    skip = {"/v1/anonymous/jobs"}
    return [
        (method.upper(), path, [p["name"] for p in operation.get("parameters", []) if p["in"] == "query"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if path not in skip
    ]


TEXT = st.text(max_size=40) | st.sampled_from(BAD_TEXT) | st.integers().map(str) | st.uuids().map(str)


FUZZED = (Code.NOT_FOUND, Code.VALIDATION, Code.MALFORMED_MULTIPART, Code.FORBIDDEN, Code.CONFLICT)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_fuzzed_requests_never_break_the_gateway(data: Any, done: Done) -> None:
    client, job = done
    known = {
        "job_id": [job["id"]],
        "instance_id": [image["id"] for image in job["images"]],
        "finding": ["edema"],
    }
    method, path, names = data.draw(st.sampled_from(operations()))
    if method == "DELETE":
        known["job_id"] = [str(uuid4())]
    for name in re.findall(r"{(\w+)}", path):
        value = data.draw(st.sampled_from([*known.get(name, []), ""]) | TEXT)
        path = path.replace("{" + name + "}", quote(value.encode("utf-8", "replace"), safe="") or "x")
    query = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, TEXT)))
    if "wait" in names and ("wait" not in query or query["wait"].isdigit()):
        query["wait"] = "0"
    body = data.draw(st.binary(max_size=200))
    content = body if method != "GET" else b""
    with client.stream(method, path, params=query, content=content) as answer:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):  # which does not end
            answer.read()
    assert answer.status_code < 500, (method, path, query)
    if answer.status_code >= 400:
        problem(answer, *FUZZED)


@pytest.mark.parametrize("value", ["a\0b", "\u202e", str(2**63)])
def test_what_no_name_and_no_number_can_be_is_refused_wherever_it_stands(
    platform: Platform, value: str
) -> None:
    with platform.client(scope="studies:read studies:write admin") as client:
        for method, path, names in operations():
            named = re.sub(r"{\w+}", quote(value), path)
            if named != path:
                answer = client.request(method, named)
                if value.isprintable():
                    assert answer.status_code < 500, (method, path)
                else:
                    refused(answer)
            for name in names if method == "GET" and "{" not in path else ():
                with client.stream(method, path, params={name: value}) as answer:
                    assert answer.status_code < 500, (path, name)


def _flipped(image: bytes, flips: list[tuple[int, int]]) -> bytes:
    changed = bytearray(image)
    for place, value in flips:
        changed[place % len(changed)] = value
    return bytes(changed)


# A file whose SOP Instance UID survived the damage is another version of one that was sent before.
DAMAGED = {Code.UNREADABLE_IMAGE, Code.NOT_A_CHEST, Code.INSTANCE_CONFLICT}


@pytest.mark.slow
@pytest.mark.parametrize("make", [chest_png, chest_jpeg, chest_dicom])
def test_damaged_images_end_as_results_or_coded_failures(
    client: httpx.Client, make: Callable[..., bytes]
) -> None:
    dice = random.Random(7)
    image = make(1, 64)
    damaged = [
        _flipped(image, [(dice.randrange(600), dice.randrange(256)) for _ in range(3)]) for _ in range(20)
    ]
    damaged += [image[: dice.randrange(140, len(image))] for _ in range(10)]
    jobs = []
    for data in damaged:
        answer = post(client, data)
        if answer.status_code == 202:
            jobs.append(answer.headers["location"])
        else:
            refused(answer)
    for job in jobs:
        view = finished(client, job)
        assert view["state"] == "succeeded" or view["error"]["code"] in DAMAGED, view["error"]


def test_wrong_exif_is_not_a_server_error(client: httpx.Client) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 0xFFFFFFF0)
    data = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + chest_jpeg()[2:]
    job = finished(client, post(client, data).headers["location"])
    assert job["state"] == "succeeded" or job["error"]["code"] == Code.UNREADABLE_IMAGE
