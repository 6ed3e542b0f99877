"""The database and the broker under the platform: those whose URLs are given, else embedded ones."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from local_stack.postgres import Postgres
from local_stack.process import StartError
from local_stack.roles import ROLES, create_database, logins
from local_stack.server import Server
from local_stack.settings import LocalSettings
from local_stack.valkey import Valkey
from thorax import schema

DATABASE = "thorax"


class Backing:
    """Knows how to reach the stores; starting the embedded ones is the supervisor's business."""

    def __init__(self, settings: LocalSettings) -> None:
        self._database_url = settings.database_url and settings.database_url.get_secret_value()
        self._redis_url = settings.redis_url and settings.redis_url.get_secret_value()
        self._postgres = Postgres(settings.state / "postgres")
        self._valkey = Valkey(settings.state / "valkey")

    @property
    def embedded(self) -> list[Server]:
        """The servers that have to be started."""
        return [*self.database, *([] if self._redis_url else [self._valkey])]

    @property
    def database(self) -> list[Server]:
        """The embedded Postgres, if no database is given."""
        return [] if self._database_url else [self._postgres]

    def check_connection(self) -> None:
        """Raises StartError when a given store refuses the connection; the sentence holds no password."""
        if self._database_url:
            try:
                psycopg.connect(self._database_url.replace("+psycopg", ""), connect_timeout=5).close()
            except psycopg.Error as error:
                raise StartError(f"THORAX_DATABASE_URL cannot be used: {_first_line(error)}.") from error
        if self._redis_url:
            import redis  # only here, as its import would slow every start

            try:
                redis.Redis.from_url(self._redis_url, socket_timeout=5).ping()
            except (redis.RedisError, ValueError) as error:
                raise StartError(f"THORAX_REDIS_URL cannot be used: {_first_line(error)}.") from error

    def owner_url(self) -> str:
        """The URL of the schema's owner; an embedded database is created at the first call."""
        return self._database_url or create_database(self._postgres, DATABASE)

    def running_url(self, run_file: Path) -> str:
        """The same for the running platform, from its run.json. Raises StartError when none is running."""
        if self._database_url:
            return self._database_url
        port = running(run_file)["ports"][self._postgres.name]
        return Postgres(self._postgres.folder, port).url_of(DATABASE)

    def redis_url(self) -> str:
        """The broker's URL."""
        return self._redis_url or self._valkey.url

    def is_current(self, bundle_digest: str) -> bool:
        """Whether the newest migration has run and this bundle is active, so that nothing needs to be done."""
        if not schema.is_current(url := self.owner_url()):
            return False
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            active = connection.execute("SELECT digest FROM bundles WHERE active").fetchone()
            return active == (bundle_digest,)

    def tenant_of(self, user: str) -> str:
        """The id of a user's tenant."""
        with psycopg.connect(self.owner_url().replace("+psycopg", "")) as connection:
            found = connection.execute("SELECT tenant_id FROM auth.users WHERE name = %s", [user]).fetchone()
        if found is None:
            raise StartError(f"The user {user} does not exist.")
        return str(found[0])

    def databases(self) -> Mapping[str, str]:
        """Role to URL, after the migration made the roles. In a given database the one login takes each service's role."""
        if given := self._database_url:
            with psycopg.connect(given.replace("+psycopg", ""), autocommit=True) as connection:
                for role in ROLES:
                    connection.execute(f"GRANT {role} TO CURRENT_USER")
            join = "&" if "?" in given else "?"
            return {role: f"{given}{join}options=-c%20role%3D{role}" for role in ROLES}
        return logins(self._postgres, DATABASE)


def running(run_file: Path) -> dict[str, Any]:
    """What the running platform's run.json says. Raises StartError when none is running."""
    try:
        return dict(json.loads(run_file.read_text()))
    except OSError as error:
        sentence = f"No platform is running here ({run_file} is missing). Start one: `make run`."
        raise StartError(sentence) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
