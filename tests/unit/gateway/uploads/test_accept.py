"""What becomes of an upload's bytes when it can't be recorded."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.exc import OperationalError

from gateway.uploads.accept import Acceptance, Sender
from gateway.uploads.receive import StoredImage, Upload
from thorax.errors import Code, CodedError

IMAGE = StoredImage(uuid4(), "a.png", "image/png", 1, "0" * 64)


class Blobs:
    def __init__(self) -> None:
        self.erased: list[Any] = []

    def erase(self, instance_id: Any) -> None:
        self.erased.append(instance_id)


class Broken:
    """An engine whose every connection ends in this error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def connect(self) -> Any:
        raise self.error

    begin = connect


@pytest.mark.parametrize("key", [None, "key"])
@pytest.mark.parametrize(
    ("error", "erased"),
    [
        (CodedError(Code.QUOTA_EXCEEDED), [IMAGE.id]),  # surely not recorded
        (
            OperationalError("insert", {}, Exception("the connection died")),
            [],
        ),  # before the commit, or after?
    ],
)
async def test_bytes_are_erased_only_when_they_were_surely_not_recorded(
    error: Exception, erased: list[Any], key: str | None
) -> None:
    blobs: Any = Blobs()
    unused: Any = None
    engine: Any = Broken(error)
    with pytest.raises(type(error)):
        await Acceptance(unused, engine, blobs, unused).accept(
            Sender(uuid4(), "somebody"), Upload([IMAGE]), key
        )
    assert blobs.erased == erased
