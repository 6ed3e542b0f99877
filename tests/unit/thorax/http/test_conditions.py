"""Conditions, ranges and file names of requests for files."""

from urllib.parse import unquote

import pytest

from thorax.http.conditions import UnsatisfiableRangeError, attachment, byte_range, matches


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=7-", (7, 10)),
        ("bytes=7-99", (7, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        (None, None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=\u0661-", None),
        ("bytes=" + "9" * 99 + "-", None),
    ],
)
def test_a_range_is_cut_to_the_size_or_ignored(header: str | None, part: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end_is_told(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        byte_range(header, 10)


@pytest.mark.parametrize(
    ("if_none_match", "found"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", W/"a"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        (None, False),
    ],
)
def test_a_list_of_tags_is_compared_weakly(if_none_match: str | None, found: bool) -> None:
    assert matches(if_none_match, '"a"') is found


@pytest.mark.parametrize(
    "name", ["chest.dcm", 'a"b\\c.png', "Thorax übersicht %20.png", "胸部.dcm", "a\r\nSet-Cookie: x"]
)
def test_any_name_makes_one_header_that_says_it(name: str) -> None:
    header = attachment(name)
    assert header.isascii() and header.isprintable()
    plain, _, extended = header.partition("; filename*=UTF-8''")
    assert (unquote(extended) if extended else plain.split('"')[1]) == name
