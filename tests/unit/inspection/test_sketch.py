"""Sketches of columns: they read back, stay small, and tell moved rows from others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tabular.config.schema import Column
from tabular.core.errors import UserError
from tabular.inspection.sketch import BACKGROUND_SIZE, Sketch, total_variation, unknown
from tabular.prediction.drift import TrainingRows
from tabular.table.groups import mean_group_size
from tests.helpers import schema_of

RNG = np.random.default_rng(0)
ROWS = 2000
TALK = ["the", "parcel", "came", "late", "and", "the", "box", "was", "broken", "to", "us"]


def talk(words: list[str]) -> list[str]:
    return [" ".join(RNG.choice(words, 12)) for _ in range(ROWS)]


MOMENTS = pa.array(RNG.integers(0, 900, ROWS) * 86_400_000_000, pa.timestamp("us"))
VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    "real": ({"kind": "real", "missing_values": [-1.0]}, [*RNG.normal(9, 1, ROWS - 1), -1.0]),
    "integer": ({"kind": "integer"}, RNG.poisson(3, ROWS)),
    "boolean": ({"kind": "boolean"}, RNG.random(ROWS) < 0.3),
    "category": ({"kind": "category"}, RNG.choice(["x", "y", "z"], ROWS, p=[0.7, 0.2, 0.1])),
    "datetime": ({"kind": "datetime"}, MOMENTS),
    "text": ({"kind": "text"}, talk(TALK)),
    "rare": ({"kind": "real"}, np.where(RNG.random(ROWS) < 0.05, 1.0, 0.0)),
    "mostly 0": ({"kind": "real"}, RNG.uniform(1, 80, ROWS) * (RNG.random(ROWS) < 0.08)),
    "constant": ({"kind": "real"}, np.full(ROWS, 5.0)),
    "far from 0": ({"kind": "real"}, 1.7e9 + np.arange(ROWS)),
}


def column_of(kind: str) -> tuple[Column, pa.ChunkedArray]:
    declared, values = VALUES[kind]
    return Column(**declared), pa.chunked_array([pa.array(values)])


def excess(sketch: Sketch, values: pa.ChunkedArray) -> float:
    """By how much rows are further away than chance would take them."""
    found = [total_variation(c.counts, c.bins.counts(values)) for c in sketch.histograms.values()]
    return max(apart - by_chance for apart, by_chance in found)


@pytest.mark.parametrize("kind", VALUES)
def test_a_sketch_reads_back_from_a_file_and_halves_of_its_rows_are_alike(kind: str) -> None:
    column, values = column_of(kind)
    sketch = Sketch.of(values, column)
    written = json.dumps(sketch.to_json())
    assert len(written) < 2000
    assert Sketch.read(json.loads(written), column).to_json() == json.loads(written)
    assert sketch.values.counts.sum() == ROWS
    assert len(sketch.values.bins.names) == len(sketch.values.counts)
    assert len(sketch.background) == (0 if kind == "text" else BACKGROUND_SIZE)
    for _ in range(5):
        apart = excess(sketch, values.take(RNG.permutation(ROWS)[: ROWS // 2]))
        assert apart < 0 or (kind == "constant" and apart == 0)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("real", lambda v: v + 0.5),
        ("integer", lambda v: v + 1),
        ("boolean", lambda v: RNG.random(len(v)) < 0.6),
        ("category", lambda v: np.where(RNG.random(len(v)) < 0.2, "new", v)),
        ("datetime", lambda v: v + np.timedelta64(300, "D")),
        ("text", lambda v: np.array([text[:20] for text in v])),
        ("text", lambda v: np.array(talk(["das", "paket", "kam", "zu", "uns", "heute"]))),
        ("category", lambda v: np.where(RNG.random(len(v)) < 0.2, None, v)),
        ("rare", lambda v: v * 0 + 1),
        ("mostly 0", lambda v: RNG.uniform(1, 80, len(v))),
        ("constant", lambda v: v + 95),
        ("far from 0", lambda v: v + ROWS / 2),
    ],
)
def test_rows_that_moved_are_further_away_than_chance(kind: str, change: Any) -> None:
    column, values = column_of(kind)
    new = pa.chunked_array([pa.array(change(values.to_numpy())[:500])])
    assert excess(Sketch.of(values, column), new.cast(values.type)) > 0.05


def test_bins_say_what_lies_outside_of_the_training_rows() -> None:
    column, values = Column(kind="real"), pa.chunked_array([[1.5, 2.0, 2.0, 7.0]])
    bins = Sketch.of(values, column).values.bins
    assert bins.names == ["below 1.5", "1.5 to below 2", "2 to below 7", "7", "above 7", "missing"]
    new = pa.chunked_array([[0.0, 1.5, 7.0, 7.1, None, 9.0]])
    assert bins.counts(new).tolist() == [1, 1, 0, 1, 2, 1]


def test_drawn_values_are_as_frequent_as_in_the_rows() -> None:
    values = pa.chunked_array([pa.array(["a"] * 50 + ["b"] * 25 + [None] * 25)])
    drawn = Sketch.of(values, Column(kind="category", nullable=True)).background
    assert [drawn.count(value) for value in ("a", "b", None)] == [8, 4, 4]


@pytest.mark.parametrize("key", ["edges", "counts", "drawn", "rows", "unknown"])
def test_a_broken_file_is_refused(key: str) -> None:
    schema = schema_of("regression", x={"kind": "real"})
    found = Sketch.of(pa.chunked_array([RNG.normal(size=50)]), schema.columns["x"]).to_json()
    metadata = {"importance": {"x": 1.0}, "trained_on": {"rows": 50}}
    no_numbers = ([10**400] * BACKGROUND_SIZE, [float("nan")] * BACKGROUND_SIZE)
    for wrong in ("x", None, float("inf"), [3.0, 2.0, 1.0], *no_numbers):
        broken = metadata | {"sketches": {"x": found | {key: wrong}}}
        with pytest.raises(UserError, match="is not as `dvc repro` writes it"):
            TrainingRows.read(Path("m"), broken, schema)


def test_the_last_moment_and_a_word_for_a_gap_are_no_exception() -> None:
    last = pa.array([253_402_300_799_999_999] * 3, pa.timestamp("us"))
    assert Sketch.of(pa.chunked_array([last]), Column(kind="datetime")).rows == 3
    column = Column(kind="category", missing_values=("?",), nullable=True)
    values = pa.chunked_array([["?", "a", "b", None]])
    assert unknown(values, ["a"], column).tolist() == [False, False, True, False]


def test_rows_in_groups_are_further_apart_by_chance() -> None:
    """Fifty groups of a hundred equal rows are as fifty rows."""
    rng = np.random.default_rng(0)
    first, second = (100 * np.bincount(rng.integers(0, 10, 50), minlength=10) for _ in range(2))
    distance, by_chance = total_variation(first, second)
    assert distance > by_chance
    group_size = mean_group_size(np.repeat(np.arange(50), 100))
    assert group_size == 100
    same_distance, in_groups = total_variation(first, second, group_size)
    assert same_distance == distance < in_groups
    assert mean_group_size(None) == 1
