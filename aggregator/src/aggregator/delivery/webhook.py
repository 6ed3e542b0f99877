"""Tells a tenant's server that a job has ended, as Standard Webhooks says it. What the result is, it asks for with its own token."""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import httpcore
import orjson
from sqlalchemy import Engine, Row
from standardwebhooks import Webhook

from aggregator.delivery.errors import NotDeliveredError, not_now, refuses, unavailable
from aggregator.delivery.public import PublicOnly
from thorax import queries
from thorax.settings import Networks

ENOUGH_S = 15.0  # for one attempt, from the look-up of the name to the status
GONE = 410  # the endpoint wants no more (Standard Webhooks, "Response status codes")
_SQL = queries.load(__file__)


class Webhooks:
    """Posts to https addresses, public or in `private` networks. Certificates are checked against the system's authorities
    (OpenSSL's SSL_CERT_FILE names others). Redirects and proxies are not followed."""

    def __init__(self, engine: Engine, private: Networks) -> None:
        self._engine, self._private = engine, private

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        """Loaded at the first use: it takes 57 ms and 10 MB."""
        return ssl.create_default_context()

    def send(self, due: Row[Any], secret: str | None) -> str:
        """Tell of the delivery's job; returns how it was answered. Raises NotDeliveredError."""
        with self._engine.connect() as connection:
            job = connection.execute(_SQL["job"], {"job_id": due.job_id}).one()
        message = f"msg_{due.id.hex}_{job.finished_at:%Y%m%d%H%M%S}"
        return f"answered {self.tell(due.url, message, secret or '', _body(job))}"

    def tell(self, url: str, message: str, secret: str, body: bytes) -> int:
        """Post an event; returns the status. `message` is its id: the same in each attempt, another one when a job has
        ended anew. Raises NotDeliveredError."""
        status = self._post(url, _signed(message, secret, body), body)
        if not 200 <= status < 300:
            raise (
                refuses("The endpoint is gone (410).")
                if status == GONE
                else not_now(f"The endpoint answers {status}.")
            )
        return status

    def _post(self, url: str, headers: Mapping[bytes | str, bytes | str], body: bytes) -> int:
        """The status; nothing else of the answer is read."""
        backend = PublicOnly(self._private, ENOUGH_S)
        try:
            with (
                httpcore.ConnectionPool(self._trusted, max_connections=1, network_backend=backend) as pool,
                pool.stream("POST", url, headers=headers, content=body) as answer,
            ):
                return int(answer.status)
        except NotDeliveredError:
            raise
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise unavailable(f"The endpoint can't be reached: {type(error).__name__}.") from error


def _body(job: Row[Any]) -> bytes:
    """Ids, state and code: no title, no name, no finding."""
    event = {
        "type": f"job.{job.state}",
        "timestamp": job.finished_at,
        "data": {
            "job_id": job.id,
            "study_id": job.study_id,
            "state": job.state,
            "error_code": job.error_code,
            "links": {"self": f"/v1/jobs/{job.id}"},
        },
    }
    return orjson.dumps(event)


def _signed(message: str, secret: str, body: bytes) -> Mapping[bytes | str, bytes | str]:
    now = datetime.now(UTC)
    signature = Webhook(secret).sign(message, now, body.decode())
    return {
        "content-type": "application/json",
        "user-agent": "Thorax",
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
