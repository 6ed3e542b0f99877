"""Where pynetdicom 3.0.4's own thread of an association waits while a sender waits for the peer's answer.

Its plain event lets the thread through once more when `clear()` follows `set()` before it has looked, or comes while it passes; the thread
then takes the answer, and the sender waits in vain until its timeout: seen on starved machines.
"""

import threading
from typing import Any

_LOOK_S = 0.1  # whether the thread has ended


class Checkpoint(threading.Event):
    """In the place of an association's `_reactor_checkpoint`: after `clear()` its thread does not pass until `set()`."""

    def __init__(self, association: Any) -> None:
        super().__init__()
        self._association, self._passing = association, threading.Condition()
        self._held = False  # by `wait`
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Hold the association's thread while it is not set."""
        while True:
            with self._passing:
                self._held = not self.is_set()
                if not self._held:
                    return True
                self._passing.notify_all()
            if not super().wait(timeout) and timeout is not None:
                return False

    def clear(self) -> None:
        """Close it, and return once the association's thread is held, or has ended."""
        with self._passing:
            super().clear()
            if threading.current_thread() is self._association:
                return
            while not self._held and self._association.is_alive():
                self._passing.wait(_LOOK_S)


def own_checkpoint(event: Any) -> None:
    """Handles EVT_CONN_OPEN: gives the association one of these."""
    event.assoc._reactor_checkpoint = Checkpoint(event.assoc)
