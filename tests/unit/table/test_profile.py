"""Profiles and summaries of columns, and how far two tables differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Column, Kind
from keras_tabular.core.errors import UserError
from keras_tabular.table.arrays import labels
from keras_tabular.table.parquet import write_parts
from keras_tabular.table.profile import (
    ColumnSummary,
    Summary,
    compare_counts,
    describe_table,
)
from tests.helpers import build_schema


# Summaries of columns and the profile of a table.
def test_merged_summaries_of_parts_are_the_summary_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(1000) < 0.1, 0.0, rng.normal(1e6, 1.0, 1000))
    merged = Summary()
    for part in np.split(values, [3, 3, 500]):
        column = pa.chunked_array([pa.array(part, mask=part == 0)])
        merged = merged.merge(Summary.from_column(column, Column(kind="real")))
    present = values[values != 0]
    assert merged.missing == 1000 - len(present)
    assert merged.min == present.min()
    assert merged.max == present.max()
    assert merged.mean == pytest.approx(present.mean(), rel=1e-14)
    assert merged.standard_deviation == pytest.approx(present.std(ddof=1), rel=1e-9)


@pytest.mark.parametrize("large", [1e38, -1e160, 1.7e308])
def test_a_number_that_is_too_large_is_an_error(large: float, tmp_path: Path) -> None:
    part = pa.table({"x": [0.5, 1.0], "y": [0.5, large]})
    write_parts(tmp_path, [part, part])
    message = r"^column y: expected numbers from -1e\+37 to 1e\+37, got"
    with pytest.raises(UserError, match=message):
        describe_table(tmp_path, build_schema("regression"))


@pytest.mark.parametrize(
    ("task", "targets"),
    [("binary", [1, None, 7]), ("regression", [0.5, None, None])],
)
def test_a_row_without_a_declared_class_or_value_is_an_error(
    task: str,
    targets: list[Any],
) -> None:
    part = pa.table({"y": pa.array(targets)})
    message = r"column y: 2 of 3 rows .*\. Set validate\.missing_target"
    with pytest.raises(UserError, match=message):
        labels(part, build_schema(task))


def test_a_missing_target_is_not_a_class_in_the_profile(tmp_path: Path) -> None:
    write_parts(tmp_path, [pa.table({"x": [0.5] * 4, "y": ["a", "b", None, None]})])
    profile = describe_table(tmp_path, build_schema("multiclass"))
    share = {"rows": 1, "share": 0.25}
    assert profile["target"] == {"a": share, "b": share}


# Column summaries are small, can be read back, and tell whether new rows have moved.
RNG = np.random.default_rng(0)
ROWS = 2000
WORDS = [
    "the",
    "parcel",
    "came",
    "late",
    "and",
    "the",
    "box",
    "was",
    "broken",
    "to",
    "us",
]


TEXTS = [" ".join(RNG.choice(WORDS, 12)) for _ in range(ROWS)]
TIMESTAMPS = pa.array(RNG.integers(0, 900, ROWS) * 86_400_000_000, pa.timestamp("us"))
VALUES: dict[str, tuple[Kind, Any]] = {
    "real": ("real", [*RNG.normal(9, 1, ROWS - 1), None]),
    "integer": ("integer", RNG.poisson(3, ROWS)),
    "boolean": ("boolean", RNG.random(ROWS) < 0.3),
    "category": ("category", RNG.choice(["x", "y", "z"], ROWS, p=[0.7, 0.2, 0.1])),
    "datetime": ("datetime", TIMESTAMPS),
    "text": ("text", TEXTS),
    "rare": ("real", np.where(RNG.random(ROWS) < 0.05, 1.0, 0.0)),
    "mostly 0": ("real", RNG.uniform(1, 80, ROWS) * (RNG.random(ROWS) < 0.08)),
    "constant": ("real", np.full(ROWS, 5.0)),
    "far from 0": ("real", 1.7e9 + np.arange(ROWS)),
}


def build_summary(name: str) -> tuple[Column, pa.ChunkedArray, ColumnSummary]:
    kind, values = VALUES[name]
    column = Column(kind=kind)
    values = pa.chunked_array([pa.array(values)])
    return column, values, ColumnSummary.from_values(values, column)


def compare(
    summary: ColumnSummary,
    values: pa.ChunkedArray,
    column: Column,
) -> tuple[float, float]:
    """Return the distance from the summary, and the p-value among 30 columns."""
    counts = summary.bins(column).counts(values)
    return compare_counts(np.array(summary.counts), counts, columns=30)


@pytest.mark.parametrize("name", VALUES)
def test_a_summary_can_be_read_back_and_halves_of_its_rows_have_not_moved(
    name: str,
) -> None:
    column, values, summary = build_summary(name)
    content = summary.model_dump_json(exclude_defaults=True)
    assert len(content) < 1000
    assert ColumnSummary.model_validate_json(content) == summary
    assert sum(summary.counts) == ROWS
    for _ in range(5):
        half = values.take(RNG.permutation(ROWS)[: ROWS // 2])
        assert compare(summary, half, column)[1] > 0.05


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("real", lambda v: v + 0.5),
        ("integer", lambda v: v + 1),
        ("boolean", lambda v: RNG.random(len(v)) < 0.6),
        ("category", lambda v: np.where(RNG.random(len(v)) < 0.2, "new", v)),
        ("datetime", lambda v: v + np.timedelta64(300, "D")),
        ("text", lambda v: np.array([text[:20] for text in v])),
        ("category", lambda v: np.where(RNG.random(len(v)) < 0.2, None, v)),
        ("rare", lambda v: v * 0 + 1),
        ("mostly 0", lambda v: RNG.uniform(1, 80, len(v))),
        ("constant", lambda v: v + 95),
        ("far from 0", lambda v: v + ROWS / 2),
    ],
)
def test_rows_that_moved_are_further_away_than_chance_explains(
    name: str,
    change: Any,
) -> None:
    column, values, summary = build_summary(name)
    new = pa.chunked_array([pa.array(change(values.to_numpy())[:500])])
    distance, p_value = compare(summary, new.cast(values.type), column)
    assert distance > 0.15
    assert p_value < 1e-6


@pytest.mark.parametrize("training_rows", [1000, 1_000_000])
@pytest.mark.parametrize(
    ("shares", "new"),
    [
        # A missing value or a new category, of which there was none:
        ([1.0, 0.0], [47, 3]),
        ([0.0, 1.0, 0.0, 0.0], [0, 0, 50, 0]),  # a constant has another value
        ([0.1] * 10, [0, 0, 0, 0, 0, 5, 5, 10, 15, 15]),
    ],
)
def test_few_new_rows_are_compared_with_many(
    training_rows: int,
    shares: list[float],
    new: list[int],
) -> None:
    train = np.array(shares) * training_rows
    assert compare_counts(train, np.array(new), columns=10)[1] < 0.005
    equal = np.round(np.array(shares) * 50)
    assert compare_counts(train, equal, columns=10) == (0, 1)
