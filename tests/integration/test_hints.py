"""Hints: never many, and nothing waits long for an unreachable broker."""

from collections.abc import Callable
from logging import ERROR, LogRecord

import pytest
from celery.worker.consumer import connection, consumer
from redis import Redis

from thorax.work.hints import ENOUGH, SILENT_S, Hints, Outage
from thorax.work.run import _Reconnecting


def test_a_queue_is_not_overfilled(clean_redis_url: str) -> None:
    hints = Hints(clean_redis_url)
    for _ in range(3):
        hints.send(["prepare"] * 20 + ["aggregate"])
    broker = Redis.from_url(clean_redis_url)
    assert (broker.llen("prepare"), broker.llen("aggregate")) == (ENOUGH, 3)


ASKS: dict[str, Callable[[Hints], object]] = {
    "send": lambda hints: hints.send(["prepare"] * 3),
    "wait": lambda hints: hints.wait(["prepare"]),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_broker_that_is_away_is_left_alone_for_a_while(
    ask: Callable[[Hints], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, asked = [1000.0], list[float]()
    monkeypatch.setattr("thorax.work.hints.monotonic", lambda: now[0])
    hints = Hints("redis://127.0.0.1:1/0")
    connect = hints._broker.connection_pool.get_connection
    monkeypatch.setattr(
        hints._broker.connection_pool, "get_connection", lambda *_: asked.append(now[0]) or connect()
    )
    for now[0] in (1000, 1001, 1000 + SILENT_S - 0.1, 1000 + SILENT_S):
        ask(hints)
    assert asked == [1000, 1000 + SILENT_S]


def test_celery_says_when_it_takes_hints() -> None:
    reconnecting = _Reconnecting(Outage())

    def said(name: str, text: str, *arguments: object) -> bool:
        assert not reconnecting.filter(LogRecord(name, ERROR, "", 0, text, arguments, None))
        return reconnecting.connected

    assert not reconnecting.connected
    assert said(connection.__name__, "Connected to %s", "redis://localhost")
    assert not said(consumer.__name__, consumer.CONNECTION_RETRY.format(when=""))
    assert said(connection.__name__, "Connected to %s", "redis://localhost")
    assert not said(consumer.__name__, consumer.CONNECTION_ERROR, "redis://localhost", OSError(), "")
