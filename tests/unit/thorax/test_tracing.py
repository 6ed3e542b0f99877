"""When spans are made, and what they are children of."""

import subprocess
import sys
from time import monotonic, monotonic_ns, time_ns
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.factories.patience import PATIENCE_S

from thorax import tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, False),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], wanted: bool) -> None:
    assert tracing._wanted(environment) is wanted


def test_nothing_is_imported_while_it_is_off() -> None:
    code = (
        "import sys; from thorax import tracing; tracing.start('x', {}); tracing.traceparent();"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    monkeypatch.setattr(tracing, "_tracer", None)
    exporter = InMemorySpanExporter()
    tracing.use("test", SimpleSpanProcessor(exporter))
    return exporter


def test_a_job_without_a_request_is_a_trace_of_its_own(exported: InMemorySpanExporter) -> None:
    job, began = uuid4(), monotonic()
    tracing.record("prepare", job, None, (began, began + 1), code="unavailable", waited_s=0.5)
    (span,) = exported.get_finished_spans()
    assert UUID(int=span.context.trace_id) == job
    assert span.end_time - span.start_time == pytest.approx(1e9, rel=0.01)
    assert span.attributes == {"thorax.job": str(job), "thorax.waited_s": 0.5}
    assert (span.status.is_ok, span.status.description) == (False, "unavailable")


def test_a_thread_that_waits_for_the_processor_shifts_no_span(
    exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited_ns = [1000 * 10**9, 0, 0]
    monkeypatch.setattr(tracing, "monotonic_ns", lambda: monotonic_ns() + waited_ns.pop(0))
    now, began = time_ns(), monotonic()
    tracing.record("prepare", uuid4(), None, (began, began + 1))
    (span,) = exported.get_finished_spans()
    assert span.start_time == pytest.approx(now, abs=PATIENCE_S * 10**9)
    assert span.end_time - span.start_time == pytest.approx(10**9, abs=1000)


def test_what_a_request_began_is_its_child_and_not_sampled_where_the_client_says_so(
    exported: InMemorySpanExporter,
) -> None:
    trace = uuid4().hex
    for flags in ("01", "00"):
        with tracing.request("POST", f"00-{trace}-00f067aa0ba902b7-{flags}") as answered:
            kept = tracing.traceparent()
            answered("/v1/jobs", 202)
        tracing.record("prepare", uuid4(), kept, (monotonic(), monotonic()))
    request, step = exported.get_finished_spans()
    assert (request.name, step.name) == ("POST /v1/jobs", "prepare")
    assert step.parent.span_id == request.context.span_id
    assert f"{step.context.trace_id:032x}" == trace
