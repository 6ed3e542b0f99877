"""Values with wildcards (PS3.4, C.2.2.2.4)."""

import pytest

from gateway.dicomweb.keys import grams, like, prefix


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("*2345*", ["234", "345"]),
        ("*ab?cde*", ["cde"]),
        (" *aaaa* ", ["aaa"]),
        ("*ab*", []),
        ("*", []),
    ],
)
def test_what_a_pattern_has_of_three_characters_in_a_row(value: str, expected: list[str]) -> None:
    assert grams(value) == expected


def test_a_pattern_is_written_as_sql_has_it() -> None:
    assert like(r"A*_%?\ ") == r"A%\_\%_\\"
    assert (prefix("A1*"), prefix("*A1")) == ("A1", "")
