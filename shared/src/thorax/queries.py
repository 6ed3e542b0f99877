"""Named SQL: beside a module `x.py`, a file `sql/x.sql` of queries, each under `-- name --` with a sentence on it."""

import re
from pathlib import Path

from sqlalchemy import TextClause, text

from thorax.states import (
    ALIVE_S,
    ALL_TENANTS,
    ANONYMOUS_TENANT,
    DERIVATION_ATTEMPTS,
    DUE_CHANNEL,
    JOBS_CHANNEL,
    OTHER_PIXELS,
    SHADOW_PRIORITY,
)

FACTS: dict[str, int | str] = {
    "alive_s": ALIVE_S,
    "all_tenants": str(ALL_TENANTS),
    "anonymous_tenant": str(ANONYMOUS_TENANT),
    "due_channel": DUE_CHANNEL,
    "derivation_attempts": DERIVATION_ATTEMPTS,
    "jobs_channel": JOBS_CHANNEL,
    "other_pixels": OTHER_PIXELS,
    "shadow_priority": SHADOW_PRIORITY,
}
"""What SQL may name as a parameter without being given it."""

_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)
COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


def load(module: str) -> dict[str, TextClause]:
    """The queries of the module in this file (`__file__`), by name."""
    path = Path(module)
    _, *parts = _HEADING.split((path.parent / "sql" / f"{path.stem}.sql").read_text("utf-8"))
    return {
        name: statement(COMMENT.sub("", sql).strip())
        for name, sql in zip(parts[::2], parts[1::2], strict=True)
    }


def statement(sql: str) -> TextClause:
    """A query with the facts that it names."""
    return text(sql).bindparams(**{name: fact for name, fact in FACTS.items() if f":{name}" in sql})


def with_literals(sql: str) -> str:
    """SQL that takes no parameters, since it creates something, with the facts that it names written out."""
    for name, fact in FACTS.items():
        sql = re.sub(rf":{name}\b", repr(fact), sql)
    return sql
