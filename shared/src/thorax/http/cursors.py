"""Cursors: where a page of a list ended, as opaque text."""

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from thorax.errors import Code, CodedError


def cursor_of(*place: object) -> str:
    """The place of a page's last row in the list's order: moments, numbers, texts, ids."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def place_of(cursor: str, *kinds: Callable[[Any], Any]) -> tuple[Any, ...]:
    """What a cursor was made of, each part read by its kind.

    CodedError(VALIDATION) for an invalid cursor, or another list's: a kind raises ValueError, TypeError or KeyError.
    """
    try:
        parts = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        return tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
    except (ValueError, TypeError, AttributeError, KeyError):
        raise CodedError(Code.VALIDATION, "Invalid cursor. Omit it to start from the first page.") from None


def newest_first(cursor: str) -> tuple[datetime, UUID]:
    """The place in a list that is ordered by a moment and an id."""
    when, row_id = place_of(cursor, moment, UUID)
    return when, row_id


def moment(text: str) -> datetime:
    """An ISO 8601 moment with its zone; ValueError or TypeError for anything else."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("no zone")
    return found
