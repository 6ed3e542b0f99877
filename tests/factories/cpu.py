"""What a process has worked: unlike the time that passed, it does not depend on what else the machine does."""

from contextlib import suppress

import psutil


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of all its children so far, those that have ended included."""
    process, seconds = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seconds += sum(one.cpu_times()[:4])  # its own, and those of children that it has waited for
    return seconds
