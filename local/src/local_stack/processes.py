"""Which processes make up the platform on one machine, and the settings of each: a table of `Process` rows."""

import http.client
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from local_stack.server import HOST, Server
from local_stack.settings import LocalSettings


@dataclass(frozen=True)
class Process:
    """One child: `env` is added to our environment; `ready(pid)` is called until it returns true."""

    name: str
    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[int], bool] = lambda _pid: True
    prepare: Callable[[], None] = lambda: None
    death: signal.Signals = signal.SIGKILL
    stop: signal.Signals = signal.SIGTERM
    not_root: bool = False


@dataclass(frozen=True)
class Places:
    """Where the services find each other and their stores. `databases` has a URL for each role."""

    databases: Mapping[str, str]
    redis_url: str
    auth_port: int
    auth_secret_file: Path


def store(server: Server) -> Process:
    """The row of an embedded store."""
    return Process(
        server.name,
        server.argv,
        ready=server.ready,
        prepare=server.prepare,
        death=server.death,
        stop=server.stop_signal,
        not_root=server.not_root,
    )


def program(name: str) -> str:
    """A command of the environment that this process runs in."""
    return str(Path(sys.executable).parent / name)


class Services(NamedTuple):
    """Every process of the platform except the stores; each knows the database by its own role only.

    With `auth` and `needed` an image is accepted and analysed; `more` adds capacity.
    """

    auth: Process
    needed: list[Process]
    more: list[Process]


def services(settings: LocalSettings, places: Places) -> Services:
    """The platform's processes, as `settings` want them."""
    auth_url = f"http://{HOST}:{places.auth_port}"
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
        **issuer,
    )
    workers = [
        row(f"model-worker-{n}", "thorax_worker", "model-worker", THORAX_BACKBONES="all")
        for n in range(1, settings.model_workers + 1)
    ]
    aggregator, sweeper = (row(name, "thorax_aggregator") for name in ("aggregator", "sweeper"))
    return Services(auth, [gateway, workers[0], aggregator, sweeper], workers[1:])


def answers(url: str) -> Callable[[int], bool]:
    """A `ready` that asks whether `url` answers with 200. (httpx would load all CA certificates, each time.)"""
    place = urlsplit(url)

    def ready(_pid: int) -> bool:
        link = http.client.HTTPConnection(place.hostname or HOST, place.port, timeout=1)
        try:
            link.request("GET", place.path)
            return link.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            link.close()

    return ready
