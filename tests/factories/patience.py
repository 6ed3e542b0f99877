"""How long a test waits for what has to happen: a bound against hanging only, which a starved machine keeps as well."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

import httpx

T = TypeVar("T")
PATIENCE_S = 120


def until(happened: Callable[[], T], what: object = "it did not happen", *, pause_s: float = 0.05) -> T:
    """The first truthy value of `happened`; the test fails after `PATIENCE_S`, saying `what` (a function is asked then)."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := happened()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(pause_s)
    return found


def answers(port: int) -> bool:
    """Whether something listens on this port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def succeeds(url: str) -> bool:
    """Whether a GET of this address is answered with 200; False where nobody answers (yet)."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
