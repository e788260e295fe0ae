"""Copies of a row are on one side of a random split."""

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


def write(folder: Path, x: np.ndarray, town: list[str]) -> None:
    target = RNG.integers(0, 2, len(x))
    for number, rows in enumerate(np.array_split(np.arange(len(x)), 3)):
        columns = {"x": x[rows], "town": [town[row] for row in rows]}
        write_part(folder, number, pa.table(columns | {SCHEMA.target: target[rows]}))


def test_equal_rows_share_a_subset_and_a_fold_whatever_their_targets(tmp_path: Path) -> None:
    x = RNG.normal(size=400)
    copies = RNG.integers(0, 400, 120)
    write(tmp_path, np.append(x, x[copies]), ["a"] * 520)
    first, message = find_equal_rows(tmp_path, SPLIT, SCHEMA)
    assert first is not None
    assert message
    assert "120 of 520 rows repeat the columns of another: they stay with it" in message
    np.testing.assert_array_equal(first[400:], copies)
    order, keys, counts = assign_rows(tmp_path, SPLIT, SCHEMA, first)
    assert keys is not None
    subset = np.empty(520, int)
    subset[order] = np.repeat(range(3), counts)
    np.testing.assert_array_equal(subset, subset[first])
    np.testing.assert_array_equal(keys, keys[first])
    np.testing.assert_array_equal(np.sort(order), np.arange(520))
    group = row_groups(tmp_path, SCHEMA)
    assert group is not None
    np.testing.assert_array_equal(np.unique(first, return_inverse=True)[1], group)


def test_without_equal_rows_nothing_is_message(tmp_path: Path) -> None:
    write(tmp_path, np.repeat(RNG.normal(size=50), 2), ["a", "b"] * 50)
    assert equal_feature_rows(tmp_path, SCHEMA) is None
    assert row_groups(tmp_path, SCHEMA) is None
    assert find_equal_rows(tmp_path, SPLIT, SCHEMA) == (None, None)


@pytest.mark.parametrize(("rule", "apart"), [("auto", True), ("together", False), ("drawn", True)])
def test_a_table_of_few_different_rows_is_drawn_row_by_row_unless_asked(
    rule: str, apart: bool, tmp_path: Path
) -> None:
    write(tmp_path, RNG.integers(0, 3, 60).astype(float), ["a"] * 60)
    split = Split.model_validate(SPLIT.model_dump() | {"equal_rows": rule})
    first, message = find_equal_rows(tmp_path, split, SCHEMA)
    assert (first is None) == apart
    assert (message is None) == (rule == "drawn")
    assert row_groups(tmp_path, SCHEMA) is None
