"""Hints: empty Celery messages which say that a queue has work. Losing one costs time, never a job."""

from collections import Counter
from collections.abc import Iterable
from time import monotonic

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

TASK = "thorax.work"
ENOUGH = 32  # hints in one queue
SILENT_S = 5.0
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


def celery_app(redis_url: str, name: str = "thorax") -> Celery:
    """A Celery app for messages that may be lost at any time: no results, early acks, no retries."""
    app = Celery(name, broker=redis_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        task_create_missing_queues=True,
        task_default_delivery_mode="transient",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "priority_steps": [0],  # one key for each queue is waited at, not four
        },
        broker_connection_timeout=1,
        broker_channel_error_retry=True,  # a broker that is out of memory recovers
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # Cancels nothing, since acks are early, and Celery does not warn that it might.
        worker_cancel_long_running_tasks_on_connection_loss=True,
    )
    return app


class Hints:
    """Sends hints. An unreachable broker is not tried again for a while: the sweeper hints again."""

    def __init__(self, app: Celery) -> None:
        self._app, self._silent_until, self._outage = app, 0.0, Outage()
        once_more = Retry(NoBackoff(), 1)  # a kept connection may have died in the meantime
        self._broker = Redis.from_url(
            app.conf.broker_url, socket_timeout=2, socket_connect_timeout=2, retry=once_more
        )

    def arrive(self) -> bool:
        """Whether the broker answers now."""
        try:
            self._broker.ping()
        except RedisError as error:
            self._outage.missed(error)
            return False
        self._outage.over()
        return True

    def send(self, queues: Iterable[str]) -> None:
        """One hint for each entry of `queues`; several for one queue wake several workers.

        A queue that holds `ENOUGH` gets no more: workers that are all busy take none, and must not find heaps of old ones.
        """
        for queue, count in Counter(queues).items():
            if monotonic() < self._silent_until:
                return
            try:
                for _ in range(min(count, ENOUGH - self._broker.llen(queue))):
                    self._app.send_task(TASK, queue=queue, expires=120, ignore_result=True, retry=False)
                self._outage.over()
            except (OperationalError, RedisError, OSError) as error:
                self._silent_until = monotonic() + SILENT_S
                self._outage.missed(error)
