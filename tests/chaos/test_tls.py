"""Postgres and Valkey by TLS, with certificates of a site's own authority, as in an air-gapped network."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_stack.roles import create_database
from local_stack.server import free_port
from tests.factories.bundles import make_bundle
from tests.factories.certificates import Authority, Issued
from tests.factories.images import chest_png
from tests.factories.patience import answers, until
from tests.factories.platform import Platform, finished, post
from tests.factories.stores import Postgres, Valkey, login
from thorax.schema import migrate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]


@contextmanager
def by_tls(folder: Path, issued: Issued, port: int) -> Iterator[int]:
    """A port where HAProxy speaks TLS for the server on `port`: the wheel's Valkey is built without."""
    public, pem, file = free_port(), folder / "valkey.both", folder / "haproxy.cfg"
    pem.write_text(issued.certificate.read_text() + issued.key.read_text())
    file.write_text(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n"
        f"listen valkey\n  bind 127.0.0.1:{public} ssl crt {pem}\n  server one 127.0.0.1:{port}\n"
    )
    proxy = subprocess.Popen(["haproxy", "-f", str(file), "-db"])
    try:
        until(lambda: answers(public))
        yield public
    finally:
        proxy.kill()
        proxy.wait()


def with_tls(postgres: Postgres, issued: Issued) -> Postgres:
    """The same server, which now has a certificate; the key has to be its own."""
    issued.key.chmod(0o600)
    postgres._own(issued.key)
    postgres.settings |= {
        "ssl": "on",
        "ssl_cert_file": str(issued.certificate),
        "ssl_key_file": str(issued.key),
    }
    return postgres


def test_a_job_by_tls_with_a_sites_own_authority(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)  # Postgres runs as another user
    authority = Authority(tmp_path, "site")
    bundle = make_bundle(tmp_path / "models" / "tiny", 2)
    checked = f"sslmode=verify-full&sslrootcert={authority.certificate}"
    server = with_tls(Postgres(tmp_path / "postgres", fast=True), authority.issue("postgres"))
    with (
        server,
        Valkey(tmp_path / "valkey", persistent=False) as valkey,
        by_tls(tmp_path, authority.issue("valkey"), valkey.port) as port,
    ):
        owner = create_database(server, "thorax")
        migrate(owner)
        platform = Platform(
            tmp_path,
            bundle,
            lambda role: f"{login(server, 'thorax', role)}?{checked}",
            f"{owner}?{checked}",
            valkey.url.replace("redis://", "rediss://").replace(str(valkey.port), str(port)),
            settings={"SSL_CERT_FILE": str(authority.certificate)},
            workers=1,
        )
        with platform, platform.client() as client:
            receipt = post(client, chest_png(1, 900))
            assert finished(client, receipt.headers["location"])["state"] == "succeeded"
            secured = (
                "select bool_and(s.ssl), count(*) > 3 from pg_stat_ssl s join pg_stat_activity a using (pid) "
                "where a.application_name like 'thorax%%'"
            )
            assert platform.sql(secured) == [(True, True)]
            assert "consumer: Cannot connect" not in platform.logs()
