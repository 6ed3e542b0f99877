"""What the sweeper does in a round: functions without arguments, each of which does what is to be done now."""

from collections.abc import Callable, Mapping, Sequence

import structlog

Duties = Sequence[Callable[[], None]]
_log = structlog.get_logger(__name__)


def run_once(duties: Duties) -> None:
    """One round; a duty that fails is logged and tried again in the next."""
    for duty in duties:
        try:
            duty()
        except Exception as error:  # whatever it is, the other duties follow
            _log.warning("duty_failed", duty=duty.__name__, error=type(error).__name__)


def run_due(due: Mapping[Callable[[], None], bool]) -> None:
    """The same for those duties that have anything to do, in their order."""
    run_once([duty for duty, is_due in due.items() if is_due])
