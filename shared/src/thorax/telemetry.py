"""Structured logs, one line per event. They carry ids and codes; never names of patients, files or secrets."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def _service(name: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = name
        return event

    return add


def where(error: BaseException) -> list[str]:
    """The last places that an error passed on its way, as `file:line`."""
    places, trace = [], error.__traceback__
    while trace:
        places.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-8:]


def _one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """An exception becomes its type and where it was: a message may hold data, and a traceback is many lines."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["raised"], event["at"] = type(error).__name__, where(error)
    event["event"] = " ".join(str(event["event"]).split())
    return event


def configure(service: str, *, level: str = "INFO", form: Literal["console", "json"] = "json") -> None:
    """Send structlog's and the standard library's records to stderr, in one form, with the service's name."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _service(service),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _one_line,
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
    warnings.simplefilter("ignore")  # pydicom's may quote a data set
    for name in ("uvicorn.access", "httpx", "httpcore", "celery", "highdicom"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").handlers.clear()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
