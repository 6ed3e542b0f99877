"""Structured logs, one line per event. They carry ids and codes; never names of patients, files or secrets."""

import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import orjson
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


class _Stderr:
    """Where structlog's lines go, each in one write. What can't be written is lost, and fails nothing."""

    def __init__(self, *_names: str) -> None:
        self._file = sys.stderr.buffer

    def msg(self, line: bytes) -> None:
        """Write a line."""
        with suppress(OSError):
            self._file.write(line + b"\n")
            self._file.flush()

    debug = info = warning = error = critical = exception = msg


def _bytes(render: Callable[..., str]) -> Processor:
    def encoded(logger: WrappedLogger, method: str, event: EventDict) -> bytes:
        return render(logger, method, event).encode()

    return encoded


def configure(service: str, *, level: str = "INFO", form: Literal["console", "json"] = "json") -> None:
    """Send structlog's and the standard library's records to stderr, in one form, with the service's name."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _service(service),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _one_line,
    ]
    people = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    own, foreign = (
        (structlog.processors.JSONRenderer(orjson.dumps), structlog.processors.JSONRenderer())
        if form == "json"
        else (_bytes(people), people)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, foreign],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    warnings.simplefilter("ignore")  # pydicom's may quote a data set
    for name in ("uvicorn.access", "httpx", "httpcore", "celery", "highdicom"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").handlers.clear()
    structlog.configure(
        processors=[*shared, own],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=_Stderr,
        cache_logger_on_first_use=True,
    )
