"""What hinders a start is one sentence that says what to do."""

import shutil
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.factories.bundles import make_bundle

from local_stack import preflight
from local_stack.process import StartError
from local_stack.server import HOST, free_port
from local_stack.settings import LocalSettings


@pytest.fixture
def settings(tmp_path: Path) -> LocalSettings:
    bundle = make_bundle(tmp_path / "models" / "tiny")
    return LocalSettings(port=free_port(), bundle=bundle.folder, state=tmp_path)


def test_all_well(settings: LocalSettings) -> None:
    preflight.check(settings)


def test_a_taken_port_is_named(settings: LocalSettings) -> None:
    with socket.socket() as holder:
        holder.bind((HOST, settings.port))
        holder.listen()
        with pytest.raises(StartError, match=f"Port {settings.port} is taken .* PORT="):
            preflight.check(settings)


def test_a_missing_bundle_is_named(settings: LocalSettings, tmp_path: Path) -> None:
    lost = settings.model_copy(update={"bundle": tmp_path / "nowhere"})
    with pytest.raises(StartError, match=r"No model bundle is in .*nowhere; .* BUNDLE="):
        preflight.check(lost)


def test_a_full_disk_is_named(settings: LocalSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with pytest.raises(StartError, match="is full: 5 MB are free"):
        preflight.check(settings)


def test_two_platforms_never_share_a_state(tmp_path: Path) -> None:
    with (
        preflight.only_one(tmp_path),
        pytest.raises(StartError, match="already runs here"),
        preflight.only_one(tmp_path),
    ):
        pass
    with preflight.only_one(tmp_path):
        pass


def test_make_says_what_takes_long_before_it_does_it() -> None:
    make = ["make", "--no-print-directory", "--dry-run", "--what-if=web/package-lock.json", "web"]
    said = subprocess.run(make, cwd=Path(__file__).parents[3], check=True, capture_output=True, text=True)
    lines = said.stdout.splitlines()
    for slow in ("npm ci", "npm run"):
        [at] = [n for n, line in enumerate(lines) if line.startswith("cd web") and slow in line]
        assert lines[at - 1].startswith("echo ")
