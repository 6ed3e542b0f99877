"""Every service is restarted, one process after another, behind HAProxy and under load: clients notice nothing.

Then Valkey, of which they notice nothing either, and Postgres, while which is away they are told when to try again.
"""

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local_stack.roles import create_database
from local_stack.server import free_port
from tests.factories.bundles import make_bundle
from tests.factories.images import chest_png
from tests.factories.patience import PATIENCE_S, succeeds, until
from tests.factories.platform import Platform, post
from tests.factories.stores import Postgres, Valkey, login
from thorax.schema import migrate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DOORS = ("auth-1", "auth-2", "gateway-1", "gateway-2")
BEHIND = ("worker-1", "worker-2", "aggregator-1", "sweeper-1")
UPLOADERS, IMAGES = 4, 4
AWAY_S = 6  # longer than HAProxy needs to take a server out, shorter than a lease
FINAL = {"succeeded", "failed", "cancelled"}
ACCOUNT = {"name": "ada@example.org", "password": "correct horse battery"}
HAPROXY = """
global
  log stderr format raw local0
  stats socket {folder}/admin mode 600 level admin
defaults
  mode http
  log global
  option httplog
  timeout connect 2s
  timeout client 75s
  timeout server 75s
  timeout check 10s
  retries 3
  option redispatch
  retry-on conn-failure empty-response
  default-server check inter 500ms
listen gateway
  bind 127.0.0.1:{public}
  option httpchk GET /healthz
{gateway}
listen auth
  bind 127.0.0.1:{auth}
  option httpchk GET /readyz
{auths}
"""


class Cluster:
    """Two replicas of each service that answers HTTP, behind HAProxy; two workers, an aggregator, a sweeper."""

    def __init__(self, folder: Path, postgres: Postgres, valkey: Valkey) -> None:
        self.postgres, self.valkey = postgres, valkey
        owner = create_database(postgres, "thorax")
        migrate(owner)
        self._folder, self._ports = folder, {name: free_port() for name in (*DOORS, "public", "auth")}
        base = f"http://127.0.0.1:{self._ports['public']}"
        secret = folder / "secret"
        secret.write_text("s" * 40)
        settings = {
            "THORAX_GRACE_S": "30",
            "THORAX_ISSUER": f"{base}/auth",
            "THORAX_AUTH_URL": f"http://127.0.0.1:{self._ports['auth']}",
            "THORAX_AUTH_SECRET_FILE": str(secret),
            "THORAX_COOKIE_SECURE": "false",
            "THORAX_PASSWORD_MEMORY_KIB": "8",
            "THORAX_PASSWORD_TIME_COST": "1",
        }
        own = {
            name: {"THORAX_AUTH_PORT" if name.startswith("auth") else "THORAX_PORT": str(self._ports[name])}
            for name in DOORS
        }
        bundle = make_bundle(folder / "models" / "tiny", 3)
        self.platform = Platform(
            folder,
            bundle,
            lambda role: login(postgres, "thorax", role),
            owner,
            valkey.url,
            settings=settings,
            own_settings=own,
        )
        self.platform.names, self.platform.base = [*DOORS, *BEHIND], base
        self.auth = f"http://127.0.0.1:{self._ports['auth']}"

    @contextmanager
    def running(self) -> Iterator["Cluster"]:
        servers = {
            kind: "\n".join(f"  server {n} 127.0.0.1:{self._ports[n]}" for n in DOORS if n.startswith(kind))
            for kind in ("gateway", "auth")
        }
        file = self._folder / "haproxy.cfg"
        places = {"folder": self._folder, "public": self._ports["public"], "auth": self._ports["auth"]}
        file.write_text(HAPROXY.format(**places, gateway=servers["gateway"], auths=servers["auth"]))
        with (self._folder / "haproxy.log").open("wb") as log:
            proxy = subprocess.Popen(["haproxy", "-f", str(file), "-db"], stdout=log, stderr=log)
        try:
            with self.platform:
                yield self
        finally:
            proxy.kill()
            proxy.wait()

    def restart(self, name: str) -> None:
        """SIGTERM and a new process. What answers HTTP is taken out of the proxy first, as `preStop` does on Kubernetes."""
        door = name in DOORS
        if door:
            self._tell(f"set server {name.split('-', maxsplit=1)[0]}/{name} state drain")
            until(lambda: self._said(name, "scur") == "0")  # for requests that are on their way
        process = self.platform.processes[name]
        if name.startswith("worker"):
            until(lambda: self._working(process.pid))
        process.send_signal(signal.SIGTERM)
        # uvicorn ends its graceful shutdown with the signal that it got
        assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM), (
            name,
            self.platform.log(name).read_text()[-2000:],
        )
        self.platform.start(name)
        if door:
            until(lambda: succeeds(f"http://127.0.0.1:{self._ports[name]}/healthz"))
            self._tell(f"set server {name.split('-', maxsplit=1)[0]}/{name} state ready")
            until(lambda: self._said(name, "status") == "UP")
        else:
            until(lambda: self._alive() == len(BEHIND))

    def _working(self, pid: int) -> bool:
        """Whether a worker is in the middle of steps."""
        query = "select 1 from steps where state = 'running' and worker like %s limit 1"
        return bool(self.platform.sql(query, f"%-{pid}-%"))

    def _alive(self) -> int:
        return int(
            self.platform.sql("select count(*) from workers where seen_at > now() - interval '15 s'")[0][0]
        )

    def _said(self, name: str, column: str) -> str:
        """What HAProxy says of a server: its `status`, or `scur`, the requests that it is at."""
        rows = [line.split(",") for line in self._tell("show stat").splitlines()]
        return next(row[rows[0].index(column)] for row in rows if row[1:2] == [name])

    def _tell(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self._folder / "admin"))
            admin.sendall(f"{command}\n".encode())
            with admin.makefile() as answer:
                return answer.read()


class Load:
    """Clients that upload, poll and log in until told to stop. Only what was refused with `Retry-After` is tried again."""

    def __init__(self, base: str, token: str) -> None:
        self._base, self._token = base, token  # the newest: each lives for ten minutes
        self._stop = threading.Event()
        self.failures: list[str] = []
        self.refused: list[str] = []
        self.states: list[str] = []
        self.logins = self.requests = 0

    @contextmanager
    def running(self) -> Iterator["Load"]:
        threads = [threading.Thread(target=self._upload, args=(n,)) for n in range(UPLOADERS)]
        threads.append(threading.Thread(target=self._log_in))
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def goes_on(self) -> None:
        """Wait until another job has ended, and another login succeeded."""
        jobs, logins = len(self.states), self.logins
        until(lambda: len(self.states) > jobs and self.logins > logins)

    def _upload(self, seed: int) -> None:
        images = [chest_png(10 * seed + n, 900) for n in range(IMAGES)]
        with httpx.Client(base_url=self._base, auth=self._authorize) as client:
            while not self._stop.is_set():
                key = {
                    "Idempotency-Key": uuid4().hex
                }  # a commit may have arrived although its answer did not
                receipt = self._did(partial(post, client, *images, headers=key))
                self.states.append(self._follow(client, receipt.headers["location"]) if receipt else "lost")

    def _follow(self, client: httpx.Client, job: str) -> str:
        state = ""
        while state not in FINAL:
            answer = self._did(lambda: client.get(job, params={"wait": "5"}))
            state = answer.json()["state"] if answer else state
        return state

    def _log_in(self) -> None:
        form = {"grant_type": "password", "username": ACCOUNT["name"], "password": ACCOUNT["password"]}
        with httpx.Client(base_url=self._base) as client:
            while not self._stop.wait(0.1):
                if answer := self._did(lambda: client.post("/auth/token", data=form)):
                    self.logins, self._token = self.logins + 1, answer.json()["access_token"]

    def _authorize(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _did(self, request: Callable[[], httpx.Response]) -> Any:
        """The answer, once there is one; None, and a failure, for anything but success or a refusal."""
        while True:
            self.requests += 1
            try:
                answer = request()
            except httpx.TransportError as error:
                self.failures.append(
                    f"{time.ctime()}: {error!r} {error.request.method} {error.request.url.path}"
                )
                return None
            if answer.is_success:
                return answer
            what = (
                f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text[:200]}"
            )
            if answer.status_code != 503 or "Retry-After" not in answer.headers:
                self.failures.append(what)
                return None
            self.refused.append(what)
            time.sleep(float(answer.headers["Retry-After"]))


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_clients_notice_nothing_of_a_rolling_restart(tmp_path: Path) -> None:
    with ExitStack() as stack:
        postgres = stack.enter_context(Postgres(tmp_path / "postgres"))
        valkey = stack.enter_context(Valkey(tmp_path / "valkey", persistent=False))
        cluster = stack.enter_context(Cluster(tmp_path, postgres, valkey).running())
        base, sql = cluster.platform.base, cluster.platform.sql
        assert httpx.post(f"{base}/auth/register", json=ACCOUNT).status_code == 201
        form = {"grant_type": "password", "username": ACCOUNT["name"], "password": ACCOUNT["password"]}
        token = httpx.post(f"{base}/auth/token", data=form).json()["access_token"]
        with Load(base, token).running() as load:
            for name in (*DOORS, *BEHIND):
                cluster.restart(name)
                load.goes_on()
            valkey.stop()
            valkey.start()
            load.goes_on()
            assert load.refused == []
            assert sql("select count(*) from steps where attempts > 1") == [(0,)]
            postgres.stop()
            time.sleep(AWAY_S)
            assert httpx.get(f"{cluster.auth}/readyz").json()["ready"]  # HAProxy still leads there
            postgres.start()
            load.goes_on()
        assert load.failures == []
        assert load.refused
        assert set(load.states) == {"succeeded"}
        assert sql("select count(*) from jobs") == [(len(load.states),)]
        print(f"{load.requests} requests, {len(load.states)} jobs, {len(load.refused)} refused")
