"""Hints: empty Celery messages which say that a queue has work. Losing one costs time, never a job.

They are written here and not by Celery, which takes two round trips for each (ADR 0040); `thorax.work.run` has the Celery
app that takes them.
"""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from time import monotonic

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

TASK = "thorax.work"
UNACKNOWLEDGED = "unacknowledged"  # the consumer whose messages Celery does not acknowledge
ENOUGH = 32  # hints in one queue
SILENT_S = 5.0
# Both in one round trip: how many wait, and the hints that may be added.
_SEND = """
for _ = 1, math.min(ARGV[2], ARGV[3] - redis.call('llen', KEYS[1])) do redis.call('lpush', KEYS[1], ARGV[1]) end"""
_log = structlog.get_logger(__name__)


class Outage:
    """A broker that is away, in two lines of the log however often it is tried: when it is first missed, and when it is back."""

    def __init__(self) -> None:
        self._lasts = False

    def missed(self, error: BaseException) -> None:
        """It did not answer."""
        if not self._lasts:
            _log.warning("broker_away", error=type(error).__name__)
        self._lasts = True

    def over(self) -> None:
        """It answered."""
        if self._lasts:
            _log.info("broker_back")
        self._lasts = False


class Hints:
    """Sends hints, and looks for them. An unreachable broker is left alone for a while: the sweeper hints again."""

    def __init__(self, redis_url: str) -> None:
        self._silent_until, self.outage = 0.0, Outage()
        once_more = Retry(NoBackoff(), 1)  # a kept connection may have died in the meantime
        self._broker = Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2, retry=once_more)

    def arrive(self) -> bool:
        """Whether the broker answers now."""
        try:
            self._broker.ping()
        except RedisError as error:
            self._missed(error)
            return False
        self.outage.over()
        return True

    def wait(self, queues: Collection[str]) -> bool:
        """Whether any waits in these queues. Of a broker that is away none comes."""
        if monotonic() < self._silent_until:
            return False
        try:
            return bool(self._broker.exists(*queues))  # an empty queue is no key
        except RedisError as error:
            self._missed(error)
            return False

    def send(self, queues: Iterable[str]) -> None:
        """One hint for each entry of `queues`; several for one queue wake several workers.

        A queue that holds `ENOUGH` gets no more: workers that are all busy take none, and must not find heaps of old ones.
        """
        for queue, count in Counter(queues).items():
            if monotonic() < self._silent_until:
                return
            try:
                self._broker.eval(_SEND, 1, queue, _message(queue), count, ENOUGH)
                self.outage.over()
            except (RedisError, OSError) as error:
                self._missed(error)

    def _missed(self, error: Exception) -> None:
        self._silent_until = monotonic() + SILENT_S
        self.outage.missed(error)


@cache
def _message(queue: str) -> str:
    """A hint as it lies in a queue: Celery's protocol (version 2 of its task messages) in kombu's envelope for Redis."""
    place = {"exchange": "", "routing_key": queue, "consumer_tag": UNACKNOWLEDGED}
    return json.dumps(
        {
            "body": b64encode(b"[[], {}, {}]").decode(),  # arguments, and what would follow the task
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"task": TASK, "id": queue, "lang": "py"},
            "properties": {
                "body_encoding": "base64",
                "correlation_id": queue,
                "delivery_info": place,
                "delivery_mode": 1,
                "delivery_tag": queue,
                "priority": 0,
            },
        }
    )
