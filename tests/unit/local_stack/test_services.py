"""The table of processes: what is started, and that no process gets more than it needs."""

import json
import os
import socket
from pathlib import Path

from local_stack.process import Process
from local_stack.roles import ROLES
from local_stack.server import HOST
from local_stack.services import Places, listens, services, targets
from local_stack.settings import LocalSettings


def rows(**settings: object) -> dict[str, Process]:
    databases = {role: f"postgresql+psycopg://{role}:secret-{role}@127.0.0.1/thorax" for role in ROLES}
    secret, aes = Path("/state/auth-secret"), Path("/state/dicom.toml")
    places = Places(databases, "redis://:secret@127.0.0.1/0", 8001, secret, secret, 11112, aes)
    auth, needed, more = services(LocalSettings(**settings), places)
    return {row.name: row for row in [auth, *needed, *more]}


def test_every_process_of_the_platform_is_there() -> None:
    assert set(rows(model_workers=2)) == {
        "auth-service",
        "gateway",
        "dimse",
        "model-worker-1",
        "model-worker-2",
        "aggregator",
        "sweeper",
    }


def test_each_service_knows_the_database_by_its_own_role_only() -> None:
    roles = {
        "auth-service": "thorax_auth",
        "gateway": "thorax_gateway",
        "dimse": "thorax_gateway",
        "model-worker-1": "thorax_worker",
        "aggregator": "thorax_aggregator",
        "sweeper": "thorax_aggregator",
    }
    for name, role in roles.items():
        told = json.dumps(dict(rows()[name].env))
        assert [other for other in ROLES if f"secret-{other}" in told] == [role]


def test_no_secret_is_an_argument() -> None:
    assert not [word for row in rows().values() for word in row.argv if "secret" in word]


def test_the_issuer_is_the_one_public_address() -> None:
    found = rows(port=9000)
    assert found["gateway"].env["THORAX_ISSUER"] == found["auth-service"].env["THORAX_ISSUER"]
    assert found["gateway"].env["THORAX_ISSUER"] == "http://127.0.0.1:9000/auth"


def test_prometheus_is_told_of_each_process_by_its_service() -> None:
    found = json.loads(targets([*rows(model_workers=2).values()]))
    assert sorted(each["labels"]["job"] for each in found) == sorted(
        ["auth-service", "gateway", "dimse", "model-worker", "model-worker", "aggregator", "sweeper"]
    )
    assert len({place for each in found for place in each["targets"]}) == len(found)


def test_a_port_that_another_process_has_does_not_make_one_ready() -> None:
    lower = os.open(os.devnull, os.O_RDONLY)
    with socket.create_server((HOST, 0)) as server:
        # What looks takes its place, is listed before the socket, and is closed when it is looked at.
        os.close(lower)
        ready = listens(server.getsockname()[1])
        assert ready(os.getpid())
        assert not ready(os.getppid())
    assert not ready(os.getpid())
