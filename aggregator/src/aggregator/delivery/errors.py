"""What keeps an answer from its destination."""

from thorax.errors import Code, CodedError


class NotDeliveredError(CodedError):
    """The destination does not have it; `may_pass` if another attempt may succeed, `answered` if it said so itself."""

    def __init__(self, code: Code, detail: str, *, may_pass: bool, answered: bool = False) -> None:
        super().__init__(code, detail)
        self.may_pass, self.answered = may_pass, answered


def unavailable(detail: str) -> NotDeliveredError:
    """What passes by itself."""
    return NotDeliveredError(Code.DESTINATION_AWAY, detail, may_pass=True)


def not_now(detail: str) -> NotDeliveredError:
    """What passes by itself, says a destination that is there: of all that is sent to it, or of this alone."""
    return NotDeliveredError(Code.DESTINATION_AWAY, detail, may_pass=True, answered=True)


def refuses(detail: str) -> NotDeliveredError:
    """What somebody has to correct."""
    return NotDeliveredError(Code.DESTINATION_REFUSES, detail, may_pass=False)
