"""What a PACS gets of an answer: a structured report (SR), secondary captures (SC) and presentation states (GSPS). No I/O."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from aggregator.objects.answer import Answer
from aggregator.objects.capture import capture
from aggregator.objects.identity import Sealed
from aggregator.objects.presentation import presentation
from aggregator.objects.report import report


@dataclass(frozen=True)
class Unmade:
    """An object that can't be made of this answer, however often it is tried: `GSPS 2`, and why."""

    name: str
    error: Exception


def objects(answer: Answer) -> Iterator[Sealed | Unmade]:
    """The SR of the study, then an SC of each image, then a GSPS of each grey image that was analysed.

    One that can't be made withholds no other.
    """
    for name, make in _makers(answer):
        try:
            yield make()
        except Exception as error:  # the library raises whatever a header that it did not foresee leads to
            yield Unmade(name, error)


def _makers(answer: Answer) -> Iterator[tuple[str, Callable[[], Sealed]]]:
    yield "SR", partial(report, answer)
    for number, image in enumerate(answer.images, 1):
        yield f"SC {number}", partial(capture, answer, image, number)
    for number, image in enumerate(answer.analysed, 1):
        if image.is_grey:
            yield f"GSPS {number}", partial(presentation, answer, image, number)
