"""What the platform posts to a webhook: verified, then typed."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec.json import Decoder

from thorax_client.errors import ThoraxError
from thorax_client.models import Answer


class NotFromThoraxError(ThoraxError):
    """A request that the platform has not signed with this secret, or more than five minutes ago."""


class EndedJob(Answer, frozen=True):
    """A job that has ended; `error_code` of one that failed."""

    job_id: UUID
    study_id: UUID
    state: str
    error_code: str | None


class JobEvent(Answer, frozen=True):
    """`type` is `job.succeeded` or `job.failed`. The same event may come again, with the same header `webhook-id`."""

    type: str
    timestamp: datetime
    data: EndedJob


_EVENT = Decoder(JobEvent)  # as those of thorax_client.flows


def job_event(body: bytes, headers: Mapping[str, str], secret: str) -> JobEvent:
    """The event in a request, whose body is as it was received. Raises NotFromThoraxError; answer 401 then.

    `secret`: `whsec_…`, which an administrator got when the webhook was made.
    """
    from standardwebhooks import Webhook, WebhookVerificationError  # for nothing where none are received

    try:
        Webhook(secret).verify(body, dict(headers), json_parse=False)
        return _EVENT.decode(body)
    except (WebhookVerificationError, ValueError) as error:
        # A ValueError: a signature that is not base64 or has no version, or a body that is not an event.
        raise NotFromThoraxError(
            "The request is not signed with this webhook's secret, or is old."
        ) from error
