"""Random tables are read right, asked about, or refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.outcomes import find_misreading
from tests.random_tables import FAULTS, tables


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=settings().max_examples // 50)
@given(data=st.data())
def test_a_random_table_is_not_misread(fault: str, data: st.DataObject) -> None:
    problem = find_misreading(data.draw(tables(fault)))
    assert not problem
