"""The services of the platform on one machine, and the settings of each: a table of `Process` rows."""

import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from local_stack.process import Process, program
from local_stack.server import HOST, free_port
from local_stack.settings import LocalSettings


@dataclass(frozen=True)
class Places:
    """Where the services find each other and their stores. `databases` has a URL for each role."""

    databases: Mapping[str, str]
    redis_url: str
    auth_port: int
    auth_secret_file: Path
    delivery_secret_file: Path
    dicom_port: int
    dicom_aes: Path


class Services(NamedTuple):
    """Every process of the platform except the stores; each knows the database by its own role only.

    With `auth` and `needed` an image is accepted and analysed; `more` adds capacity.
    """

    auth: Process
    needed: list[Process]
    more: list[Process]


def services(settings: LocalSettings, places: Places) -> Services:
    """The platform's processes, as `settings` want them. A further service is a further row."""
    auth_url = f"http://{HOST}:{places.auth_port}"
    sealed = str(places.delivery_secret_file)
    issuer = {"THORAX_ISSUER": f"{settings.base_url}/auth"}

    def row(
        name: str, role: str, command: str = "", ready: Callable[[int], bool] = lambda _pid: True, **own: str
    ) -> Process:
        env = {
            "THORAX_DATABASE_URL": places.databases[role],
            "THORAX_REDIS_URL": places.redis_url,
            "THORAX_BLOBS": settings.blob_store,
            "THORAX_MODELS": str(settings.bundle.absolute().parent),
            "THORAX_LOG_FORMAT": "json",
            "THORAX_METRICS_PORT": str(free_port()),
            **own,
        }
        return Process(name, [program(command or name)], env, ready)

    auth = row(
        "auth-service",
        "thorax_auth",
        ready=answers(f"{auth_url}/readyz"),
        THORAX_AUTH_HOST=HOST,
        THORAX_AUTH_PORT=str(places.auth_port),
        THORAX_AUTH_SECRET_FILE=str(places.auth_secret_file),
        THORAX_COOKIE_SECURE="false",
        **issuer,
    )
    gateway = row(
        "gateway",
        "thorax_gateway",
        ready=answers(f"{settings.base_url}/readyz"),
        THORAX_HOST=HOST,
        THORAX_PORT=str(settings.port),
        THORAX_AUTH_URL=auth_url,
        THORAX_PAGE=str(settings.page.absolute()),
        THORAX_DELIVERY_SECRET_FILE=sealed,
        **issuer,
    )
    first, *workers = (
        row(f"model-worker-{n}", "thorax_worker", "model-worker", THORAX_BACKBONES="all")
        for n in range(1, settings.model_workers + 1)
    )
    needed = [
        gateway,
        first,
        row("aggregator", "thorax_aggregator"),
        row("sweeper", "thorax_aggregator", THORAX_DELIVERY_SECRET_FILE=sealed),
    ]
    dimse = row(
        "dimse",
        "thorax_gateway",
        ready=listens(places.dicom_port),
        THORAX_DICOM_HOST=HOST,
        THORAX_DICOM_PORT=str(places.dicom_port),
        THORAX_DICOM_AES=str(places.dicom_aes),
        THORAX_DICOM_SPOOL=str(settings.state.absolute() / "incoming"),
    )
    return Services(auth, needed, [dimse, *workers])


def targets(rows: Sequence[Process]) -> str:
    """Where the processes serve their metrics, as Prometheus's `file_sd_configs` reads it."""
    found = [
        {"targets": [f"{HOST}:{row.env['THORAX_METRICS_PORT']}"], "labels": {"job": Path(row.argv[0]).name}}
        for row in rows
    ]
    return json.dumps(found, indent=2) + "\n"


def answers(url: str) -> Callable[[int], bool]:
    """A `ready` that asks whether `url` answers with 200. (httpx would load all CA certificates, each time.)"""
    place = urlsplit(url)

    def ready(_pid: int) -> bool:
        link = http.client.HTTPConnection(place.netloc, timeout=1)
        with closing(link), suppress(OSError, http.client.HTTPException):
            link.request("GET", place.path)
            return link.getresponse().status == 200
        return False

    return ready


def listens(port: int) -> Callable[[int], bool]:
    """A `ready` that asks whether the process itself, and nobody else, listens on a TCP port (proc(5))."""

    def ready(pid: int) -> bool:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
        sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
        with suppress(OSError):  # it has ended
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):  # it was closed since
                    if str(fd.readlink()) in sockets:
                        return True
        return False

    return ready
