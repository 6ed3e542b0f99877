"""`thorax bundle …`: check, register, activate, shadow and compare model bundles."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import UUID

import click
import orjson
from sqlalchemy import Connection, Row

from thorax.bundle import Bundle, find_bundles
from thorax.commands import comparison, registry
from thorax.commands.checks import checked, golden, open_graphs, with_digests
from thorax.commands.connection import transaction
from thorax.settings import Settings, load
from thorax.states import ANONYMOUS_TENANT

_FOLDER = click.Path(path_type=Path)
_wait = click.option(
    "--wait",
    "wait_s",
    default=60,
    show_default=True,
    help="Seconds to wait until the workers have loaded it; 0: do not wait.",
)


def _tenant(_context: click.Context, _option: click.Parameter, value: str | None) -> UUID | None:
    if value is None:
        return None
    try:
        return ANONYMOUS_TENANT if value == "anonymous" else UUID(value)
    except ValueError:
        raise click.BadParameter(f"{value} is not a tenant's id. Give a UUID, or `anonymous`.") from None


@click.group()
def bundle() -> None:
    """Model bundles: check, register, activate, shadow, compare."""


@bundle.command()
@click.argument("folder", type=_FOLDER)
def check(folder: Path) -> None:
    """Open FOLDER's bundle as a worker would: manifest, digests, every graph, and its golden image."""
    found = checked(folder)
    golden(folder)
    click.echo(f"{_title(found)}: {', '.join(found.names)}; digest {found.digest}")


@bundle.command("import", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="KIND …")
def import_command(words: tuple[str, ...]) -> None:
    """Make a bundle of weights that exist; needs the training package (`make training-env`).

    \b
    keras FILE.h5 --backbone NAME   a network of the original system
    torchxrayvision WEIGHTS         a network of TorchXRayVision
    described NET.yaml              any torch or ONNX classifier that a YAML describes

    `thorax bundle import KIND --help` lists a kind's options. `make assemble` then fits the bundle to labelled images.
    """
    _in_training("importers", words)


@bundle.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="BUNDLE …")
def recalibrate(words: tuple[str, ...]) -> None:
    """Fit a bundle's weights, calibration and operating points to labelled images of a site; needs the training package."""
    _in_training("refit", words)


def _in_training(module: str, words: tuple[str, ...]) -> None:
    if importlib.util.find_spec("training") is None:
        raise click.ClickException(
            "The training package is not installed here. `make training-env` installs it into build/training-venv; use the thorax command in there."
        )
    sys.exit(subprocess.call([sys.executable, "-m", f"training.{module}", *words]))


@bundle.command()
@click.argument("folder", type=_FOLDER)
@click.option("--activate", is_flag=True, help="Make it the default.")
@_wait
def register(folder: Path, activate: bool, wait_s: int) -> None:
    """Make FOLDER's bundle known to the platform."""
    publish(folder, activate=activate, wait_s=wait_s)


def publish(folder: Path, *, activate: bool, wait_s: int = 0) -> None:
    """Check a bundle and register it; with `activate` it becomes the default.

    The graphs of the one that is the default already are not opened again, so that a start does not wait for it.
    """
    found = with_digests(folder)
    with transaction() as connection:
        serving = any(row.active and row.digest == found.digest for row in registry.known(connection))
    if not serving:
        open_graphs(folder)
    with transaction() as connection:
        registry.register(connection, found)
    click.echo(f"Registered {_title(found)} ({found.digest[:12]}).")
    if activate:
        _let_load(found.digest, found.names, wait_s)
        with transaction() as connection:
            registry.activate(connection, found.digest)
        click.echo(f"{_title(found)} is the default.")


@bundle.command("list")
def list_command() -> None:
    """List the registered bundles: who uses each, and how many workers have loaded it."""
    with transaction() as connection:
        rows = registry.known(connection)
    for row in rows:
        used = ["default"] if row.active else []
        used += [f"{row.tenants} tenants' own"] if row.tenants else []
        used += [f"shadow of {row.shadow_share:.0%}"] if row.shadow_share else []
        where = f"loaded by {row.workers} workers" if row.workers else "not loaded"
        click.echo("  ".join([row.digest[:12], f"{row.name} {row.version}", ", ".join(used) or "-", where]))


@bundle.command()
@click.argument("name")
@click.option("--tenant", callback=_tenant, help="For this tenant only: a UUID, or `anonymous`.")
@_wait
def activate(name: str, tenant: UUID | None, wait_s: int) -> None:
    """Let new jobs use the registered bundle NAME (a name, name@version, or the beginning of a digest)."""
    row = _prepared(name, wait_s)
    with transaction() as connection:
        registry.activate(connection, row.digest, tenant)
    whose = f"the bundle of tenant {tenant}" if tenant else "the default"
    click.echo(f"{row.name} {row.version} ({row.digest[:12]}) is {whose}.")


@bundle.command()
@click.option("--tenant", callback=_tenant, required=True, help="A UUID, or `anonymous`.")
def deactivate(tenant: UUID) -> None:
    """Let a tenant's new jobs use the default again."""
    with transaction() as connection:
        changed = registry.deactivate(connection, tenant)
    click.echo(f"Tenant {tenant} uses the default{' again' if changed else ', as before'}.")


@bundle.command()
@click.argument("name", required=False)
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True)
@click.option(
    "--past-hours", type=click.IntRange(0, 24 * 365), default=0, help="Start with jobs of the past hours."
)
@click.option("--off", is_flag=True, help="End the shadow.")
@_wait
def shadow(name: str | None, share: float, past_hours: int, off: bool, wait_s: int) -> None:
    """Let the registered bundle NAME repeat succeeded jobs, unseen, when no other work waits."""
    if off == bool(name):
        raise click.UsageError("Name a bundle, or give --off.")
    if name is None:
        with transaction() as connection:
            registry.unshadow(connection)
        click.echo("The shadow has ended.")
        return
    row = _prepared(name, wait_s)
    if row.active:
        raise click.ClickException(
            f"{row.name} {row.version} is the default. Choose another bundle as the shadow."
        )
    with transaction() as connection:
        registry.shadow(connection, row.digest, share, past_hours)
    click.echo(f"{row.name} {row.version} ({row.digest[:12]}) is the shadow of {share:.0%} of the jobs.")


@bundle.command("compare")
@click.argument("a")
@click.argument("b")
@click.option("--out", type=_FOLDER, help="Write the report as JSON.")
def compare_command(a: str, b: str, out: Path | None) -> None:
    """Compare the registered bundles A and B on the jobs that both have seen."""
    with transaction() as connection:
        rows = [_named(connection, name) for name in (a, b)]
        found = comparison.compare(connection, *(row.digest for row in rows))
    named = [{"name": row.name, "version": row.version, "digest": row.digest} for row in rows]
    if out:
        report = {"a": named[0], "b": named[1], **asdict(found)}
        out.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    for letter, row in zip("AB", rows, strict=True):
        click.echo(f"{letter}: {row.name} {row.version} ({row.digest[:12]})")
    click.echo("\n".join(comparison.lines(found)))


def _title(found: Bundle) -> str:
    return f"{found.manifest.name} {found.manifest.version}"


def _named(connection: Connection, word: str) -> Row[Any]:
    """The one registered bundle that is meant."""
    rows = registry.known(connection)
    names = [row for row in rows if word in (row.name, f"{row.name}@{row.version}")]
    meant = names or [row for row in rows if row.digest.startswith(word)]
    if len(meant) == 1:
        return meant[0]
    choice = "; ".join(f"{row.name}@{row.version} ({row.digest[:12]})" for row in meant or rows) or "none"
    what = f"{len(meant)} registered bundles are called" if meant else "No registered bundle is called"
    raise click.ClickException(f"{what} {word}. Choose from: {choice}.")


def _prepared(name: str, wait_s: int) -> Row[Any]:
    """The bundle that is meant, checked again where its folder is at hand, and loaded by the workers."""
    with transaction() as connection:
        row = _named(connection, name)
        manifest = registry.manifest(connection, row.digest)
    here = find_bundles(load(Settings).models).get(row.digest)
    if here:
        checked(here.folder)
    _let_load(row.digest, [spec.name for spec in manifest.backbones], wait_s)
    return row


def _let_load(digest: str, backbones: Sequence[str], wait_s: int) -> None:
    """Wait until the living workers have loaded it: new jobs then find it warm. ClickException if none has."""
    if not wait_s:
        return
    with transaction() as connection:
        registry.preload(connection, digest)
    until = monotonic() + wait_s
    while True:
        with transaction() as connection:
            state = registry.loading(connection, digest, backbones)
        if not state.workers or not (state.missing or state.pending):
            return
        if monotonic() > until:
            break
        sleep(0.5)
    if state.missing:
        raise click.ClickException(
            f"After {wait_s} s no worker has loaded {', '.join(state.missing)}. Nothing was changed. Check that the bundle is "
            "under the workers' THORAX_MODELS and that THORAX_LOADED_BUNDLES leaves room; their logs say why. "
            "--wait 0 does not wait for the workers."
        )
    click.echo(f"{state.pending} workers are still loading it.", err=True)
