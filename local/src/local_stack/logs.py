"""The children's log lines as a person reads them: a prefix per process, JSON made short, colours on a terminal."""

import json
import os
import sys
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_LEVELS = {"warning": 33, "error": 31, "critical": 31, "exception": 31}
_KNOWN = {"event", "level", "timestamp", "service"}
WIDTH = 14


class Log:
    """Writes prefixed lines to one stream."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._colours: dict[str, int] = {}
        self._coloured = stream.isatty() and "NO_COLOR" not in os.environ

    def line(self, name: str, text: str) -> None:
        """One line of the process `name`, as it came."""
        colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
        short, level = readable(text)
        for part in short.splitlines():
            body = self._paint(part, _LEVELS[level]) if level in _LEVELS else part
            self._stream.write(f"{self._paint(f'{name:<{WIDTH}} |', colour)} {body}\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """A line of the supervisor."""
        self.line("thorax", text)

    def _paint(self, text: str, colour: int) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._coloured else text


def readable(text: str) -> tuple[str, str]:
    """A line of JSON as a short line, and its level."""
    try:
        record = json.loads(text) if text.startswith("{") else None
    except ValueError:
        record = None
    if not isinstance(record, dict) or "event" not in record:
        return text.rstrip(), ""
    level = str(record.get("level", "info"))
    rest = " ".join(f"{key}={value}" for key, value in record.items() if key not in _KNOWN)
    clock = str(record.get("timestamp", ""))[11:19]
    parts = [clock, level if level in _LEVELS else "", str(record["event"]), rest]
    line = " ".join(filter(None, parts))
    return line, level
