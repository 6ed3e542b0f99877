"""A typed client for the Thorax API: chest X-rays in, five findings with heatmaps out.

    from thorax_client import Client

    with Client("http://127.0.0.1:8080") as thorax:
        job = thorax.analyze("chest.dcm")
        maps = thorax.maps(job.images[0])

`AsyncClient` has the same methods to be awaited. Not a medical device, not for diagnosis.
"""

from thorax_client.client import AsyncClient, Client
from thorax_client.credentials import Credentials
from thorax_client.errors import (
    JobFailedError,
    ProblemError,
    StillRunningError,
    ThoraxError,
    UnreachableError,
)
from thorax_client.models import Finding, Image, Job, JobPage, JobSummary, Model, Receipt
from thorax_client.pictures import Maps
from thorax_client.webhooks import JobEvent, NotFromThoraxError, job_event

__all__ = [
    "AsyncClient",
    "Client",
    "Credentials",
    "Finding",
    "Image",
    "Job",
    "JobEvent",
    "JobFailedError",
    "JobPage",
    "JobSummary",
    "Maps",
    "Model",
    "NotFromThoraxError",
    "ProblemError",
    "Receipt",
    "StillRunningError",
    "ThoraxError",
    "UnreachableError",
    "job_event",
]
