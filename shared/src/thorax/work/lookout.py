"""Work without a broker: while no hint can arrive, a process looks at the ledger itself."""

import threading
from collections.abc import Callable
from typing import Self

import structlog

from thorax.work.worker import Worker

LOOK_S = 5.0
_log = structlog.get_logger(__name__)


class Lookout(threading.Thread):
    """Has the worker look for work every few seconds while no hint can arrive (`hinted`). Ends with its block, after the work in hand."""

    def __init__(self, worker: Worker, hinted: Callable[[], bool]) -> None:
        super().__init__(name="lookout")
        self._worker, self._hinted = worker, hinted
        self._done = threading.Event()

    def run(self) -> None:
        """Look until the block ends."""
        while not self._done.wait(LOOK_S):
            try:
                if self._worker.idle_for(LOOK_S) and not self._hinted():
                    self._worker.work()
            except Exception as error:  # what fails once may succeed the next time
                _log.warning("lookout_failed", error=type(error).__name__)

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._worker.stop()
        self._done.set()
        self.join()
