"""Spans of a job for OpenTelemetry, from its upload to its delivery. They hold ids, codes and times.

Off, with nothing imported, unless the standard variables name a collector. A job keeps the context of its upload
(`jobs.traceparent`, W3C Trace Context), whose children its later spans are, whichever process makes them. A job without
one, as of a PACS, has its own id for a trace.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING
from uuid import UUID

from thorax.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

Answered = Callable[[str, int], None]
_tracer: "Tracer | None" = None


def start(service: str, environment: Mapping[str, str] = os.environ) -> None:
    """Export this process's spans from now on, by OTLP over HTTP, if the variables OTEL_… ask for it."""
    if not _wanted(environment):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    use(service, BatchSpanProcessor(OTLPSpanExporter()))


def use(service: str, processor: "SpanProcessor") -> None:
    """Give this process's spans to `processor`."""
    global _tracer  # noqa: PLW0603 - one process, one tracer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    told = {"service.namespace": "thorax", "service.name": service, "service.version": VERSION}
    provider = TracerProvider(resource=Resource.create(told))
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("thorax")


def _wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter == "otlp" or (not exporter and any(environment.get(name) for name in named))


@contextmanager
def request(method: str, traceparent: str | None) -> Iterator[Answered]:
    """The span of a request, a child of its client's; call what it gives with the route's template and the status."""
    if _tracer is None:
        yield lambda route, status: None
        return
    from opentelemetry.trace import SpanKind, StatusCode

    context = _context(traceparent) if traceparent else None
    with _tracer.start_as_current_span(
        method, context, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
    ) as span:

        def answered(route: str, status: int) -> None:
            span.update_name(f"{method} {route}")
            span.set_attributes(
                {"http.request.method": method, "http.route": route, "http.response.status_code": status}
            )
            if status >= 500:
                span.set_status(StatusCode.ERROR)

        yield answered


def traceparent() -> str | None:
    """What a job keeps of the request that is being answered."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def record(
    name: str,
    job: UUID,
    parent: str | None,
    ran: tuple[float, float],
    *,
    code: str = "",
    **about: str | int | float,
) -> None:
    """A job's span that has ended: from when to when, by `time.monotonic`; `code` of one that was in vain."""
    if _tracer is None:
        return
    from opentelemetry.trace import SpanKind, StatusCode

    # The thread may lose the processor between two looks, which makes the difference too small.
    zero = max(time_ns() - monotonic_ns() for _ in range(3))
    began, ended = (zero + round(moment * 1e9) for moment in ran)
    told = {"thorax.job": str(job), **{f"thorax.{key}": value for key, value in about.items()}}
    context = _context(parent) if parent else _context_of(job)
    span = _tracer.start_span(name, context, SpanKind.CONSUMER, told, start_time=began)
    if code:
        span.set_status(StatusCode.ERROR, code)
    span.end(ended)


def _context(traceparent: str) -> "Context":
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def _context_of(job: UUID) -> "Context":
    return _context(f"00-{job.hex}-{job.hex[-16:]}-01")
