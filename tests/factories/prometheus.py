"""A real Prometheus and a real Alertmanager on loopback, with the repository's configuration, sixty times as fast.

`HURRY` divides each duration of the shipped rules (`for` and the ranges of rates): a minute of theirs passes in a second.
Nothing else of them is changed.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.factories.patience import PATIENCE_S

from local_stack.server import free_port

OPS = Path(__file__).parents[2] / "ops"
HURRY = 60
SERVICES = {
    "worker": "model-worker",
    "auth": "auth-service",
}  # by a process's name in a test, where it is another
_DURATION = re.compile(r"\b(\d+)([mh])\b")


@contextmanager
def _running(names: tuple[str, ...], *options: str) -> Iterator[None]:
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"{names[0]} is not installed")
    process = subprocess.Popen(
        [program, *options, "--log.level=error"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@contextmanager
def prometheus(
    folder: Path, ports: Mapping[str, int], *, alertmanager: int | None = None
) -> Iterator[httpx.Client]:
    """A client of one that scrapes these processes (name and port of their metrics) and evaluates `ops/alerts.yml` each second.

    Alerts are sent to the Alertmanager at that port.
    """
    config = yaml.safe_load((OPS / "prometheus-local.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (scraped,) = config["scrape_configs"]
    scraped["file_sd_configs"] = [{"files": [str(folder / "targets.json")], "refresh_interval": "1s"}]
    config["rule_files"] = [str(folder / "alerts.yml")]
    if alertmanager:
        targets = [{"targets": [f"127.0.0.1:{alertmanager}"]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
    aim(folder, ports)
    (folder / "alerts.yml").write_text(yaml.safe_dump(_hurried()))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (
        _running(
            ("prometheus",),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--rules.alert.resend-delay=1s",
        ),
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1") as client,
    ):
        yield client


def aim(folder: Path, ports: Mapping[str, int]) -> None:
    """Tell the Prometheus of this folder which processes there are; it notices within a second."""
    found = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"job": SERVICES.get(kind, kind)}}
        for name, port in ports.items()
        for kind in [name.partition("-")[0]]
    ]
    new = folder / "targets.new"
    new.write_text(json.dumps(found))
    new.replace(folder / "targets.json")


def hurried(text: str) -> str:
    """A duration, or an expression with the ranges of its rates, sixty times as short."""
    milliseconds = {"m": 60_000, "h": 3_600_000}
    return _DURATION.sub(lambda found: f"{int(found[1]) * milliseconds[found[2]] // HURRY}ms", text)


def _hurried() -> dict[str, Any]:
    rules: dict[str, Any] = yaml.safe_load((OPS / "alerts.yml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule |= {key: hurried(rule[key]) for key in ("expr", "for") if key in rule}
    return rules


@contextmanager
def alertmanager(folder: Path, webhook: str, authority: Path) -> Iterator[int]:
    """The port of one that posts each alert, and its end, to an address of HTTPS."""
    route = {"receiver": "test", "group_by": ["..."], "group_wait": "10ms", "group_interval": "1s"}
    trusted = {"tls_config": {"ca_file": str(authority)}}
    posts = {"url": webhook, "send_resolved": True, "http_config": trusted}
    config = {"route": route, "receivers": [{"name": "test", "webhook_configs": [posts]}]}
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with _running(
        ("alertmanager", "prometheus-alertmanager"),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ):
        yield port
