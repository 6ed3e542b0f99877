"""The images of `make images` (`THORAX_TEST_IMAGES=0.1.0`): each by its own command and user on a read-only root, one job from sign-up to findings."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from tests.factories.patience import PATIENCE_S, until
from tests.factories.platform import finished
from tests.factories.stores import Postgres, Valkey, login

from local_stack.roles import ROLES, create_database
from local_stack.server import free_port

VERSION = os.environ.get("THORAX_TEST_IMAGES", "")
ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "samples/chest.png"
ACCOUNT = {"name": "ada@example.org", "password": "correct horse battery"}
USER = 10001
WRITABLE = {"/tmp", "/var/lib/thorax/blobs", "/backups"}
"""What the images' user may write to."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not VERSION, reason="THORAX_TEST_IMAGES=version names images that `make images` has built"
    ),
    pytest.mark.skipif(
        shutil.which("podman") is None or os.geteuid() != 0, reason="podman, as root, has the images"
    ),
]


class Container:
    """One image, run as Compose and Kubernetes run it: a read-only root, no capabilities; on this machine's network."""

    def __init__(self, image: str, mounted: dict[str, Path], log: Path, **settings: str) -> None:
        name = f"localhost/thorax/{image}:{VERSION}"
        told = json.loads(podman("image", "inspect", name))[0]["Config"]
        self.command, self.user, self._log = told["Cmd"], told["User"], log
        bound = ["--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:mode=1777", "--cap-drop=all"]
        bound += ["--security-opt=no-new-privileges", "--network=host", "--log-driver=none"]
        bound += [f"--volume={here}:{there}" for there, here in mounted.items()]
        given = [f"--env=THORAX_{key}={value}" for key, value in settings.items()]
        self._run = ["podman", "run", "--rm", *bound, *given, name]

    def did(self, *command: str) -> str:
        """What a command in it prints; fails the test if it fails."""
        ran = subprocess.run([*self._run, *command], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr[-3000:]
        return ran.stdout

    @contextmanager
    def running(self, *command: str) -> Iterator[None]:
        """Its own command (or another), ended at the end."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                [*self._run, *(command or self.command)], stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield
            assert process.poll() is None, self._log.read_text()[-3000:]
        finally:
            process.terminate()  # podman hands it on
            process.wait(PATIENCE_S)


def podman(*arguments: str) -> str:
    """What podman prints."""
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=True).stdout


@contextmanager
def stores(folder: Path) -> Iterator[tuple[Postgres, Valkey]]:
    """Both, durable."""
    with Postgres(folder / "postgres") as postgres, Valkey(folder / "valkey") as valkey:
        yield postgres, valkey


def answers(url: str) -> bool:
    """Whether it answers with 200."""
    try:
        return httpx.get(url, timeout=PATIENCE_S).status_code == 200
    except httpx.HTTPError:
        return False


def backup_service() -> tuple[list[str], list[str]]:
    """What Compose runs to back up; Kubernetes runs the same."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["backup"]
    cron, *_ = yaml.safe_load_all((ROOT / "k8s/components/backup/backup.yaml").read_text())
    (hourly,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert (hourly["command"], hourly["args"]) == (service["entrypoint"], service["command"])
    assert "aggregator" in hourly["image"] and "aggregator" in service["image"]
    return service["entrypoint"], service["command"]


def test_the_images_do_a_job(tmp_path: Path) -> None:
    blobs, backups = tmp_path / "blobs", tmp_path / "backups"
    for folder in (blobs, backups):
        folder.mkdir()
        os.chown(folder, USER, USER)
    (secret := tmp_path / "secret").write_text("s" * 48)
    secret.chmod(0o444)
    base, auth = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        postgres, valkey = stack.enter_context(stores(tmp_path))
        owner = create_database(postgres, "thorax")

        def container(image: str, name: str, url: str, **own: str) -> Container:
            own |= {"DATABASE_URL": url, "METRICS_PORT": str(free_port()), "ISSUER": f"{base}/auth"}
            mounted = {"/var/lib/thorax/blobs": blobs, "/backups": backups, "/run/secrets/secret": secret}
            return Container(image, mounted, tmp_path / f"{name}.log", **own)

        def say() -> str:
            return "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in tmp_path.glob("*.log"))

        migrate = container("model-worker", "migrate", owner)
        migrate.did("thorax", "migrate", "--bundle", "/models/default")
        urls = {role: login(postgres, "thorax", role) for role in ROLES}
        redis = {"REDIS_URL": valkey.url}
        port = {"AUTH_HOST": "127.0.0.1", "AUTH_PORT": auth.rpartition(":")[2], "COOKIE_SECURE": "false"}
        door = {"HOST": "127.0.0.1", "PORT": base.rpartition(":")[2], "AUTH_URL": auth}
        containers = [
            container(
                "auth-service",
                "auth-service",
                urls["thorax_auth"],
                **port,
                AUTH_SECRET_FILE="/run/secrets/secret",
            ),
            container("gateway", "gateway", urls["thorax_gateway"], **door, **redis),
            container("model-worker", "model-worker", urls["thorax_worker"], **redis),
            container("aggregator", "aggregator", urls["thorax_aggregator"], **redis),
            container("aggregator", "sweeper", urls["thorax_aggregator"], **redis),
        ]
        for each in containers[:4]:
            assert each.user == f"{USER}:{USER}"
            free = each.did("sh", "-c", "find / -xdev -type d -writable 2>/dev/null || true").split()
            assert set(free) <= WRITABLE, free
            assert "CapEff:\t0000000000000000" in each.did("cat", "/proc/self/status")
        for each, command in zip(containers, [[], [], [], [], ["sweeper"]], strict=True):
            stack.enter_context(each.running(*command))
        until(lambda: answers(f"{auth}/readyz"), say)
        until(lambda: answers(f"{base}/readyz"), say)
        with httpx.Client(base_url=base, timeout=PATIENCE_S) as client:
            assert '<div id="root">' in client.get("/").text
            assert client.post("/auth/register", json=ACCOUNT).status_code == 201
            form = {"grant_type": "password", "username": ACCOUNT["name"], "password": ACCOUNT["password"]}
            token = client.post("/auth/token", data=form).raise_for_status().json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            receipt = client.post("/v1/jobs", files={"files": ("chest.png", SAMPLE.read_bytes())})
            assert receipt.status_code == 202, receipt.text
            job = finished(client, receipt.headers["location"])
            assert job["state"] == "succeeded", say()
            assert job["study"]["findings"], job
        backup = container("aggregator", "backup", owner)
        program, create = backup_service()
        backup.did(*program, *create)
        assert "the dump are whole" in backup.did(*program, "verify", "/backups")
