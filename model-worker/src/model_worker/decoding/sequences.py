"""Sequences that lack their Sequence Delimitation Item (PS3.5, 7.5.2), as some archives write them.

pydicom 3.0.2 would take the element that follows for an item, and lose the rest of the data set or its place in it.
"""

from contextvars import ContextVar
from os import SEEK_CUR
from typing import Any, BinaryIO

from pydicom import Dataset, filereader

unended: ContextVar[bool] = ContextVar("unended", default=False)
"""Whether a sequence without its delimiter was met since this was last set to False."""

_read_item = filereader.read_sequence_item


def _item(
    file: BinaryIO, implicit: bool, little_endian: bool, encoding: Any, offset: int = 0
) -> Dataset | None:
    """The next item; None at the delimiter, or where another element than an item follows: there the sequence ends."""
    group = file.read(2)
    file.seek(-len(group), SEEK_CUR)
    if len(group) == 2 and group != (b"\xfe\xff" if little_endian else b"\xff\xfe"):
        unended.set(True)
        return None
    return _read_item(file, implicit, little_endian, encoding, offset)


vars(filereader)["read_sequence_item"] = _item
