"""Checks of a bundle's folder, before anybody may use it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import click

from thorax.bundle import Bundle, load_bundle


def checked(folder: Path) -> Bundle:
    """The folder's bundle, when nothing is wrong with it; else CodedError, or the deep check's sentence and exit code."""
    found = with_digests(folder)
    open_graphs(folder)
    return found


def with_digests(folder: Path) -> Bundle:
    """The folder's bundle, when its manifest and all digests are right; else CodedError."""
    found = load_bundle(folder)
    for spec in found.manifest.backbones:
        found.graph(spec)
    return found


def open_graphs(folder: Path) -> None:
    """Let the model worker, if it is installed here, open the graphs in a process of its own, which may crash."""
    if importlib.util.find_spec("model_worker") is None:
        click.echo(
            "Manifest and digests are right. The graphs were not opened, because the model worker is not installed here. "
            "Each worker checks them when it loads them.",
            err=True,
        )
        return
    _run("model_worker.check_bundle", folder)


def golden(folder: Path) -> None:
    """Let `thorax_offline`, if it is installed here, hold the bundle against its golden image."""
    if importlib.util.find_spec("thorax_offline"):
        _run("thorax_offline.golden", folder)


def _run(module: str, folder: Path) -> None:
    ended = subprocess.call([sys.executable, "-m", module, str(folder)])
    if ended < 0:
        raise click.ClickException(f"{folder}: opening the graphs crashed (signal {-ended}).")
    if ended:
        raise click.exceptions.Exit(ended)
