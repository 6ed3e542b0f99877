"""What the processes that work on the ledger share: their start, their signs of life, and serving hints."""

import logging
import os
import socket
import warnings
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import setup_logging, worker_shutting_down
from kombu.messaging import Consumer
from sqlalchemy import Engine

from thorax import database, metrics, telemetry, tracing
from thorax.work.heartbeat import Heartbeat
from thorax.work.hints import TASK, UNACKNOWLEDGED, Hints, Outage
from thorax.work.ledger import Capabilities
from thorax.work.lookout import Lookout
from thorax.work.worker import LedgerSettings, StepHandler, Worker

# Celery's and kombu's loggers, and how a line of the latter two about a connection begins.
_CONNECTED, _CONSUMER, _TRANSPORT = "celery.worker.consumer.connection", "celery.worker.consumer.consumer", "kombu.transport.redis"  # fmt: skip
_LOST = ("consumer: Connection to broker lost", "consumer: Cannot connect", "Redis BRPOP got no reply")


class Process:
    """One process of a service: its name in the ledger (unique over all machines), its engine (autocommit), its hints."""

    def __init__(self, service: str, settings: LedgerSettings, *, connections: int = 4) -> None:
        telemetry.configure(service, level=settings.log_level, form=settings.log_format)
        tracing.start(service)
        metrics.serve(settings)
        self.service, self._settings = service, settings
        self.name = f"{service}-{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"
        url, pooled = settings.database_url.get_secret_value(), settings.database_pooled
        database.require_usable(url, pooled=pooled)
        self.engine: Engine = database.engine(url, pooled=pooled, pool_size=connections - 2, autocommit=True)
        self.hints = Hints(settings.redis_url.get_secret_value())

    def heartbeat(self, capabilities: Callable[[], Capabilities], **how: Any) -> Heartbeat:
        """This process's signs of life, to be given in a `with` block; `how` as for `Heartbeat`."""
        file = self._settings.heartbeat_file
        return Heartbeat(self.engine, capabilities, name=self.name, service=self.service, file=file, **how)

    def serve(
        self, handler: StepHandler, queues: Sequence[str], *, refresh: Callable[[], Capabilities]
    ) -> None:
        """Take work whenever a hint comes on `queues`, until SIGTERM; each sign of life calls `refresh`. Blocks."""
        lease_s = self._settings.lease_s
        worker = Worker(
            self.engine, handler, name=self.name, lease_s=lease_s, hinted=lambda: self.hints.wait(queues)
        )

        def deaf() -> bool:
            """Only while the broker answers: a restart mends a connection that hangs, not a broker that is away."""
            return worker.deaf() and self.hints.arrive()

        beats = self.heartbeat(refresh, busy_since=lambda: worker.busy_since, deaf=deaf)
        consumer = _Reconnecting(self.hints.outage)
        with beats, Lookout(worker, lambda: consumer.connected and self.hints.arrive()):
            _serve_hints(_celery_app(self._settings, self.service), worker, queues, consumer)


class _Consumer(Consumer):
    """Acknowledges nothing: a hint may be lost, so the broker need not keep it. Two transactions of it less for each."""

    no_ack = True

    def revive(self, channel: Any) -> None:
        """Begin on a channel. (Kombu would acknowledge to Redis all the same.)"""
        super().revive(channel)  # type: ignore[no-untyped-call]
        assert self.channel
        self.channel.no_ack_consumers = {UNACKNOWLEDGED}


def _celery_app(settings: LedgerSettings, name: str) -> Celery:
    """A Celery app for messages that may be lost at any time: no results, early acks, no retries."""
    app = Celery(name, broker=settings.redis_url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        task_create_missing_queues=True,
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
    app.amqp.Consumer = _Consumer
    return app


class _Reconnecting(logging.Filter):
    """Celery tells of each attempt to reach a broker. Who reads the log wants to know when it went, and when it came back.

    `connected`: whether Celery takes hints now. It may try a broker that is back half a minute later only.
    """

    def __init__(self, outage: Outage) -> None:
        super().__init__()
        self._outage, self.connected = outage, False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether Celery's own line is told: not if it is about its connection."""
        if record.name == _CONNECTED:
            self.connected = True
            self._outage.over()
            return False
        if not record.getMessage().startswith(_LOST):
            return True
        if record.name == _CONSUMER:
            self.connected = False
        arguments = record.args if isinstance(record.args, tuple) else ()
        self._outage.missed(next((each for each in arguments if isinstance(each, Exception)), TimeoutError()))
        return False


def _serve_hints(app: Celery, worker: Worker, queues: Sequence[str], reconnecting: _Reconnecting) -> None:
    """The pool is `solo`: a claim that a hint starts runs on the main thread, and one process is one unit of capacity."""
    # The image decides which user a container runs as; on a laptop it may be root.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    app.task(name=TASK)(worker.work)

    worker_shutting_down.connect(lambda **_: worker.stop(), weak=False)
    # Who listens to this keeps Celery's hands off the root logger, whose level it would set without hijacking, too.
    setup_logging.connect(lambda **_: None, weak=False)
    for name in (_CONNECTED, _CONSUMER, _TRANSPORT):
        logging.getLogger(name).addFilter(reconnecting)
    logging.getLogger(_CONNECTED).setLevel(logging.INFO)  # of which nothing else is told
    # Not by Celery's command line, which takes longer to import than all our modules.
    consumer = app.Worker(
        pool_cls="solo",
        queues=",".join(queues),
        hostname=worker.name,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    consumer.start()
