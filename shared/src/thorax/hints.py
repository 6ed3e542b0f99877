"""Hints: empty Celery messages which say that a queue has work. Losing one costs time, never a job."""

from collections.abc import Iterable

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

TASK = "thorax.work"
_log = structlog.get_logger(__name__)


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
        },
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


class Hints:
    """Sends hints. A broker that is away is logged and forgotten: the sweeper hints again."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, queues: Iterable[str]) -> None:
        """One hint for each entry of `queues`; several for one queue wake several workers."""
        for queue in queues:
            try:
                self._app.send_task(TASK, queue=queue, expires=120, ignore_result=True, retry=False)
            except (OperationalError, OSError) as error:
                _log.warning("hint_lost", queue=queue, error=type(error).__name__)
                return
