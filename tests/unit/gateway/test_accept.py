"""What becomes of an upload's bytes when it can't be recorded."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from fastapi import Response
from sqlalchemy.exc import OperationalError

from gateway.jobs import endpoints
from gateway.uploads.accept import Sender
from thorax.errors import Code, CodedError


@pytest.mark.parametrize(
    ("error", "discarded"),
    [
        (CodedError(Code.QUOTA_EXCEEDED), True),  # surely not recorded
        (
            OperationalError("insert", {}, Exception("the connection died")),
            False,
        ),  # before the commit, or after?
    ],
)
async def test_bytes_are_erased_only_when_they_were_surely_not_recorded(
    error: Exception, discarded: bool
) -> None:
    erased: list[Any] = []

    async def nothing(*_: object, **__: object) -> None: ...
    async def discard(upload: object) -> None:
        erased.append(upload)

    async def accept(*_: object) -> None:
        raise error

    parts = SimpleNamespace(
        acceptance=SimpleNamespace(check_capacity=nothing, accept=accept),
        intake=SimpleNamespace(receive=nothing, discard=discard),
    )
    request: Any = SimpleNamespace(app=SimpleNamespace(state=parts))
    with pytest.raises(type(error)):
        await endpoints._accept(request, Response(), Sender(uuid4(), "somebody"), "key")
    assert bool(erased) is discarded
