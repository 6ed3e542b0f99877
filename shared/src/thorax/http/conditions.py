"""Conditions and ranges of requests for files (RFC 9110, 13 and 14), and what a file is called (RFC 6266, 8187)."""

import re
from urllib.parse import quote

_TAG = re.compile(r'(?:W/)?"[^"]*"')
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def matches(if_none_match: str | None, tag: str) -> bool:
    """Whether If-None-Match, a list of tags or `*`, names the tag; compared weakly (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    tags = {found.removeprefix("W/") for found in _TAG.findall(if_none_match)}
    return if_none_match.strip() == "*" or tag.removeprefix("W/") in tags


class UnsatisfiableRangeError(ValueError):
    """A range that begins behind the end."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last that a Range header asks of `size` bytes.

    None: all of them, as for several ranges, other units and malformed headers, which a server may ignore (RFC 9110,
    14.2). Raises UnsatisfiableRangeError.
    """
    found = _RANGE.fullmatch((header or "").replace(" ", ""))
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise UnsatisfiableRangeError
    return start, end


def attachment(name: str) -> str:
    """The Content-Disposition of a file to be saved, for any name."""
    plain = "".join(c if 32 <= ord(c) < 127 and c not in '"\\%' else "_" for c in name)
    extended = f"; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}" if plain != name else ""
    return f'attachment; filename="{plain}"{extended}'
