"""Hints: never many, and nothing waits long for an unreachable broker."""

import pytest
from redis import Redis

from thorax.work.hints import ENOUGH, SILENT_S, Hints


def test_a_queue_is_not_overfilled(clean_redis_url: str) -> None:
    hints = Hints(clean_redis_url)
    for _ in range(3):
        hints.send(["prepare"] * 20 + ["aggregate"])
    broker = Redis.from_url(clean_redis_url)
    assert (broker.llen("prepare"), broker.llen("aggregate")) == (ENOUGH, 3)


def test_a_broker_that_is_away_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [1000.0], list[float]()
    monkeypatch.setattr("thorax.work.hints.monotonic", lambda: now[0])
    hints = Hints("redis://127.0.0.1:1/0")
    connect = hints._broker.connection_pool.get_connection
    monkeypatch.setattr(
        hints._broker.connection_pool, "get_connection", lambda *_: asked.append(now[0]) or connect()
    )
    for now[0] in (1000, 1001, 1000 + SILENT_S - 0.1, 1000 + SILENT_S):
        hints.send(["prepare"] * 3)
    assert asked == [1000, 1000 + SILENT_S]
