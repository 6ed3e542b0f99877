"""What can go wrong, by kind. Problem details (RFC 9457) keep the platform's stable code, sentence and remedy."""

import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Self

from thorax_client.models import Failure, Job


class ThoraxError(Exception):
    """Any error of this client; its text is one or two sentences for people."""


class UnreachableError(ThoraxError):
    """The platform could not be reached, or broke off, more often than was to be tried again."""


class StillRunningError(ThoraxError):
    """A job had not ended when the time was up. It continues; wait for it again by its id."""


class ProblemError(ThoraxError):
    """The platform refused a request. `code` is stable: programs switch on it, people read `detail` and `remedy`."""

    def __init__(self, status: int, code: str, detail: str, remedy: str, document: dict[str, Any]) -> None:
        super().__init__(f"{detail} {remedy}".strip())
        self.status, self.code, self.detail, self.remedy = status, code, detail, remedy
        self.document = document

    @classmethod
    def of(cls, status: int, content: bytes) -> Self:
        """From an answer of 400 or more; one of a proxy, without a problem document, has the code `http_STATUS`."""
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            document = {}
        code = str(document.get("code") or f"http_{status}")
        detail = str(document.get("detail") or f"The server answered {status}.")
        return cls(status, code, detail, str(document.get("remedy") or ""), document)


class JobFailedError(ThoraxError):
    """A job ended without a result. `code` as of a problem; `cancelled` where nobody gave a reason."""

    def __init__(self, job: Job) -> None:
        error: Failure | None = job.error
        super().__init__(
            f"{error.detail} {error.remedy}" if error else f"The job was {job.state} without a result."
        )
        self.job, self.code = job, error.code if error else job.state


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3); None where it asks for nothing."""
    told = headers.get("Retry-After", "")
    if told.isascii() and told.isdigit():
        return float(told)
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time())
    except ValueError:
        return None
