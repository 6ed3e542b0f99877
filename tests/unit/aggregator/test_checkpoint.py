"""Nothing passes a closed checkpoint, however quickly it is closed after it was opened."""

import threading
import time

from tests.factories.patience import until

from aggregator.delivery.checkpoint import Checkpoint


class Passing(threading.Thread):
    """Passes its checkpoint as often as it may, until it is told to end there."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.checkpoint: threading.Event = Checkpoint(self)
        self.passed, self.ends = 0, False

    def run(self) -> None:
        while not self.ends:
            self.checkpoint.wait()
            self.passed += 1


def test_nothing_passes_what_is_closed_again_at_once() -> None:
    thread = Passing()
    thread.start()
    for _ in range(200):
        thread.checkpoint.clear()
        passed = thread.passed
        time.sleep(0.001)  # in which a thread that has been let through once more would pass
        assert thread.passed == passed
        thread.checkpoint.set()
    until(lambda: thread.passed > passed)
    thread.ends = True
    thread.join()
    thread.checkpoint.clear()  # does not wait for a thread that has ended
