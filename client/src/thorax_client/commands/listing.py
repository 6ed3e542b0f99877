"""`thorax jobs` and `thorax models`: what the platform has."""

from itertools import islice

import click
from msgspec.json import encode

from thorax_client.commands.login import access, platform
from thorax_client.errors import ThoraxError


@click.command()
@platform
@click.option("--state", type=click.Choice(["queued", "running", "succeeded", "failed", "cancelled"]))
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1), help="How many, newest first."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def jobs(
    url: str | None, token: str | None, anonymous: bool, state: str | None, limit: int, as_json: bool
) -> None:
    """List your jobs."""
    who = access(url, token, anonymous)
    if who.credentials.anonymous:
        raise click.ClickException(f"The list needs an account. Run: thorax login --url {who.url}")
    filters = {"state": state} if state else {}
    try:
        with who.client() as thorax:
            for job in islice(thorax.jobs(min(limit, 100), **filters), limit):
                likely = [finding.label for finding in job.findings if finding.verdict == "likely"]
                line = f"{job.id}  {job.created_at:%Y-%m-%d %H:%M}  {job.state:<9}  {job.title}  {', '.join(likely)}"
                click.echo(encode(job) if as_json else line.rstrip())
    except ThoraxError as error:
        raise click.ClickException(str(error)) from error


@click.command()
@platform
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def models(url: str | None, token: str | None, anonymous: bool, as_json: bool) -> None:
    """List the platform's model bundles; the active one first."""
    who = access(url, token, anonymous)
    try:
        with who.client() as thorax:
            for model in thorax.models():
                line = (
                    f"{model.digest[:12]}  {model.name} {model.version}{'  active' if model.active else ''}"
                )
                click.echo(encode(model) if as_json else line)
    except ThoraxError as error:
        raise click.ClickException(str(error)) from error
