"""How a service's process ends once it has closed what it used."""

import logging
import os
import sys
from typing import NoReturn


def leave() -> NoReturn:
    """End this process now, with status 0. Nothing is left to be flushed but its output.

    Without it Python frees every object of every library one by one: 0.7 CPU-s a process, all of them at the same time
    when a machine stops, and then not in time.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
