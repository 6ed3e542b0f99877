"""Hints to the workers, sent in the background: an answer never waits for the broker."""

from concurrent.futures import ThreadPoolExecutor

from thorax.states import StepKind
from thorax.work.hints import Hints


class HintSender:
    """Sends hints on a thread of its own, so that a slow broker holds up no blobs."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._thread = ThreadPoolExecutor(1, "hints")

    def prepare(self, images: int) -> None:
        """One hint for each image that waits to be prepared."""
        self._thread.submit(self._hints.send, [str(StepKind.PREPARE)] * images)
