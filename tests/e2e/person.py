"""A person at a browser, and what a person can do without one."""

import math
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from tests.e2e.test_make_run import Run
from tests.factories.patience import PATIENCE_S, until

from thorax.identity import MAX_TOKEN_LIFE_S

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
PASSWORD = "a sentence is a good password"


class Account:
    """An account, by the API."""

    def __init__(self, stack: Run, name: str | None = None, password: str = PASSWORD) -> None:
        base = f"http://127.0.0.1:{stack.port}"
        self.password = password
        if name is None:
            name = f"reader-{secrets.token_hex(4)}"
            body = {"name": name, "password": password}
            httpx.post(f"{base}/auth/register", json=body).raise_for_status()
        self.name = name
        self._token, self._renewed = "", -math.inf
        self.api = httpx.Client(base_url=base, auth=self._authorize)

    def _authorize(self, request: httpx.Request) -> httpx.Request:
        """With a token that is renewed before it expires, as a slow run outlasts one."""
        if time.monotonic() - self._renewed > MAX_TOKEN_LIFE_S / 4:
            form = {"grant_type": "password", "username": self.name, "password": self.password}
            answer = httpx.post(self.api.base_url.join("/auth/token"), data=form).raise_for_status()
            self._token, self._renewed = answer.json()["access_token"], time.monotonic()
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def send(self, *images: tuple[str, bytes], title: str) -> str:
        """Upload a study; its job's id."""
        files = [("files", (name, data, "application/octet-stream")) for name, data in images]
        answer = self.api.post("/v1/jobs", files=files, data={"title": title})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def final(self, job: str) -> dict[str, Any]:
        """The job, when it has ended."""

        def ended() -> dict[str, Any] | None:
            view: dict[str, Any] = self.api.get(f"/v1/jobs/{job}", params={"wait": "10"}).json()
            return view if view["state"] in ("succeeded", "failed", "cancelled") else None

        found: dict[str, Any] = until(ended, f"job {job} does not end")
        return found


class Person:
    """A person with a browser, who notices errors in the console and requests to other hosts."""

    def __init__(self, browser: Any, stack: Run, width: int = 1280, height: int = 800) -> None:
        self.base = f"http://127.0.0.1:{stack.port}"
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, base_url=self.base, reduced_motion="reduce"
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda m: "Content Security" in m.text and self.wrong.append(m.text))
        self.page.on("request", lambda r: self._own(r.url) or self.wrong.append(r.url))

    def _own(self, url: str) -> bool:
        return url.startswith((self.base, f"blob:{self.base}", "data:"))

    def sign_up(self) -> str:
        """A new account, by the form."""
        name = f"reader-{secrets.token_hex(4)}"
        self.page.goto("/sign-up")
        self.page.get_by_label("Name or e-mail").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Create an account").click()
        self.page.wait_for_url("**/studies")
        return name

    def log_in(self, name: str, password: str = PASSWORD) -> None:
        """By the form that is on the screen."""
        self.page.get_by_label("Name or e-mail").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def enter(self, account: Account) -> None:
        """Logged in, without the form."""
        body = {"name": account.name, "password": account.password}
        answer = self.context.request.post("/auth/session", data=body, timeout=PATIENCE_S * 1000)
        assert answer.ok, answer.text()

    def choose(self, *files: Path) -> None:
        """Upload by the file dialog."""
        self.page.goto("/")
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Choose files").click()
        chooser.value.set_files(files)

    def study(self, *files: Path) -> str:
        """Upload, wait for the result in the viewer; the view's address."""
        self.choose(*files)
        return self.result("**/studies/*")

    def result(self, address: str) -> str:
        """Wait until a study's findings and image are there; the view's address."""
        self.page.wait_for_url(address)
        self.page.get_by_role("radio").nth(4).wait_for(state="attached")
        self.page.locator("canvas[data-ready]").first.wait_for()
        return str(self.page.url)

    def canvas(self) -> bytes:
        """The image as it is shown, once it does not change any more."""
        canvas = self.page.locator("canvas").first
        canvas.wait_for()
        shots = [bytes(canvas.screenshot()), b""]

        def still() -> bool:
            shots[:] = [bytes(canvas.screenshot()), shots[0]]
            return shots[0] == shots[1]

        until(still, "the image does not come to rest")
        return shots[0]

    def sees_another(self, before: bytes) -> bytes:
        """Wait until the image looks different and is at rest: what is written over it may come later than its map."""
        looks = lambda: (now := self.canvas()) != before and now  # noqa: E731
        found: bytes = until(looks, "the image looks as it did before")
        return found

    def axe(self, rules: Sequence[str] = ()) -> list[str]:
        """What axe finds by WCAG 2.2 AA and by good practice, or only by some of its rules."""
        self.page.evaluate(AXE.read_text())
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = self.page.evaluate("names => axe.run({ runOnly: names })", [*rules] or tags)
        return [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found["violations"]]
