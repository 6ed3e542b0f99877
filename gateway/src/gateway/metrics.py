"""What gateways and dimse count besides HTTP."""

from prometheus_client import Counter, Gauge

JOBS_ACCEPTED = Counter("thorax_jobs_accepted", "Uploads acknowledged as new jobs")
UPLOAD_BYTES = Counter("thorax_upload_bytes", "Bytes of images stored")
HELD_POLLS = Gauge("thorax_held_polls", "Requests that wait for a job to change")
