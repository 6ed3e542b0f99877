"""Metrics of this process for Prometheus, at a port of their own that no client of the platform reaches.

What a label may hold is bounded: a route's template, a method that the HTTP parser knows, a status, a code, a kind of
step, a backbone of a registered bundle. No id, no name and nothing that a client has typed.
"""

import sys
import threading
from wsgiref.simple_server import WSGIServer

from prometheus_client import Counter, Histogram, Info, start_http_server

from thorax.settings import Settings
from thorax.version import VERSION

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LONG_SECONDS = (*SECONDS[4:], 60, 120, 300, 900)  # of what may wait in a queue

REQUESTS = Counter("thorax_http_requests", "HTTP requests answered", ["route", "method", "status"])
REQUEST_SECONDS = Histogram("thorax_http_request_seconds", "Time to answer", ["route"], buckets=SECONDS)
REFUSALS = Counter("thorax_refusals", "Requests and images refused, by the code of the answer", ["code"])

UNKNOWN_KEYS = Counter("thorax_unknown_keys", "Tokens refused, since no published key has signed them")


def serve(settings: Settings) -> None:
    """Answer `GET /metrics` at the settings' port, in a thread; without a port do nothing. Ends the process if it is taken."""
    if not settings.metrics_port:
        return
    Info("thorax_build", "The version that runs").info({"version": VERSION})
    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host)
    except OSError as error:
        sys.exit(f"THORAX_METRICS_PORT {settings.metrics_port} cannot be used: {error.strerror}.")
    threading.Thread(target=_calmly, args=[server], daemon=True).start()


def _calmly(server: WSGIServer) -> None:
    """Serve on in this thread. (The library's own looks twice a second whether to stop.)"""
    server.shutdown()
    server.serve_forever(poll_interval=3600)
