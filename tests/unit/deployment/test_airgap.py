"""`k8s/airgap.sh` with real tools: an image leaves one registry, and is in another under the same digest."""

import gzip
import hashlib
import io
import json
import os
import shutil
import ssl
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import yaml
from tests.factories.certificates import Authority
from tests.factories.patience import until

from local_stack.parent_death_signal import dying_with_us
from local_stack.server import free_port

AIRGAP = Path(__file__).parents[3] / "k8s/airgap.sh"
TOOLS = ("skopeo", "docker-registry")
OCI = "application/vnd.oci.image"
missing = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
]


def image(folder: Path) -> Path:
    """A small image, as an OCI layout (image-spec 1.0): one layer with one file."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    packed = put(gzip.compress(layer.getvalue(), mtime=0), "layer.v1.tar+gzip")
    about = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    config = put(json.dumps(about).encode(), "config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": config,
        "layers": [packed],
    }
    index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), "manifest.v1+json")]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A registry on loopback, by TLS with an authority of its own: its host and port."""
    authority = Authority(tmp_path, "authority")
    issued, port = authority.issue("registry"), free_port()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "none.conf"))
    tls = {"certificate": str(issued.certificate), "key": str(issued.key)}
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": tls},
    }
    (tmp_path / "registry.yml").write_text(yaml.safe_dump(settings))
    with (tmp_path / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            dying_with_us(["docker-registry", "serve", str(tmp_path / "registry.yml")]),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    trust = ssl.create_default_context(cafile=str(authority.certificate))

    def answers() -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"https://127.0.0.1:{port}/v2/", verify=trust).is_success
        return False

    try:
        until(answers, (tmp_path / "registry.log").read_text)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def airgap(*arguments: object, **environment: str) -> str:
    done = subprocess.run(
        ["bash", AIRGAP, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_image_arrives_under_its_digest(tmp_path: Path, registry: str) -> None:
    made, name = image(tmp_path / "image"), f"{registry}/outside/gateway:0.1.0"
    subprocess.run(["skopeo", "copy", "-q", f"oci:{made}", f"docker://{name}"], check=True)
    (tmp_path / "values.yaml").write_text(f"images:\n  gateway: {name} # ours\n\nother: 1\n")
    (tmp_path / "lock").touch()
    settings = {"VALUES": str(tmp_path / "values.yaml"), "LOCK": str(tmp_path / "lock")}
    airgap("save", tmp_path / "saved", **settings)
    assert sorted(path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()) == [
        "SHA256SUMS",
        "gateway.tar",
        "images.txt",
    ]
    digest = json.loads((made / "index.json").read_text())["manifests"][0]["digest"]
    pushed = f"{registry}/thorax/gateway@{digest}"
    assert yaml.safe_load(airgap("push", tmp_path / "saved", registry)) == {"images": {"gateway": pushed}}
    subprocess.run(
        ["skopeo", "inspect", "--raw", f"docker://{pushed}"], check=True, stdout=subprocess.DEVNULL
    )


def test_a_damaged_archive_is_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/gateway.tar").write_text("another")
    (tmp_path / "images.txt").write_text("gateway x\n")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  images/gateway.tar\n")
    with pytest.raises(AssertionError, match="did NOT match"):
        airgap("push", tmp_path, "127.0.0.1:1")
