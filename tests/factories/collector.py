"""An OpenTelemetry collector on loopback that keeps the spans it is sent by OTLP over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.factories.patience import PATIENCE_S


class Span(NamedTuple):
    """A span as it arrived; ids in hexadecimal digits, times in Unix nanoseconds."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Any]


class Collector:
    """`received`: each request's bytes so far, and `spans` what they say."""

    def __init__(self, port: int) -> None:
        self.received: list[bytes] = []
        self._more = threading.Condition()
        self.environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def take(self, body: bytes) -> None:
        """Keep a request's body."""
        with self._more:
            self.received.append(body)
            self._more.notify_all()

    def spans(self, trace: str) -> list[Span]:
        """A trace's spans so far, in the order of their beginnings."""
        return sorted((s for body in [*self.received] for s in _spans(body) if s.trace == trace), key=_began)

    def until(self, trace: str, names: set[str]) -> list[Span]:
        """The trace's spans once all of these names are among them; fails the test if they don't come."""
        with self._more:
            assert self._more.wait_for(
                lambda: names <= {span.name for span in self.spans(trace)}, PATIENCE_S
            ), self.spans(trace)
        return self.spans(trace)


def _began(span: Span) -> int:
    return span.began


def _spans(body: bytes) -> Iterator[Span]:
    for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _values(of_process.resource.attributes)
        for scope in of_process.scope_spans:
            for s in scope.spans:
                ids = s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex()
                times = s.start_time_unix_nano, s.end_time_unix_nano
                failed = s.status.code == s.status.STATUS_CODE_ERROR
                yield Span(about["service.name"], s.name, *ids, *times, failed, _values(s.attributes))


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            its.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    its = Collector(server.server_port)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield its
    server.shutdown()
    server.server_close()
