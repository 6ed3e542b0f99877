"""What a PACS gets of an answer: a structured report (SR), secondary captures (SC) and presentation states (GSPS). No I/O."""

from collections.abc import Iterator

from aggregator.objects.answer import Answer
from aggregator.objects.capture import capture
from aggregator.objects.identity import Sealed
from aggregator.objects.presentation import presentation
from aggregator.objects.report import report


def objects(answer: Answer) -> Iterator[Sealed]:
    """The SR of the study, then an SC of each image, then a GSPS of each image that was analysed."""
    yield report(answer)
    for number, image in enumerate(answer.images, 1):
        yield capture(answer, image, number)
    for number, image in enumerate(answer.analysed, 1):
        yield presentation(answer, image, number)
