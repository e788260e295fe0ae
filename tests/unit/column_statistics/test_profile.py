"""Summaries of columns and the profile of a table."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.column_statistics.profile import Summary, describe_table
from keras_tabular.config.schema import Column
from keras_tabular.core.errors import UserError
from keras_tabular.table.arrays import labels
from keras_tabular.table.parquet import write_parts
from tests.helpers import build_schema


def test_merged_summaries_of_parts_are_the_summary_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(1000) < 0.1, 0.0, rng.normal(1e6, 1.0, 1000))
    merged = Summary()
    for part in np.split(values, [3, 3, 500]):
        column = pa.chunked_array([pa.array(part, mask=part == 0)])
        merged = merged.merge(Summary.from_column(column, Column(kind="real")))
    present = values[values != 0]
    assert merged.missing == 1000 - len(present)
    assert (merged.min, merged.max) == (present.min(), present.max())
    assert merged.mean == pytest.approx(present.mean(), rel=1e-14)
    assert merged.standard_deviation == pytest.approx(present.std(ddof=1), rel=1e-9)


@pytest.mark.parametrize("large", [1e38, -1e160, 1.7e308])
def test_a_number_that_is_too_large_is_an_error(large: float, tmp_path: Path) -> None:
    part = pa.table({"x": [0.5, 1.0], "y": [0.5, large]})
    write_parts(tmp_path, [part, part])
    with pytest.raises(UserError, match=r"^column y: expected numbers from -1e\+37 to 1e\+37, got"):
        describe_table(tmp_path, build_schema("regression"))


@pytest.mark.parametrize(
    ("task", "targets"), [("binary", [1, None, 7]), ("regression", [0.5, None, None])]
)
def test_a_row_without_a_declared_class_or_value_is_an_error(task: str, targets: list[Any]) -> None:
    part = pa.table({"y": pa.array(targets)})
    with pytest.raises(UserError, match=r"column y: 2 of 3 rows .*\. Set validate\.missing_target"):
        labels(part, build_schema(task))


def test_a_missing_target_is_not_a_class_in_the_profile(tmp_path: Path) -> None:
    write_parts(tmp_path, [pa.table({"x": [0.5] * 4, "y": ["a", "b", None, None]})])
    profile = describe_table(tmp_path, build_schema("multiclass"))
    assert profile["target"] == {name: {"rows": 1, "share": 0.25} for name in ("a", "b")}
