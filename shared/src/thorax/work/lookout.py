"""Work without a broker: while it does not answer, no hint arrives, and a process looks at the ledger itself."""

import threading
from collections.abc import Callable
from typing import Self

import structlog

from thorax.work.worker import Worker

LOOK_S = 5.0
_log = structlog.get_logger(__name__)


class Lookout(threading.Thread):
    """Has the worker look for work every few seconds while the broker does not answer. Ends with its block, after the work in hand."""

    def __init__(self, worker: Worker, answers: Callable[[], bool]) -> None:
        super().__init__(name="lookout")
        self._worker, self._answers = worker, answers
        self._done = threading.Event()

    def run(self) -> None:
        """Look until the block ends."""
        while not self._done.wait(LOOK_S):
            try:
                if self._worker.idle_for(LOOK_S) and not self._answers():
                    self._worker.work()
            except Exception as error:  # what fails once may succeed the next time
                _log.warning("lookout_failed", error=type(error).__name__)

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._done.set()
        self.join()
