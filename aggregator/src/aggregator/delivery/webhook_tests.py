"""Tests of webhooks: an administrator asks for one, and waits for how the receiver answers."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Engine, Row

from aggregator.delivery.errors import NotDeliveredError
from aggregator.delivery.service import credentials
from aggregator.delivery.webhook import Webhooks
from thorax import queries
from thorax.database import transactional
from thorax.sealing import Seal
from thorax.states import TEST_WAITS_S

_NOBODY = UUID(int=0)
_FAULT = "Thorax could not send it, by a fault of its own. Give the operator the time: the sweeper's log says `duty_failed`."
_SQL = queries.load(__file__)


class WebhookTests:
    """Sends each test once, whatever else waits for its webhook."""

    def __init__(self, engine: Engine, seal: Seal | None, webhooks: Webhooks) -> None:
        self._engine, self._seal, self._webhooks = transactional(engine), seal, webhooks
        self.duties = (self.send,)

    def send(self) -> None:
        """Send what was asked for, one after the other."""
        while due := self._execute("test", waits_s=TEST_WAITS_S):
            delivered, answer = False, _FAULT
            try:
                delivered, answer = True, self._tell(due)
            except NotDeliveredError as error:
                answer = error.detail
            finally:
                self._execute("tested", id=due.id, delivered=delivered, answer=answer)

    def _tell(self, due: Row[Any]) -> str:
        secret = credentials(self._seal, due.sealed) or ""
        status = self._webhooks.tell(due.url, f"msg_test_{due.id.hex}", secret, _event())
        return f"The endpoint answers {status}."

    def _execute(self, query: str, **values: Any) -> Row[Any] | None:
        with self._engine.begin() as connection:
            done = connection.execute(_SQL[query], values)
            return done.first() if done.returns_rows else None


def _event() -> bytes:
    """In the form of a job that has ended, so that receivers that know only these understand it; its ids are zeros."""
    data = {"job_id": _NOBODY, "study_id": _NOBODY, "state": "test", "error_code": None, "links": {}}
    return orjson.dumps({"type": "webhook.test", "timestamp": datetime.now(UTC), "data": data})
