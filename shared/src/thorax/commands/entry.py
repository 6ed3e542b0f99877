"""Where `thorax` begins: from here on Ctrl-C is one line and 130 (128 and the number of SIGINT), also during the imports.

So nothing is imported here that Python has not loaded before, `typing` included.
"""

import sys


def stopped() -> SystemExit:
    """Say that Ctrl-C came; raise what this returns."""
    sys.stderr.write("Stopped.\n")
    return SystemExit(130)


def main() -> None:
    """Run the command."""
    try:
        from thorax.commands.cli import main as run

        run()
    except KeyboardInterrupt:
        raise stopped() from None
