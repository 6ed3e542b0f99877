"""The form of every error of the API, and the check for it."""

from typing import Any
from uuid import UUID

import httpx

from thorax.errors import Code


def problem(answer: httpx.Response, *codes: Code) -> dict[str, Any]:
    """The problem document of an answer, which must be a complete one with one of these codes."""
    assert answer.headers.get("content-type") == "application/problem+json", (answer, answer.text[:300])
    document: dict[str, Any] = answer.json()
    for member in ("type", "code", "title", "status", "detail", "remedy", "instance"):
        assert document[member], f"{member} is missing: {document}"
    assert not codes or document["code"] in codes, document
    code = Code(document["code"])
    assert document["type"] == f"/problems/{code}"
    assert (answer.status_code, document["status"], document["title"]) == (
        code.status,
        code.status,
        code.title,
    )
    UUID(document["instance"].removeprefix("urn:uuid:"))
    return document


def refused(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer, which must be some 4xx."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    return problem(answer)
