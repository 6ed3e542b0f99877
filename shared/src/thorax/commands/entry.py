"""Where `thorax` begins: from here on Ctrl-C is one line and 130 (128 and the number of SIGINT), also during the imports."""

import sys
from typing import NoReturn


def stopped() -> NoReturn:
    """End as after Ctrl-C."""
    sys.stderr.write("Stopped.\n")
    raise SystemExit(130)


def main() -> None:
    """Run the command."""
    try:
        from thorax.commands.cli import main as run

        run()
    except KeyboardInterrupt:
        stopped()
