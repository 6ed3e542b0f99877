"""The page's session: cookies that scripts can't read, CSRF, refresh from two tabs, stolen cookies."""

import asyncio
from http.cookies import SimpleCookie
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from auth_service.sessions import service as sessions
from thorax.errors import Code

from .conftest import PASSWORD, Visit, Visitor


def cookies(answer: httpx.Response) -> dict[str, Any]:
    jar: SimpleCookie = SimpleCookie()
    for header in answer.headers.get_list("set-cookie"):
        jar.load(header)
    return dict(jar)


@pytest.fixture
async def page(visitor: Visitor) -> Visitor:
    await visitor.sign_up("ada")
    await visitor.open_page("ada")
    return visitor


async def test_the_cookies_are_as_closed_as_they_can_be(page: Visitor) -> None:
    answer = await page.open_page("ada")
    found = cookies(answer)
    assert set(found) == {"thorax_access", "thorax_refresh", "thorax_csrf"}
    assert [bool(found[n]["httponly"]) for n in ("thorax_access", "thorax_refresh", "thorax_csrf")] == [
        True,
        True,
        False,
    ]
    assert {c["samesite"] for c in found.values()} == {"strict"}
    assert {c["domain"] for c in found.values()} == {""}
    assert (found["thorax_refresh"]["path"], found["thorax_access"]["path"]) == ("/auth/session", "/")
    assert int(found["thorax_access"]["max-age"]) <= 600
    assert not any(c["secure"] for c in found.values()), "switched off in these tests"
    for secret in ("thorax_access", "thorax_refresh"):
        assert found[secret].value not in answer.text


class TestOverTls:
    """The default: cookies travel by TLS only."""

    @pytest.fixture
    def change(self) -> dict[str, Any]:
        return {"cookie_secure": True}

    async def test_all_cookies_are_secure(self, visitor: Visitor) -> None:
        await visitor.sign_up("ada")
        answer = await visitor.post("/auth/session", json={"name": "ada", "password": PASSWORD})
        assert all(c["secure"] for c in cookies(answer).values())


async def test_the_page_reads_and_writes_by_cookie(page: Visitor) -> None:
    me = (await page.get("/auth/me")).json()
    assert (me["name"], me["kind"]) == ("ada", "user")
    assert (await page.post("/auth/clients", json={"name": "pacs"})).status_code == 201


@pytest.mark.parametrize("sent", [None, "", "guess"])
async def test_unsafe_methods_need_the_csrf_token(page: Visitor, sent: str | None) -> None:
    del page.headers["X-CSRF-Token"]
    headers = {} if sent is None else {"X-CSRF-Token": sent}
    unsafe = [
        ("POST", "/auth/clients", {"name": "pacs"}),
        ("POST", "/auth/password", {"current": PASSWORD, "new": "another long passphrase"}),
        ("DELETE", "/auth/me", {"password": PASSWORD}),
        ("POST", "/auth/logout", None),
        ("POST", "/auth/session/refresh", None),
        ("DELETE", "/auth/session", None),
    ]
    for method, path, body in unsafe:
        answer = await page.request(method, path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, Code.CSRF), path
    assert (await page.get("/auth/me")).status_code == 200


async def test_anothers_csrf_token_does_not_fit(page: Visitor, visit: Visit) -> None:
    eve = visit()
    await eve.sign_up("eve")
    await eve.open_page("eve")
    page.headers["X-CSRF-Token"] = eve.headers["X-CSRF-Token"]
    page.cookies.set("thorax_csrf", eve.headers["X-CSRF-Token"], domain="thorax.test")
    assert (await page.post("/auth/clients", json={"name": "pacs"})).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_cannot_log_a_user_in(visitor: Visitor, site: str) -> None:
    await visitor.sign_up("ada")
    body = {"name": "ada", "password": PASSWORD}
    answer = await visitor.post("/auth/session", json=body, headers={"Sec-Fetch-Site": site})
    assert (answer.status_code, answer.json()["code"]) == (403, Code.CSRF)
    form = await visitor.post("/auth/session", data=body)
    assert form.status_code == 422


async def test_refresh_gives_new_cookies_and_keeps_the_csrf_token(page: Visitor) -> None:
    before = {n: page.cookies[n] for n in ("thorax_access", "thorax_refresh", "thorax_csrf")}
    answer = await page.post("/auth/session/refresh")
    assert answer.status_code == 200
    assert answer.json()["account"]["name"] == "ada"
    after = {n: page.cookies[n] for n in before}
    assert [before[n] == after[n] for n in before] == [False, False, True]
    assert (await page.post("/auth/clients", json={"name": "pacs"})).status_code == 201


async def test_two_tabs_may_refresh_at_once(page: Visitor) -> None:
    jar = {"Cookie": "; ".join(f"{n}={v}" for n, v in page.cookies.items())}
    answers = await asyncio.gather(*(page.post("/auth/session/refresh", headers=jar) for _ in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [409] * 7
    late = next(a for a in answers if a.status_code == 409)
    assert late.headers["Retry-After"] == "1"
    assert not cookies(late), "who comes second gets nothing"
    assert (await page.post("/auth/session/refresh")).status_code == 200


async def test_a_stolen_refresh_cookie_ends_the_session(page: Visitor) -> None:
    stolen = {"Cookie": f"thorax_refresh={page.cookies['thorax_refresh']}"}
    assert (await page.post("/auth/session/refresh")).status_code == 200
    with patch.object(sessions, "TWO_TABS", sessions.TWO_TABS * 0):
        assert (await page.post("/auth/session/refresh", headers=stolen)).status_code == 401
    assert (await page.post("/auth/session/refresh")).status_code == 401
    assert (await page.get("/auth/me")).status_code == 401


async def test_page_and_api_tokens_are_not_exchanged(page: Visitor) -> None:
    cookie = page.cookies["thorax_refresh"]
    assert (await page.token("refresh_token", refresh_token=cookie)).status_code == 400
    api = (await page.tokens("ada"))["refresh_token"]
    answer = await page.post("/auth/session/refresh", headers={"Cookie": f"thorax_refresh={api}"})
    assert answer.status_code == 401
    assert (await page.post("/auth/session/refresh")).status_code == 200


async def test_logging_out_removes_the_cookies_and_the_session(page: Visitor) -> None:
    cookie = {"Cookie": f"thorax_refresh={page.cookies['thorax_refresh']}"}
    answer = await page.delete("/auth/session")
    assert answer.status_code == 204
    assert {c["max-age"] for c in cookies(answer).values()} == {"0"}
    assert (await page.post("/auth/session/refresh", headers=cookie)).status_code == 401
    assert (await page.get("/auth/me")).status_code == 401


async def test_a_session_outlives_its_access_cookie_by_refreshing(page: Visitor) -> None:
    page.cookies.delete("thorax_access")
    assert (await page.get("/auth/me")).status_code == 401
    assert (await page.post("/auth/session/refresh")).status_code == 200
    assert (await page.get("/auth/me")).status_code == 200
