"""Rows with equal features are in one subset of a random split."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.sections import Split
from keras_tabular.splitting.rules import assign_rows, find_equal_rows
from keras_tabular.table.groups import equal_feature_rows, row_groups
from keras_tabular.table.parquet import write_part
from tests.helpers import build_schema

SCHEMA = build_schema("binary", x={"kind": "real"}, town={"kind": "category"})
SPLIT = Split(test_size=0.3, validation_size=0.2, seed=4)
RNG = np.random.default_rng(2)


def write_table(folder: Path, x: np.ndarray, towns: list[str]) -> None:
    targets = RNG.integers(0, 2, len(x))
    for number, rows in enumerate(np.array_split(np.arange(len(x)), 3)):
        columns = {"x": x[rows], "town": [towns[row] for row in rows]}
        write_part(folder, number, pa.table(columns | {SCHEMA.target: targets[rows]}))


def test_equal_rows_share_a_subset_and_a_fold_key_whatever_their_targets(tmp_path: Path) -> None:
    x = RNG.normal(size=400)
    copies = RNG.integers(0, 400, 120)
    write_table(tmp_path, np.append(x, x[copies]), ["a"] * 520)
    first_equal, message = find_equal_rows(tmp_path, SPLIT, SCHEMA)
    assert first_equal is not None
    assert "120 of 520 rows repeat" in message
    np.testing.assert_array_equal(first_equal[400:], copies)
    subset_rows, fold_keys = assign_rows(tmp_path, SPLIT, SCHEMA, first_equal)
    assert fold_keys is not None
    np.testing.assert_array_equal(fold_keys, fold_keys[first_equal])
    subset = np.empty(520, int)
    for number, rows in enumerate(subset_rows):
        subset[rows] = number
    np.testing.assert_array_equal(subset, subset[first_equal])
    np.testing.assert_array_equal(np.sort(np.concatenate(subset_rows)), np.arange(520))
    group = row_groups(tmp_path, SCHEMA)
    np.testing.assert_array_equal(np.unique(first_equal, return_inverse=True)[1], group)


def test_a_table_without_equal_rows_needs_no_message(tmp_path: Path) -> None:
    write_table(tmp_path, np.repeat(RNG.normal(size=50), 2), ["a", "b"] * 50)
    assert equal_feature_rows(tmp_path, SCHEMA) is None
    assert row_groups(tmp_path, SCHEMA) is None
    assert find_equal_rows(tmp_path, SPLIT, SCHEMA) == (None, "")


@pytest.mark.parametrize(
    ("equal_rows", "by_themselves"), [("auto", True), ("together", False), ("drawn", True)]
)
def test_rows_with_few_different_values_are_drawn_by_themselves_unless_asked(
    equal_rows: str, by_themselves: bool, tmp_path: Path
) -> None:
    write_table(tmp_path, RNG.integers(0, 3, 60).astype(float), ["a"] * 60)
    split = Split.model_validate(SPLIT.model_dump() | {"equal_rows": equal_rows})
    first_equal, message = find_equal_rows(tmp_path, split, SCHEMA)
    assert (first_equal is None) == by_themselves
    assert (not message) == (equal_rows == "drawn")
    assert row_groups(tmp_path, SCHEMA) is None
