"""Engines for workers and commands. Those of the HTTP services are in `thorax.http.database`.

Nothing relies on what a connection remembers between two transactions, since a pooler may give each transaction
another server connection. What has to hold for a whole connection (time-outs, a role) belongs into the start-up packet,
which not every pooler passes on; `require_usable` refuses to start where it does not.
"""

import sys
from secrets import token_hex
from typing import Any, cast

import orjson
import psycopg
import structlog
from sqlalchemy import Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

_log = structlog.get_logger(__name__)
# A statement that hangs holds a connection and its locks; nothing here needs half a minute. The last one is a mark:
# where it is missing, a pooler has dropped the others too, and with them a role that row-level security binds.
_OPTIONS = (
    "-c statement_timeout=30000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout=60000 "
    "-c thorax.options=on"
)
_OPTIONS_HOLD = "select current_setting('thorax.options', true) = 'on'"


def engine(url: str, *, pooled: bool = False, pool_size: int = 2, autocommit: bool = False) -> Engine:
    """A blocking engine for workers and commands; `pooled` as in `options`.

    With `autocommit` each statement is a transaction of its own, without the round trips of BEGIN and COMMIT.
    """
    own: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    how = options(url, pooled=pooled, most=pool_size + 2)
    made = create_engine(url, pool_size=pool_size, max_overflow=2, **own, **how)
    if not pooled:
        check_connections(made)
    return made


def transactional(autocommitting: Engine) -> Engine:
    """The same connections, for transactions of several statements."""
    return autocommitting.execution_options(isolation_level="READ COMMITTED")


# What all engines on the server may open, as their application_name says (see `options`), with all other connections.
_BUDGET = """
with open as (select application_name as name from pg_stat_activity where datid is not null),
engines as (select distinct name from open where name ~ '^thorax [0-9]{1,4} ')
select (select coalesce(sum(split_part(name, ' ', 2)::int), 0) from engines)
    + (select count(*) from open where name !~ '^thorax [0-9]{1,4} '),
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"""


def check_connections(made: Engine) -> None:
    """Warn once if Postgres can't hold all connections that engines may open (they rarely do), and refuse those whose
    start-up options were dropped on the way: OperationalError."""

    @event.listens_for(made, "first_connect")
    def count(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        needed, most = _row(connection, _BUDGET)
        if needed > most:
            _log.warning("too_few_connections", may_be_opened=int(needed), allowed=most)

    @event.listens_for(made, "connect")
    def check(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        if _row(connection, _OPTIONS_HOLD) != (True,):
            raise psycopg.OperationalError("the start-up options did not arrive: a pooler drops them")


def _row(connection: DBAPIConnection, query: str) -> tuple[Any, ...]:
    cursor = connection.cursor()
    cursor.execute(query)
    row = cast(tuple[Any, ...], cursor.fetchone())
    cursor.close()
    connection.rollback()
    return row


@event.listens_for(Engine, "handle_error")
def _forget_stale_plans(context: ExceptionContext) -> None:
    """After a migration a prepared statement may fail for good (feature_not_supported: "cached plan must not change
    result type"); only a new connection helps, so this one counts as lost."""
    if getattr(context.original_exception, "sqlstate", None) == "0A000":
        context.is_disconnect = True


# A server that vanished without a word (its machine lost power) is given up after 15 to 25 s, not after 15 minutes.
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def options(url: str, *, pooled: bool, most: int) -> dict[str, Any]:
    """The options of an engine of `most` connections. What the URL itself asks for (`?options=-c role=...`) is kept.

    `pooled`: behind a pooler in transaction mode. It knows neither start-up options nor statements that were prepared
    on another connection, so neither is used.
    """
    # No ping before each use: it costs a round trip every time, while a server that went away costs one failed
    # use, after which SQLAlchemy drops the whole pool. The last connection used is the likeliest to be alive.
    # Errors come without a statement's parameters: they may be logged, and titles and file names may not.
    return {
        "pool_use_lifo": True,
        "pool_recycle": 1800,
        "hide_parameters": True,
        "json_deserializer": orjson.loads,
        "connect_args": {
            **_connect_args(url, pooled=pooled),
            "application_name": f"thorax {most} {token_hex(3)}",
        },
    }


def _connect_args(url: str, *, pooled: bool) -> dict[str, Any]:
    connect = {"connect_timeout": 5, "application_name": "thorax", **KEEPALIVES}
    if pooled:
        return {**connect, "prepare_threshold": None}
    return {**connect, "options": " ".join([_OPTIONS, *_asked(url)])}


def _asked(url: str) -> tuple[str, ...]:
    return tuple(make_url(url).normalized_query.get("options", ()))


def require_usable(url: str, *, pooled: bool) -> None:
    """End this process with one sentence if what stands between it and Postgres would break its promises.

    An unreachable database is not a reason: the services wait for it. The sentence never holds the URL.
    """
    if pooled and _asked(url):
        sys.exit(
            "THORAX_DATABASE_URL: with THORAX_DATABASE_POOLED, log in as the service's role; `options` do not hold."
        )
    try:
        with connect(url, pooled=pooled) as one, connect(url, pooled=pooled) as other:
            fault = _fault(one, other, pooled=pooled)
    except psycopg.OperationalError as error:
        if "startup parameter" not in str(error):
            return
        fault = "The pooler refuses start-up options. Set THORAX_DATABASE_POOLED=true."
    if fault:
        sys.exit(f"THORAX_DATABASE_URL: {fault}")


def connect(url: str, *, pooled: bool) -> psycopg.Connection[tuple[Any, ...]]:
    """One connection that no pool keeps."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, **_connect_args(url, pooled=pooled))


def _fault(
    one: psycopg.Connection[tuple[Any, ...]], other: psycopg.Connection[tuple[Any, ...]], *, pooled: bool
) -> str:
    try:
        with one.transaction():
            one.execute("select 1")
    except psycopg.Error:
        return "The pooler does not carry transactions. Use its transaction mode, or session mode."
    if pooled:
        return ""
    # Two connections that are open at the same time have a server process each, unless a pooler lends them out.
    first, second, again = (
        cast(tuple[int], each.execute("select pg_backend_pid()").fetchone()) for each in (one, other, one)
    )
    if first == second or first != again:
        return "A pooler in transaction mode stands before Postgres. Set THORAX_DATABASE_POOLED=true."
    if one.execute(_OPTIONS_HOLD).fetchone() != (True,):
        return "The pooler drops start-up options. Set THORAX_DATABASE_POOLED=true."
    return ""
