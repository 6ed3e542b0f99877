"""The SQL of a search."""

from uuid import uuid4

import pytest

from gateway.dicomweb.keys import Query
from gateway.dicomweb.queries import statement_of


@pytest.mark.parametrize(
    ("level", "key"),
    [("study", "StudyInstanceUID"), ("series", "SeriesInstanceUID"), ("instance", "SOPInstanceUID")],
)
def test_one_uid_is_asked_for_by_equality_and_several_as_a_list(level: str, key: str) -> None:
    """Postgres keeps no plan of a search among a list, and planning takes most of a search's time."""
    one, values = statement_of(uuid4(), level, Query({key: "1.2.3"}))
    assert "1.2.3" in values.values()
    assert "any(" not in one
    several, values = statement_of(uuid4(), level, Query({key: "1.2.3,1.2.4"}))
    assert ["1.2.3", "1.2.4"] in values.values()
    assert "any(" in several
