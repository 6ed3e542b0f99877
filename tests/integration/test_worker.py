"""A process that takes work and fails at it."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.test_ledger import WHOLE, Book
from thorax import database
from thorax.work import heartbeat as signs
from thorax.work import worker
from thorax.work.heartbeat import Heartbeat
from thorax.work.ledger import Capabilities, Claim
from thorax.work.worker import Worker


class Sick:
    """A handler that fails at everything."""

    def __init__(self, error: Exception) -> None:
        self.error, self.claims = error, 0

    def capabilities(self) -> Capabilities:
        return WHOLE

    def tidy(self) -> bool:
        return False

    def run(self, claims: Sequence[Claim]) -> None:
        self.claims += 1
        raise self.error


@pytest.fixture
def book(database_url: str, url_as: Callable[[str], str]) -> Book:
    return Book(database.engine(database_url), database.engine(url_as("thorax_worker")))


def test_a_worker_whose_every_step_fails_ends(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "SICK_AFTER", 3)
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *args: killed.append(args))
    for _ in range(8):
        book.job()
    handler = Sick(RuntimeError("no GPU any more"))
    Worker(book.worker, handler, name="w", lease_s=30).work()
    assert (handler.claims, killed) == (3, [(os.getpid(), signal.SIGTERM)])


@pytest.mark.parametrize(("error", "seconds"), [(ConnectionError(), 30), (FileNotFoundError(), 1)])
def test_a_step_waits_for_a_store_that_is_away(book: Book, error: OSError, seconds: int) -> None:
    book.job()
    Worker(book.worker, Sick(error), name="w", lease_s=30).work()
    ((waits,),) = book.do("select extract(epoch from not_before - now()) from steps")
    assert float(waits) == pytest.approx(seconds, abs=3)


def test_a_heartbeat_continues_after_a_refresh_that_fails(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "BEAT_S", 0.01)
    beaten = threading.Event()

    def refresh() -> Capabilities:
        if not beaten.is_set():
            beaten.set()
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a card")
        return WHOLE

    heartbeat = Heartbeat(book.worker, refresh, name="w", service="model-worker")
    alive, seen = "select count(*) from workers where id = 'w'", [(0,)]
    with heartbeat:
        beaten.wait(5)
        while seen != [(1,)]:
            seen = book.do(alive)
            assert heartbeat.is_alive()
    assert book.do(alive) == [(0,)]  # signed off


def test_a_process_that_no_hint_reaches_gives_no_sign_of_life(
    book: Book, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "DEAF_S", 0.0)
    file = tmp_path / "heartbeat"
    idle = Worker(book.worker, Sick(ConnectionError()), name="w", lease_s=30)
    beats = Heartbeat(
        book.worker, idle._handler.capabilities, name="w", service="s", deaf=idle.deaf, file=file
    )
    beats._beat()
    assert file.exists(), "nothing waits"
    file.unlink()
    book.job()
    beats._beat()
    assert not file.exists()
    book.do("update steps set not_before = now() + interval '1 minute'")
    beats._beat()
    assert file.exists(), "not yet"
    monkeypatch.setattr(worker, "DEAF_S", 60.0)
    book.do("update steps set not_before = now() - interval '2 minutes'")
    assert not idle.deaf(), "a hint came a moment ago"
