"""`thorax admin`: one door to accounts, failed work, retention and the audit."""

import click

from thorax.commands.admin.audit import audit
from thorax.commands.admin.lists import COMMANDS
from thorax.commands.admin.retention import retention
from thorax.commands.bundles import bundle


@click.group()
def admin() -> None:
    """Operate the platform: accounts, failed work, bundles, retention, audit."""


admin.add_command(audit)
admin.add_command(bundle, "bundles")
admin.add_command(retention)
for _command in COMMANDS:
    admin.add_command(_command)
