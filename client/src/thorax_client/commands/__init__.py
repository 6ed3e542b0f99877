"""The commands that talk to a platform: `thorax analyze …` where Thorax is installed, `thorax-client analyze …` without it."""

import click

from thorax_client.commands.analyze import analyze
from thorax_client.commands.listing import jobs, models
from thorax_client.commands.login import login


@click.group()
def main() -> None:
    """Send chest X-rays to a Thorax platform. Not a medical device, not for diagnosis."""


for command in (analyze, jobs, login, models):
    main.add_command(command)
