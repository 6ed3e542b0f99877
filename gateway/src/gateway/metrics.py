"""What gateways and dimse count besides HTTP."""

from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

JOBS_ACCEPTED = Counter("thorax_jobs_accepted", "New jobs, by whichever door their images came")
UPLOAD_BYTES = Counter("thorax_upload_bytes", "Bytes of images stored")
HELD_POLLS = Gauge("thorax_held_polls", "Requests that wait for a job to change")
_log = structlog.get_logger(__name__)


def tell_of_accepted(job: UUID, tenant: UUID, images: int) -> None:
    """Log and count a new job; after the commit."""
    JOBS_ACCEPTED.inc()
    _log.info("job_accepted", job=str(job), tenant=str(tenant), images=images)
