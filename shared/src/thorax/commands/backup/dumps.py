"""Postgres' own pg_dump and pg_restore. The password never stands in the list of processes."""

import os
import shutil
import subprocess
from pathlib import Path

import click
from sqlalchemy import make_url


def dump(url: str, file: Path) -> None:
    """Write one consistent state of the database into a file, in pg_dump's custom format."""
    _run("pg_dump", url, "--format=custom", "--no-owner", f"--file={file}")


def restore(url: str, file: Path) -> None:
    """Fill an empty database from a dump: all of it or nothing. The services' roles have to exist."""
    _run("pg_restore", url, "--no-owner", "--single-transaction", "--exit-on-error", str(file))


def _run(program: str, url: str, *words: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise click.ClickException(f"{program} is not on the PATH. Install Postgres' client programs.")
    parts = make_url(url).set(drivername="postgresql")
    address = parts._replace(password=None).render_as_string()
    environment = {**os.environ, "PGPASSWORD": parts.password or "", "PGCONNECT_TIMEOUT": "10"}
    argv = [found, f"--dbname={address}", *words]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise click.ClickException(f"{program} failed: {_first_lines(done.stderr)}")


def _first_lines(text: str) -> str:
    """What it said, without the statements and data that it may quote."""
    return " ".join(line for line in text.splitlines()[:3] if "error:" in line or "detail:" in line)
