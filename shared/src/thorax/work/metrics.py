"""What a process that takes work from the ledger counts. The ledger's own numbers are the sweeper's."""

from prometheus_client import Counter, Histogram

from thorax.errors import Code
from thorax.metrics import LONG_SECONDS
from thorax.states import OPEN_PRIORITY, PRIORITY_NAMES, JobState

QUEUE_SECONDS = Histogram(
    "thorax_step_queue_seconds",
    "From the moment a step could be claimed to its claim",
    ["kind", "priority"],
    buckets=LONG_SECONDS,
)
STEP_SECONDS = Histogram(
    "thorax_step_seconds",
    "Time to do the steps of one claim; `returned`: in vain",
    ["kind", "outcome"],
    buckets=LONG_SECONDS,
)
RETRIES = Counter("thorax_step_retries", "Steps given back to be tried again, by code", ["kind", "code"])
JOBS_ENDED = Counter(
    "thorax_jobs_ended", "Jobs that ended, without those of shadow bundles", ["state", "code"]
)
JOB_SECONDS = Histogram(
    "thorax_job_seconds", "From the upload to the result", ["priority"], buckets=LONG_SECONDS
)

# What alerts are about begins with 0: of a series that begins with 1, Prometheus sees no increase.
OUR_FAULTS = (Code.STEP_DEAD, Code.BUNDLE_MISSING, Code.INTERNAL)
for _code in OUR_FAULTS:
    JOBS_ENDED.labels(JobState.FAILED, _code)
for _rank in range(OPEN_PRIORITY + 1):
    JOB_SECONDS.labels(PRIORITY_NAMES[_rank])
