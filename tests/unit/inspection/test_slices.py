"""Slices: the declared ones, and the weakest that are found, beyond chance or not."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Column
from keras_tabular.config.sections import Range
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.inspection.slices import slice_scores
from keras_tabular.model_file.bins import Bins
from tests.helpers import build_schema

SCHEMA = build_schema(
    "binary",
    age={"kind": "real", "nullable": True},
    town={"kind": "category"},
    day={"kind": "datetime"},
    noise={"kind": "real"},
)


def rows_of(rows: int, seed: int, wrong_share: float) -> tuple[pa.Table, Predictions]:
    """Rows of which one in ten is answered wrongly; of old people in town b, `wrong_share`."""
    rng = np.random.default_rng(seed)
    age, town = rng.uniform(20, 80, rows), rng.choice(["a", "b"], rows)
    day = np.datetime64("2024-01-01T14", "us") + np.timedelta64(1, "D") * rng.integers(0, 100, rows)
    table = pa.table(
        {
            "age": pa.array(age, mask=rng.random(rows) < 0.1),
            "town": town,
            "day": pa.array(day, pa.timestamp("us", "UTC")),
            "noise": rng.normal(size=rows),
            "y": rng.integers(0, 2, rows),
        }
    )
    wrong = rng.random(rows) < np.where((age > 65) & (town == "b"), wrong_share, 0.1)
    y = table["y"].to_numpy().astype(float)
    return table, Predictions(y, np.abs(y - wrong)[:, None], np.ones(rows))


def found_in(wrong_share: float, seed: int = 0, **declared: dict[str, Any]) -> dict[str, Any]:
    both = {"cross_validation": rows_of(2000, seed, wrong_share), "test": rows_of(500, 9, 0.1)}
    tables, outputs = ({name: pair[i] for name, pair in both.items()} for i in range(2))
    names: Any = list(SCHEMA.features)
    return slice_scores(tables, outputs, SCHEMA, ["accuracy"], names, declared)


def test_a_weak_pair_is_found_and_its_test_rows_are_scored_apart() -> None:
    found = found_in(0.6)
    first = found["weakest"][0]
    (column, ages), town = first["where"]
    assert (column, ages.split()[1:], town) == ("age", ["or", "more"], ["town", "b"])
    assert first["weak"]
    of_all = found["all_rows"]["cross_validation"]["score"]
    assert first["low"] < first["score"] < first["high"] < of_all
    assert 0.4 < first["constant"] < 0.7  # half of the rows are of each class, whatever is answered
    assert 0 < first["recall"] < 0.7
    assert first["test"]["score"] > 0.7  # where it is as good as anywhere
    assert found == found_in(0.6)


def test_slices_of_a_model_that_is_as_good_everywhere_are_within_chance() -> None:
    """Of 40 such tables, with some 60 slices each, one at most has a weak slice."""
    weak = [any(s["weak"] for s in found_in(0.1, seed)["weakest"]) for seed in range(40)]
    assert sum(weak) <= 1


def test_a_rare_class_is_looked_at_by_the_loss() -> None:
    table, outputs = rows_of(400, 0, 0.6)
    decides, names = ["roc_auc", "average_precision"], ["age", "town"]
    found = slice_scores({"test": table}, {"test": outputs}, SCHEMA, decides, names, {})
    assert (found["score"], found["found_in"]) == ("loss", "test")
    assert found["weakest"][0]["score"] > found["all_rows"]["test"]["score"]
    assert found["weakest"][0]["constant"] == pytest.approx(np.log(2), abs=0.1)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"age": Range(low=30, high=40)}, "30 <= age <= 40"),
        ({"town": ("b",), "age": Range(high=50)}, "town == 'b' and age <= 50"),
        ({"day": Range(low=date(2024, 2, 1))}, "day >= '2024-02-01T00:00:00Z'"),
        ({"day": Range(high=date(2024, 2, 1))}, "day < '2024-02-02T00:00:00Z'"),
    ],
)
def test_a_declared_slice_holds_its_rows_and_no_gap(
    conditions: dict[str, Any], expected: str
) -> None:
    found = found_in(0.1, mine=conditions)["declared"]["mine"]
    for name, (rows, seed) in {"cross_validation": (2000, 0), "test": (500, 9)}.items():
        frame = rows_of(rows, seed, 0.1)[0].to_pandas()
        assert found[name]["rows"] == len(frame.query(expected))
        assert found[name]["low"] < found[name]["score"] < found[name]["high"]


def test_bins_are_named_by_what_they_hold() -> None:
    values = pa.chunked_array([[1.0, 2.0, 3.0, 4.0, None, -1.0]])
    bins = Bins.from_values(values, Column(kind="real", nullable=True, missing_values=(-1,)), 2)
    assert bins.names == ["below 3", "3 or more", "missing"]
    assert bins.codes(values).tolist() == [0, 0, 1, 1, 2, 2]
    mostly = pa.chunked_array([[0.0] * 90 + [1.5, 2.5, 3.5, 4.5, 5.5]])
    bins = Bins.from_values(mostly, Column(kind="real"), 4)
    assert bins.names == ["below 1.5", "1.5 or more", "missing"]
    near = pa.chunked_array([[1e9 + n for n in range(100)]])
    assert Bins.from_values(near, Column(kind="real"), 2).names[0] == "below 1000000050"
    words = pa.chunked_array([["b", "a", "b", "c", None]])
    bins = Bins.from_values(words, Column(kind="category"), 2)
    assert bins.names == ["b", "a", "others", "missing"]
    assert bins.codes(words).tolist() == [0, 1, 0, 2, 3]


def test_a_range_may_end_with_the_last_day_of_the_calendar() -> None:
    assert Range(high=date.max).ends[1] > Range(high=date(9999, 12, 30)).ends[1]
