"""JSON log lines become short ones; everything else passes as it came."""

import io

from local_stack.logs import Log, readable


def test_json_becomes_clock_event_and_fields() -> None:
    line = '{"event":"claimed","level":"info","timestamp":"2026-01-02T03:04:05.6Z","service":"w","steps":2}'
    assert readable(line) == ("03:04:05 claimed steps=2", "info")


def test_a_warning_says_so() -> None:
    line = '{"event":"failed","level":"error","raised":"ValueError"}'
    assert readable(line) == ("error failed raised=ValueError", "error")


def test_other_lines_are_passed_on() -> None:
    for line in ("plain", "{broken", "[1, 2]", '{"no": "event"}'):
        assert readable(line) == (line, "")


def test_each_line_has_its_prefix_and_no_colour_off_a_terminal() -> None:
    stream = io.StringIO()
    Log(stream).line("gateway", "one\ntwo")
    assert stream.getvalue() == "gateway        | one\ngateway        | two\n"
