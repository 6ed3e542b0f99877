"""The ledger's words: states of jobs, kinds of steps, and the values that mean something."""

from enum import StrEnum
from typing import Literal
from uuid import UUID

# Jobs of the open API belong to this tenant; reading one also takes its capability.
ANONYMOUS_TENANT = UUID("00000000-0000-0000-0000-00000000a707")
ALIVE_S = 30  # a process that gave no sign of life for so long counts as dead; it gives one every ten seconds
JOBS_CHANNEL = (
    "thorax_jobs"  # NOTIFY: tenant, job, version and state; empty state: erased (see `tell_of_job`)
)
DUE_CHANNEL = "thorax_due"  # NOTIFY: a delivery or a derivation waits (see `tell_of_due`)
DERIVATION_ATTEMPTS = 3  # to make a job's answer as DICOM objects
OTHER_PIXELS = "An image with the same SOP Instance UID but other pixels came before."
TEST_WAITS_S = 30  # whoever asked for a test of a webhook waits for its answer
ALL_TENANTS = UUID(int=0)  # stands, in what is kept for how long, for those without days of their own
OPEN_PRIORITY = 2  # of the open API's: after routine work
SHADOW_PRIORITY = 9  # of a shadow bundle's jobs and steps: after all real work (see docs/adr/0011)
DestinationKind = Literal["dicomweb", "dicom", "webhook"]  # as in schema.sql
PRIORITY_NAMES = {0: "stat", 1: "routine", OPEN_PRIORITY: "open", SHADOW_PRIORITY: "shadow"}  # for people


class Priority(StrEnum):
    """What a sender may ask for: `stat` overtakes `routine`."""

    STAT = "stat"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """The ledger's number for it; the smallest is taken first."""
        return 0 if self is Priority.STAT else 1


class JobState(StrEnum):
    """Where a job is; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing will change any more, except by a retry."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class StepKind(StrEnum):
    """The kinds of work. Their alphabetical order is the order in which waiting work is taken."""

    AGGREGATE = "aggregate"
    INFER = "infer"
    PREPARE = "prepare"
