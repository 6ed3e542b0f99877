"""What keeps an answer from its destination."""

from thorax.errors import Code, CodedError


class NotDeliveredError(CodedError):
    """The destination does not have it; `may_pass` if another attempt may succeed."""

    def __init__(self, code: Code, detail: str, *, may_pass: bool) -> None:
        super().__init__(code, detail)
        self.may_pass = may_pass


def unavailable(detail: str) -> NotDeliveredError:
    """What passes by itself."""
    return NotDeliveredError(Code.DESTINATION_AWAY, detail, may_pass=True)


def refuses(detail: str) -> NotDeliveredError:
    """What somebody has to correct."""
    return NotDeliveredError(Code.DESTINATION_REFUSES, detail, may_pass=False)
