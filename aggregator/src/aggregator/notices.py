"""What is due is told by Postgres, so that the sweeper's rounds need not look for it several times a second."""

import select
import threading

import psycopg
import structlog

from thorax.database import connect
from thorax.states import DUE_CHANNEL

_log = structlog.get_logger(__name__)


class Notices(threading.Thread):
    """One LISTEN connection, which wakes those who `wait`; `heard`: whether it would, at this moment.

    Without a `url` (a pooler in transaction mode gives the connection to somebody else) nobody is woken.
    """

    def __init__(self, url: str | None) -> None:
        super().__init__(name="notices", daemon=True)
        self._url, self._waiting = url, list[threading.Event]()
        self._stopping = threading.Event()
        self.heard = False

    def waiter(self) -> threading.Event:
        """An event that is set whenever something may be due."""
        self._waiting.append(event := threading.Event())
        return event

    def stop(self) -> None:
        """Wake all, and connect no more; a connection that is there is closed by its other end, or with the process."""
        self._stopping.set()
        self._wake()

    def run(self) -> None:
        """Listen until `stop`."""
        while self._url and not self._stopping.is_set():
            try:
                self._listen(self._url)
            except (psycopg.Error, OSError) as error:
                _log.warning("notices_lost", error=type(error).__name__)
            finally:
                self.heard = False
            self._wake()
            self._stopping.wait(1)

    def _listen(self, url: str) -> None:
        with connect(url, pooled=False) as connection:
            connection.execute(f"listen {DUE_CHANNEL}")
            self.heard = True
            while True:
                self._wake()  # at first too: what was due before is not told again
                select.select([connection], [], [])  # psycopg itself would look ten times a second
                for _ in connection.notifies(timeout=0):
                    pass

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
