"""Summaries of parts merge to that of the whole, and typed columns become arrays."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Column
from keras_tabular.core.errors import UserError
from keras_tabular.table.arrays import labels
from keras_tabular.table.parquet import write_parts
from keras_tabular.table.profile import Summary, describe_table
from tests.helpers import build_schema


def test_summaries_of_parts_merge_to_that_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(1000) < 0.1, 0.0, rng.normal(1e6, 1.0, 1000))
    column = Column(kind="real", missing_values=(0, "?"), nullable=True)
    merged = Summary()
    for part in np.split(values, [3, 3, 500]):
        merged = merged.merge(Summary.from_column(pa.chunked_array([pa.array(part)]), column))
    present = values[values != 0]
    assert merged.missing == 1000 - len(present)
    assert (merged.min, merged.max) == (present.min(), present.max())
    assert merged.mean == pytest.approx(present.mean(), rel=1e-14)
    assert merged.standard_deviation == pytest.approx(present.std(ddof=1), rel=1e-9)


@pytest.mark.parametrize("far", [1e38, -1e160, 1.7e308])
def test_a_number_that_no_model_can_hold_is_refused_by_name(far: float, tmp_path: Path) -> None:
    schema = build_schema("regression", x={"kind": "real", "missing_values": [far]})
    write_parts(tmp_path / "declared", [pa.table({"x": [0.5, far], "y": [0.5, 1.0]})])
    assert describe_table(tmp_path / "declared", schema)["column"]["x"]["max"] == 0.5
    part = pa.table({"x": [0.5, 1.0], "y": [0.5, far]})
    write_parts(tmp_path / "undeclared", [part, part])
    with pytest.raises(UserError, match=r"^column y: found .*; expected numbers from -1e\+37"):
        describe_table(tmp_path / "undeclared", schema)


def test_a_row_without_a_class_is_named() -> None:
    part = pa.table({"y": pa.array([1, None, 7])})
    with pytest.raises(UserError, match=r"column y: 2 of 3 rows .* set missing and values of"):
        labels(part, build_schema("binary"))
