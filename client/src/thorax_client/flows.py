"""What the client does, without saying how bytes travel: each flow yields what it wants next, and is sent the answer.

`Client` and `AsyncClient` drive the same flows, one with and one without `await`.
"""

import json
import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID, uuid4

from msgspec.json import Decoder

from thorax_client import models
from thorax_client.credentials import EARLY_S, Credentials
from thorax_client.errors import (
    JobFailedError,
    ProblemError,
    StillRunningError,
    UnreachableError,
    retry_after_s,
)
from thorax_client.models import Job, JobPage, Model, ModelList, Receipt, Secret, Token

AGAIN = frozenset({429, 502, 503, 504})
HELD_S = 30
CONNECT_S, READ_S = 10, HELD_S + 30
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 30.0
_FIELD, _ANY = "Content-Disposition: form-data; name=", "Content-Type: application/octet-stream"
_ESCAPED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})  # as browsers do (HTML, 4.10.21.8)
T = TypeVar("T")
M = TypeVar("M", bound=models.Answer)
# Built here, before there are threads: msgspec does not build them safely in several.
_DECODERS: Mapping[type[models.Answer], Decoder[Any]] = {
    model: Decoder(model) for model in (Job, JobPage, ModelList, Receipt, Secret, Token)
}
File = str | PathLike[str] | tuple[str, bytes]
"""A path, or a name and the bytes."""


@dataclass(frozen=True)
class Request:
    """One request to be sent; `repeatable`: whether sending it twice does no harm."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True


@dataclass(frozen=True)
class Answer:
    """What came back; `headers` do not mind the case of their names."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class LostError(Exception):
    """The connection could not be made, or broke off before there was an answer."""


@dataclass(frozen=True)
class Pause:
    """So many seconds of waiting."""

    seconds: float


Flow = Generator[Request | Pause, Answer | None, T]


class Flows:
    """The API's operations for one caller. `patience_s`: how long in all a request is tried again, pauses included.

    `turn` is entered to renew the token: a lock where threads share this.
    """

    def __init__(
        self, credentials: Credentials, patience_s: float, turn: AbstractContextManager[object]
    ) -> None:
        self._credentials, self._patience_s, self._turn = credentials, patience_s, turn
        self._token, self._renew_at = credentials.token, float("inf") if credentials.token else 0.0
        self._jobs = "/v1/anonymous/jobs" if credentials.anonymous else "/v1/jobs"

    def submit(
        self,
        files: Sequence[File],
        title: str,
        priority: str,
        force: bool,
        full: bool,
        key: str | None,
        callback_url: str = "",
    ) -> Flow[Receipt]:
        """Upload the images of one study."""
        body, media_type = _multipart(
            files, {"title": title, "priority": priority, "callback_url": callback_url}
        )
        answer = yield from self._call(
            "POST",
            self._jobs,
            headers={"Idempotency-Key": key or uuid4().hex, "Content-Type": media_type},
            body=body,
            params=_switched_on(force=force, full=full),
        )
        return _read(answer, Receipt)

    def job(self, which: "Which") -> Flow[Job]:
        """The job as it is now."""
        answer = yield from self._call("GET", self._place(which))
        return _read(answer, Job)

    def wait(self, which: "Which", timeout_s: float) -> Flow[Job]:
        """The job once it has ended, by held polls."""
        until = monotonic() + timeout_s
        while True:
            held = max(0.0, min(HELD_S, until - monotonic()))
            answer = yield from self._call("GET", self._place(which), params={"wait": f"{held:.1f}"})
            job = _read(answer, Job)
            if job.ended:
                return job
            if monotonic() >= until:
                raise StillRunningError(
                    f"Job {job.id} has not ended after {timeout_s:g} s; it is {job.state}."
                )

    def change(self, which: "Which", version: int, timeout_s: float) -> Flow[Job | None]:
        """The job once it is past this version, by one held poll; None if it is not when the time is up."""
        answer = yield from self._call(
            "GET",
            self._place(which),
            headers={"If-None-Match": f'W/"{version}"'},
            params={"wait": f"{min(HELD_S, timeout_s):.1f}"},
        )
        return None if answer.status == 304 else _read(answer, Job)

    def analyze(
        self,
        files: Sequence[File],
        title: str,
        priority: str,
        force: bool,
        full: bool,
        key: str | None,
        timeout_s: float,
    ) -> Flow[Job]:
        """Upload, wait, and give back the job; JobFailedError where it has no result."""
        receipt = yield from self.submit(files, title, priority, force, full, key)
        job = yield from self.wait(receipt, timeout_s)
        if job.state != "succeeded":
            raise JobFailedError(job)
        return job

    def page(self, cursor: str | None, limit: int, filters: Mapping[str, str]) -> Flow[JobPage]:
        """One page of the tenant's jobs."""
        params = {**filters, "limit": str(limit), **({"cursor": cursor} if cursor else {})}
        answer = yield from self._call("GET", "/v1/jobs", params=params)
        return _read(answer, JobPage)

    def models(self) -> Flow[list[Model]]:
        """The registered bundles, the active one first."""
        answer = yield from self._call("GET", "/v1/models")
        return _read(answer, ModelList).items

    def content(self, path: str, **params: str) -> Flow[bytes]:
        """The bytes that a link leads to."""
        answer = yield from self._call("GET", path, params=params)
        return answer.content

    def erase(self, which: "Which") -> Flow[None]:
        """Cancel the job if it is open, erase it if it has ended."""
        yield from self._call("DELETE", self._place(which))

    def retry(self, which: "Which") -> Flow[Job]:
        """Start a failed, cancelled or degraded job again."""
        yield from self._call("POST", f"{self._place(which)}/retry", repeatable=False)
        return (yield from self.job(which))

    def again(self, which: "Which", full: bool) -> Flow[Job]:
        """Analyse the images of a job that has succeeded again: the new job."""
        params = _switched_on(full=full)
        answer = yield from self._call("POST", f"{self._place(which)}/analyse", params=params)
        return _read(answer, Job)

    def create_client(self, name: str) -> Flow[Credentials]:
        """A new machine client of the person who asks."""
        body, headers = json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
        answer = yield from self._call("POST", "/auth/clients", headers=headers, body=body, repeatable=False)
        made = _read(answer, Secret)
        return Credentials(client_id=str(made.id), client_secret=made.secret)

    def _place(self, which: "Which") -> str:
        return f"{self._jobs}/{which}" if isinstance(which, str | UUID) else which.links["self"]

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        repeatable: bool = True,
    ) -> Flow[Answer]:
        """Send with a valid token; a token that is refused all the same is renewed once."""
        if self._renew_at <= monotonic():
            yield from self._log_in(self._token)
        place = f"{path}{'&' if '?' in path else '?'}{urlencode(params)}" if params else path
        request = Request(method, place, headers or {}, body, repeatable)
        token = self._token
        answer = yield from self._send(self._signed(request))
        if answer.status == 401 and self._credentials.form:
            yield from self._log_in(token)
            answer = yield from self._send(self._signed(request))
        if answer.status >= 400:
            raise ProblemError.of(answer.status, answer.content)
        return answer

    def _signed(self, request: Request) -> Request:
        if not self._token:
            return request
        return replace(request, headers={**request.headers, "Authorization": f"Bearer {self._token}"})

    def _log_in(self, old: str) -> Flow[None]:
        """Renew the token, unless another thread has since `old`."""
        form = self._credentials.form
        if form is None:
            return
        with self._turn:
            if self._token != old:
                return
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = yield from self._send(Request("POST", "/auth/token", headers, urlencode(form).encode()))
            if answer.status >= 400:
                raise ProblemError.of(answer.status, answer.content)
            given = _read(answer, Token)
            self._token = given.access_token
            self._renew_at = monotonic() + max(1.0, given.expires_in - EARLY_S)

    def _send(self, request: Request) -> Flow[Answer]:
        """Send; again after what the server asks for, or after longer and longer pauses drawn at random (full jitter)."""
        until, most = monotonic() + self._patience_s, _FIRST_PAUSE_S
        while True:
            error: LostError | None = None
            answer: Answer | None = None
            try:
                answer = yield request
                assert answer is not None
            except LostError as lost:
                error = lost
            if answer is not None and answer.status not in AGAIN:
                return answer
            asked = retry_after_s(answer.headers) if answer is not None else None
            pause = random.uniform(0, most) if asked is None else asked + random.uniform(0, 1)  # noqa: S311
            if monotonic() + pause > until or (answer is None and not request.repeatable):
                if answer is not None:
                    return answer
                raise UnreachableError(
                    f"{request.method} {request.path} failed: {error}. Is the platform running, and the address right?"
                ) from error
            yield Pause(pause)
            most = min(2 * most, _LONGEST_PAUSE_S)


Which = str | UUID | Job | Receipt
"""A job, its receipt, or its id."""


def _read(answer: Answer, model: type[M]) -> M:
    """The model in an answer; UnreachableError where it is none of the API's, as behind a wrong address."""
    try:
        read: M = _DECODERS[model].decode(answer.content)
    except ValueError as error:
        raise UnreachableError(
            f"The server did not answer as Thorax does ({error}). Is the address right?"
        ) from error
    return read


def _multipart(files: Sequence[File], form: Mapping[str, str]) -> tuple[bytes, str]:
    """The upload's body in one piece, and its media type (RFC 7578): sent as pieces it costs httpx's async side twice the CPU time."""
    mark, pieces = uuid4().hex, list[bytes]()
    for name, value in form.items():
        if value:
            pieces += [f'--{mark}\r\n{_FIELD}"{name}"\r\n\r\n{value}\r\n'.encode()]
    for name, data in map(_named, files):
        head = f'--{mark}\r\n{_FIELD}"files"; filename="{name.translate(_ESCAPED)}"\r\n{_ANY}\r\n\r\n'
        pieces += [head.encode(errors="replace"), data, b"\r\n"]  # a name need not be UTF-8
    return b"".join([*pieces, f"--{mark}--\r\n".encode()]), f"multipart/form-data; boundary={mark}"


def _switched_on(**switches: bool) -> Mapping[str, str]:
    return {name: "true" for name, on in switches.items() if on}


def _named(file: File) -> tuple[str, bytes]:
    if isinstance(file, tuple):
        return file
    path = Path(file)
    return path.name, path.read_bytes()
