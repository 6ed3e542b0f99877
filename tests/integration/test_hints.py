"""Hints: never many, and nothing waits long for an unreachable broker."""

import time

from redis import Redis

from thorax.work.hints import ENOUGH, Hints, celery_app


def test_a_queue_is_not_overfilled(clean_redis_url: str) -> None:
    hints = Hints(celery_app(clean_redis_url))
    for _ in range(3):
        hints.send(["prepare"] * 20 + ["aggregate"])
    broker = Redis.from_url(clean_redis_url)
    assert (broker.llen("prepare"), broker.llen("aggregate")) == (ENOUGH, 3)


def test_a_broker_that_is_away_is_left_alone_for_a_while() -> None:
    hints = Hints(celery_app("redis://127.0.0.1:1/0"))
    hints.send(["prepare"])
    began = time.monotonic()
    for _ in range(50):
        hints.send(["prepare"] * 3)
    assert time.monotonic() - began < 1
