"""Analyses an image over HTTP, as any client would: token, upload, wait, overlay."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

PATIENCE_S = 120


class AnalysisError(Exception):
    """The platform gave no result; the message is one sentence."""


@dataclass(frozen=True)
class Access:
    """Where a platform is, and which user asks."""

    base_url: str
    user: str
    password: str

    @classmethod
    def of(cls, run_file: Path) -> Self:
        """Read from the running platform's run.json. Raises AnalysisError when none runs."""
        try:
            about = json.loads(run_file.read_text())
        except OSError as error:
            raise AnalysisError(
                f"No platform is running here ({run_file} is missing). Start one: `make run`."
            ) from error
        return cls(about["base_url"], about["user"], about["password"])


@dataclass(frozen=True)
class Result:
    """A finished analysis: the study's findings and the strongest one's overlay, a PNG."""

    findings: list[dict[str, Any]]
    overlay: bytes
    seconds: float


async def analyse(access: Access, name: str, image: bytes) -> Result:
    """Send the file, wait for its job, fetch the overlay. Raises AnalysisError, httpx.HTTPError."""
    async with httpx.AsyncClient(base_url=access.base_url, timeout=70) as client:
        await _log_in(client, access)
        began = asyncio.get_running_loop().time()
        answer = await client.post("/v1/jobs", files={"files": (name, image)}, data={"title": name})
        _json(answer)
        place = answer.headers["Location"]
        try:
            async with asyncio.timeout(PATIENCE_S):
                done = await _wait(client, place)
        except TimeoutError:
            raise AnalysisError(f"{place} took more than {PATIENCE_S} s.") from None
        seconds = asyncio.get_running_loop().time() - began
        findings = done["study"]["findings"]
        strongest = max(findings, key=lambda f: f["probability"])["finding"]
        picture = f"{place}/images/{done['images'][0]['id']}/overlay/{strongest}.png"
        overlay = (await client.get(picture)).raise_for_status().content
    return Result(findings, overlay, seconds)


def table(result: Result) -> str:
    """The findings as a person reads them."""
    rows = [
        f"  {f['label']:<18} {f['probability']:6.1%}   {f['threshold']:6.1%}     {'yes' if f['positive'] else '-'}"
        for f in result.findings
    ]
    return "\n".join(["  finding            probability threshold  positive", *rows])


async def may_log_in(access: Access) -> bool:
    """Whether the user exists and has this password."""
    async with httpx.AsyncClient(base_url=access.base_url, timeout=10) as client:
        return (await _token(client, access)).is_success


async def _log_in(client: httpx.AsyncClient, access: Access) -> None:
    token = _json(await _token(client, access))["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"


async def _token(client: httpx.AsyncClient, access: Access) -> httpx.Response:
    form = {"grant_type": "password", "username": access.user, "password": access.password}
    return await client.post("/auth/token", data=form)


async def _wait(client: httpx.AsyncClient, place: str) -> dict[str, Any]:
    while True:
        job = _json(await client.get(place, params={"wait": 30}))
        if job["state"] == "succeeded":
            return job
        if job["state"] in {"failed", "cancelled"}:
            raise AnalysisError(f"{place} {job['state']}: {(job['error'] or {}).get('detail', '')}")


def _json(answer: httpx.Response) -> dict[str, Any]:
    body: dict[str, Any] = answer.json() if answer.content else {}
    if answer.is_error:
        said = (
            body.get("detail") or body.get("error_description") or body.get("title") or answer.reason_phrase
        )
        raise AnalysisError(f"{answer.request.url.path} answered {answer.status_code}: {said}")
    return body
