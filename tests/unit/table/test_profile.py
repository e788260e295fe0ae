"""Summaries of parts merge to that of the whole, and typed columns become arrays."""

import numpy as np
import pyarrow as pa
import pytest

from tabular.config.schema import Column
from tabular.core.errors import UserError
from tabular.table.arrays import labels
from tabular.table.profile import Summary
from tests.helpers import schema_of


def test_summaries_of_parts_merge_to_that_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(1000) < 0.1, 0.0, rng.normal(1e6, 1.0, 1000))
    column = Column(kind="real", missing_values=(0, "?"), nullable=True)
    merged = Summary()
    for part in np.split(values, [3, 3, 500]):
        merged = merged.merge(Summary.of(pa.chunked_array([pa.array(part)]), column))
    present = values[values != 0]
    assert merged.missing == 1000 - len(present)
    assert (merged.min, merged.max) == (present.min(), present.max())
    assert merged.mean == pytest.approx(present.mean(), rel=1e-14)
    assert merged.standard_deviation == pytest.approx(present.std(ddof=1), rel=1e-9)


def test_a_row_without_a_class_is_named() -> None:
    part = pa.table({"y": pa.array([1, None, 7])})
    with pytest.raises(UserError, match=r"column y: 2 of 3 rows .* set missing and values of"):
        labels(part, schema_of("binary"))
