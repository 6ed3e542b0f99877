"""How the page is served: compressed where it can be, cached for ever where it may be, and under a strict policy."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gateway.site import pages as web
from thorax.http import problems

HTML, SCRIPT = b"<!doctype html><title>Built</title>", b"export const answer = 42;"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    page = tmp_path / "dist"
    (page / "assets").mkdir(parents=True)
    (page / "index.html").write_bytes(HTML)
    (page / "assets/index-1a2b.js").write_bytes(SCRIPT)
    (page / "assets/index-1a2b.js.br").write_bytes(b"brotli")
    (page / "assets/index-1a2b.js.gz").write_bytes(b"gzip")
    (page / "assets/notes.txt").write_text("no file of a page")
    (tmp_path / "secret.js").write_text("secret")
    (page / "favicon.svg").write_text("<svg/>")
    return page


def client(page: Path | None) -> TestClient:
    app = FastAPI()
    app.state.settings = SimpleNamespace(page=page)
    app.include_router(web.router)
    problems.install(app)
    return TestClient(app)


@pytest.mark.parametrize(
    "path", ["/", "/studies", "/studies/1f/report", "/open/s3cret", "/compare/a/b", "/admin"]
)
def test_every_view_is_the_one_page(built: Path, path: str) -> None:
    answer = client(built).get(path)
    assert answer.content == HTML
    assert answer.headers["cache-control"] == "no-cache"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "http" not in policy


def test_other_addresses_are_problems_and_the_page_is_only_read(built: Path) -> None:
    page = client(built)
    assert page.get("/nothing").json()["code"] == "not_found"
    assert page.post("/").status_code == 405
    assert page.head("/").status_code == 200


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("identity", None)]
)
def test_hashed_files_are_compressed_and_never_change(
    built: Path, accepted: str, encoding: str | None
) -> None:
    url, headers = "/assets/index-1a2b.js", {"accept-encoding": accepted}
    with client(built).stream("GET", url, headers=headers) as answer:
        body = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == encoding
        assert body == {"br": b"brotli", "gzip": b"gzip", None: SCRIPT}[encoding]
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["vary"] == "Accept-Encoding"


@pytest.mark.parametrize(
    "path",
    ["/assets/gone.js", "/assets/notes.txt", "/assets/..%2f..%2fsecret.js", "/assets/%2e%2e/index.html.br"],
)
def test_only_the_documented_paths_are_served(built: Path, path: str) -> None:
    assert client(built).get(path).status_code == 404


@pytest.mark.parametrize("path", ["/favicon.svg", "/favicon.ico"])
def test_the_icon_is_found_by_either_name(built: Path, path: str) -> None:
    assert client(built).get(path).headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("page", [None, Path("/nowhere")])
def test_without_a_build_every_view_says_how_to_make_one(page: Path | None) -> None:
    for path in ("/", "/studies"):
        answer = client(page).get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-cache")
        assert "make web" in answer.text
    assert client(page).get("/favicon.svg").status_code == 404
