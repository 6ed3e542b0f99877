"""A process that leaves ends at once: what it wrote is there, and nothing more runs."""

import subprocess
import sys

CODE = (
    "import atexit; atexit.register(print, 'late'); from thorax.leaving import leave; print('told'); leave()"
)


def test_what_was_written_is_there_and_nothing_more_runs() -> None:
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("told\n", "")
