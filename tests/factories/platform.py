"""The platform's real processes on loopback, for tests that talk to it as a client would and kill it at any moment.

auth-service is stood in for by its one seam, a JWKS over HTTP, so that a test can be any tenant it likes.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from tests.factories.forked import Forked
from tests.factories.patience import PATIENCE_S

from local_stack.parent_death_signal import dying_with_us
from local_stack.server import free_port
from thorax import database
from thorax.bundle import Bundle
from thorax.commands import registry
from thorax.identity import MAX_TOKEN_LIFE_S

MODULES = {
    "auth": "auth_service",
    "gateway": "gateway",
    "aggregator": "aggregator",
    "sweeper": "aggregator.sweeper",
    "worker": "model_worker",
}
ROLES = {"auth": "thorax_auth", "gateway": "thorax_gateway", "worker": "thorax_worker"}


class Issuer:
    """Signs access tokens as auth-service would, and publishes the key."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        document = json.dumps({"keys": [{**public, "kid": "test", "use": "sig", "alg": "RS256"}]}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = f"{self.url}/auth"

    def token(
        self, tenant: UUID, scope: str = "studies:read studies:write", life_s: int = MAX_TOKEN_LIFE_S
    ) -> str:
        """An access token for a user of `tenant`."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "thorax",
            "sub": str(tenant),
            "tenant": str(tenant),
            "kind": "user",
        }
        claims |= {"scope": scope, "jti": uuid4().hex, "iat": now, "exp": now + life_s}
        return jwt.encode(claims, self._key, "RS256", headers={"kid": "test", "typ": "at+jwt"})

    def close(self) -> None:
        """Stop publishing."""
        self._server.shutdown()


class Platform:
    """Gateway, workers, aggregator and sweeper as processes. A context manager: starts them, waits, ends them."""

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        url_as: Callable[[str], str],
        owner_url: str,
        redis_url: str,
        *,
        workers: int = 2,
        settings: Mapping[str, str] | None = None,
        own_settings: Mapping[str, Mapping[str, str]] | None = None,
        worker_code: str | None = None,
        forked: bool = True,
    ) -> None:
        """`worker_code`: what Python runs instead of model-worker. Not `forked`, each process imports its own libraries."""
        self.folder, self.bundle, self.url_as, self.owner_url = folder, bundle, url_as, owner_url
        self.redis_url = redis_url
        self.issuer, self.port = Issuer(), free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._own_settings = dict(own_settings or {})  # by the process's name
        self._worker_code, self._forked = worker_code, forked
        self._environment = {
            **os.environ,
            "THORAX_REDIS_URL": redis_url,
            "THORAX_BLOBS": str(folder / "blobs"),
            "THORAX_MODELS": str(bundle.folder.parent),
            "THORAX_PORT": str(self.port),
            "THORAX_AUTH_URL": self.issuer.url,
            "THORAX_ISSUER": self.issuer.issuer,
            "THORAX_ANONYMOUS_JOBS_PER_HOUR": "100000",
            **(settings or {}),
        }
        self.names = ["gateway", "aggregator", "sweeper", *(f"worker-{i}" for i in range(workers))]
        self.processes: dict[str, subprocess.Popen[bytes] | Forked] = {}
        self.metrics: dict[str, int] = {}  # ports

    def __enter__(self) -> "Platform":
        owner = database.engine(self.owner_url)
        with owner.begin() as connection:
            registry.register(connection, self.bundle)
            registry.activate(connection, self.bundle.digest)
        owner.dispose()
        for name in self.names:
            self.start(name)
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.issuer.close()

    def start(self, name: str, kind: str = "") -> None:
        """Start one process, of the kind that its name begins with; it logs to a file of that name."""
        kind = kind or name.split("-", maxsplit=1)[0]
        self.metrics[name] = free_port()
        environment = self._settings(name, kind)
        code = self._worker_code if kind == "worker" else None
        if self._forked and not code:
            self.processes[name] = Forked(MODULES[kind], env=environment, stdout=self.log(name))
            return
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                dying_with_us([sys.executable, *(["-c", code] if code else ["-m", MODULES[kind]])]),
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _settings(self, name: str, kind: str) -> dict[str, str]:
        return {
            **self._environment,
            "THORAX_DATABASE_URL": self.url_as(ROLES.get(kind, "thorax_aggregator")),
            "THORAX_METRICS_PORT": str(self.metrics[name]),
            **self._own_settings.get(name, {}),
        }

    def setting(self, name: str) -> str:
        """A setting of all processes: its name without `THORAX_`."""
        return self._environment[f"THORAX_{name}"]

    def run(self, name: str, *words: str) -> None:
        """Run a command of a process's program with that process's settings."""
        environment = self._settings(name, kind := name.split("-", maxsplit=1)[0])
        subprocess.run([sys.executable, "-m", MODULES[kind], *words], env=environment, check=True)

    def log(self, name: str) -> Path:
        """Where a process logs."""
        return self.folder / f"{name}.log"

    def logs(self) -> str:
        """All that was logged so far."""
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def scrape(self, name: str) -> str:
        """The metrics of one process."""
        return httpx.get(f"http://127.0.0.1:{self.metrics[name]}/metrics").raise_for_status().text

    def kill(self, name: str) -> None:
        """SIGKILL, and nothing else."""
        self.processes[name].kill()
        self.processes[name].wait()

    def pause(self) -> None:
        """Stop the workers (SIGSTOP), so that what is posted stays queued."""
        self._signal_workers(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the workers."""
        self._signal_workers(signal.SIGCONT)

    def _signal_workers(self, number: signal.Signals) -> None:
        for name, process in self.processes.items():
            if name.startswith("worker"):
                process.send_signal(number)

    def wait_ready(self, timeout_s: float = 180, probe: str = "readyz") -> None:
        """Wait until the gateway says that nothing is missing."""
        deadline, last = time.monotonic() + timeout_s, ""
        with httpx.Client(base_url=self.base, timeout=20) as client:
            while time.monotonic() < deadline:
                dead = [name for name, process in self.processes.items() if process.poll() is not None]
                assert not dead, f"{dead} ended\n{self.logs()[-4000:]}"
                try:
                    answer = client.get(probe)
                    if answer.status_code == 200:
                        return
                    last = answer.text
                except httpx.HTTPError as error:
                    last = repr(error)
                time.sleep(0.1)
        raise AssertionError(f"not ready: {last}\n{self.logs()[-4000:]}")

    @contextmanager
    def beside(
        self, name: str, *, ready: bool = True, environment: Mapping[str, str] | None = None, **settings: str
    ) -> Iterator["Platform"]:
        """This platform, seen through a second gateway: `settings` without `THORAX_`. Its process is `name`.

        Without `ready` it is only waited for until it lives.
        """
        other = copy(self)
        other.port = free_port()
        other.base = f"http://127.0.0.1:{other.port}"
        other._environment = {**self._environment, "THORAX_PORT": str(other.port)}
        other._environment |= {f"THORAX_{key}": value for key, value in settings.items()}
        other._environment |= environment or {}
        other.processes, other.metrics = {}, {}
        other.start(name, "gateway")
        try:
            other.wait_ready(probe="readyz" if ready else "healthz")
            yield other
        finally:
            other.kill(name)

    def client(self, tenant: UUID | None = None, scope: str = "studies:read studies:write") -> httpx.Client:
        """A signed-in client of some tenant (a new one by default), whose token is renewed in time."""
        whose, client, renewed = (
            tenant or uuid4(),
            httpx.Client(base_url=self.base, timeout=PATIENCE_S),
            -math.inf,
        )

        def renew(request: httpx.Request) -> None:
            nonlocal renewed
            old = client.headers.get("Authorization", "")
            if time.monotonic() - renewed > MAX_TOKEN_LIFE_S / 4:
                client.headers["Authorization"] = f"Bearer {self.issuer.token(whose, scope)}"
                renewed = time.monotonic()
            if request.headers.get("Authorization", "") == old:
                request.headers["Authorization"] = client.headers["Authorization"]

        renew(httpx.Request("GET", self.base))
        client.event_hooks = {"request": [renew]}
        return client

    def tenant(self, named: UUID | None = None) -> UUID:
        """A tenant as auth-service would keep it, where the platform asks whether there is one; by default a new one."""
        tenant = named or uuid4()
        self.sql("insert into auth.tenants (id) values (%s) on conflict do nothing", tenant)
        return tenant

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Look into the database as its owner."""
        dsn = self.owner_url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []


def post(client: httpx.Client, *images: bytes, name: str = "image.png", **keywords: Any) -> httpx.Response:
    """Post images as one study."""
    files = [("files", (name, image, "application/octet-stream")) for image in images]
    return client.post("/v1/jobs", files=files, **keywords)


def finished(client: httpx.Client, job: str, timeout_s: float = 180) -> dict[str, Any]:
    """The job once it has ended; fails the test if it does not."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        view = client.get(job, params={"wait": "5"}).json()
        if view["state"] in ("succeeded", "failed", "cancelled"):
            return dict(view)
    raise AssertionError(f"{job} is still {view['state']}: {view['progress']}")


def destine(
    platform: Platform, tenant: UUID, url: str, authorization: str | None = None, **more: str
) -> None:
    """Name the PACS that is to have a tenant's results."""
    with platform.client(scope="admin") as admin:
        body = {"url": url, "authorization": authorization, **more}
        answer = admin.put(f"/v1/admin/tenants/{platform.tenant(tenant)}/destinations/pacs", json=body)
        assert answer.status_code == 200, answer.text
        assert "authorization" not in admin.get(f"/v1/admin/tenants/{tenant}/destinations").text
