"""Structured logs and metrics. Logs carry ids and codes; never names of patients, files or secrets."""

import logging
import sys
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram
from structlog.typing import EventDict, Processor, WrappedLogger

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REQUESTS = Counter("thorax_http_requests", "HTTP requests answered", ["service", "route", "method", "status"])
REQUEST_SECONDS = Histogram(
    "thorax_http_request_seconds", "Time to answer", ["service", "route"], buckets=SECONDS
)
JOBS_ACCEPTED = Counter("thorax_jobs_accepted", "Jobs acknowledged with 202")
STEPS_WAITING = Gauge("thorax_steps_waiting", "Steps in the ledger that wait for a worker")


def _service(name: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = name
        return event

    return add


def configure(service: str, *, level: str = "INFO", form: Literal["console", "json"] = "json") -> None:
    """Send structlog's and the standard library's records to stderr, in one form, with the service's name."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _service(service),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: list[Processor] = (
        [structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").handlers.clear()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
