"""A process that takes work and fails at it."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.factories.patience import PATIENCE_S, until
from tests.integration.test_ledger import WHOLE, Book
from thorax import database
from thorax.states import StepKind
from thorax.work import heartbeat as signs
from thorax.work import lookout, worker
from thorax.work.heartbeat import Heartbeat
from thorax.work.ledger import Capabilities, Claim, NewStep
from thorax.work.lookout import Lookout
from thorax.work.worker import Worker


class Sick:
    """A handler that fails at everything."""

    def __init__(self, error: Exception) -> None:
        self.error, self.claims = error, 0

    def capabilities(self) -> Capabilities:
        return WHOLE

    def tidy(self) -> bool:
        return False

    def run(self, claims: Sequence[Claim]) -> bool:
        self.claims += 1
        raise self.error


class Diligent(Sick):
    """A handler that does every step, and leaves the next ones of the image to itself."""

    def __init__(self, book: Book, follow_ups: Sequence[NewStep] = ()) -> None:
        super().__init__(RuntimeError())
        self.book, self.follow_ups, self.looks = book, follow_ups, 0

    def capabilities(self) -> Capabilities:
        self.looks += 1
        return WHOLE

    def run(self, claims: Sequence[Claim]) -> bool:
        self.claims += 1
        follow = [(claims[0].job_id, step) for step in self.follow_ups if claims[0].kind == "prepare"]
        self.book.complete(list(claims), follow)
        return bool(follow)


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


class Endless(Sick):
    """A handler that always finds something to do."""

    def tidy(self) -> bool:
        self.claims += 1
        return True


def test_who_looks_for_work_ends_with_its_block_though_work_is_left(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_S", 0.01)
    handler = Endless(RuntimeError())
    watch = Lookout(Worker(book.worker, handler, name="w", lease_s=30), lambda: False)
    ended = threading.Event()

    def serve() -> None:
        with watch:
            until(lambda: handler.claims)
        ended.set()

    threading.Thread(target=serve, daemon=True).start()
    assert ended.wait(PATIENCE_S)


def test_nobody_waits_for_a_job_that_fails_again(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    book.job()
    handler = Sick(RuntimeError("it contradicts itself"))
    alone = Worker(book.worker, handler, name="w", lease_s=30)
    monkeypatch.setattr(alone._stopping, "wait", waited.append)
    for _ in range(3):
        alone.work()
        book.do("update steps set not_before = now() returning id")
    assert (handler.claims, waited) == (3, [])


@pytest.mark.parametrize(
    ("error", "least", "most"), [(ConnectionError(), 1, 30), (FileNotFoundError(), -PATIENCE_S, 1)]
)
def test_a_step_waits_for_a_store_that_is_away(book: Book, error: OSError, least: int, most: int) -> None:
    book.job()
    Worker(book.worker, Sick(error), name="w", lease_s=30).work()
    ((waits,),) = book.do("select extract(epoch from not_before - now()) from steps")
    assert least < waits <= most


def test_a_worker_looks_again_only_where_something_was_left_that_no_hint_tells_of(book: Book) -> None:
    book.job()
    alone = Diligent(book)
    Worker(book.worker, alone, name="w", lease_s=30).work()
    assert (alone.claims, alone.looks) == (1, 1)
    for _ in range(3):
        book.job()
    hinted = Diligent(book)
    Worker(book.worker, hinted, name="w", lease_s=30, hinted=lambda: True).work()
    assert (hinted.claims, hinted.looks) == (1, 1)
    left = Diligent(book)
    Worker(book.worker, left, name="w", lease_s=30).work()
    assert (left.claims, left.looks) == (2, 2)
    _, image = book.job()
    own = Diligent(book, [NewStep(StepKind.INFER, image, "x")])
    Worker(book.worker, own, name="w", lease_s=30, hinted=lambda: True).work()
    assert (own.claims, own.looks) == (2, 2)


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
        assert beaten.wait(PATIENCE_S)
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
