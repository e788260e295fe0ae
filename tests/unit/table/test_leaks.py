"""A column that explains nearly all of the target is a leak, and a good honest column is not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.table.leaks import sample_rows, shares_explained
from tests.helpers import build_schema

THRESHOLD = 0.99
RNG = np.random.default_rng(0)


def share_explained(x: list[str] | np.ndarray, y: np.ndarray, kind: str = "real") -> float:
    """Return how much of the target a column explains; a boolean target has two classes."""
    task = "binary" if y.dtype == bool else "regression"
    table = pa.table({"x": pa.array(x, from_pandas=True), "y": y * 1})
    schema = build_schema(task, x={"kind": kind, "nullable": True})
    share = shares_explained(sample_rows(table, schema, 1), schema)["x"]
    assert share is not None
    return share


@pytest.mark.parametrize("rows", [1000, 30_000])
def test_a_function_of_the_target_with_little_noise_is_a_leak(rows: int) -> None:
    y = np.random.default_rng(1).normal(size=rows)
    for leak in (
        y,
        y + 0.05 * RNG.normal(size=rows),
        -np.exp(3 * y),
        np.where(y > 0, y, y + 10),  # not monotonic
        np.where(RNG.random(rows) < 0.2, np.nan, y),
    ):
        assert share_explained(leak, y) >= THRESHOLD


@pytest.mark.parametrize("draw", [RNG.normal, RNG.lognormal, lambda size: RNG.poisson(4, size)])
def test_a_number_with_an_r2_of_0_95_is_not_a_leak(draw: Callable[..., np.ndarray]) -> None:
    shares = []
    for _ in range(100):
        y = draw(size=300).astype(float)
        x = y + np.sqrt(1 / 0.95 - 1) * y.std() * RNG.normal(size=300)
        shares.append(share_explained(x, y))
    assert max(shares) < 0.98


def test_a_number_that_only_identifies_a_group_is_not_a_leak() -> None:
    """Such as the birthday of a patient, which says nothing about other patients."""
    group = np.random.default_rng(2).integers(0, 60, 600)
    number, y = RNG.normal(size=60)[group], RNG.normal(size=60)[group]
    assert share_explained(number, y) < 0.5
    assert share_explained(number, y > 0) < 0.5


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_code_of_the_class_is_a_leak_but_not_with_one_error_in_a_hundred(share: float) -> None:
    score = np.random.default_rng(3).permutation(np.linspace(-1, 1, 2000))
    positive = score > np.quantile(score, 1 - share)
    wrong = np.arange(2000) % 100 == 0
    for label in (positive, positive ^ wrong):
        share_of_code = share_explained(np.where(label, "c1", "c2").tolist(), positive, "category")
        assert (share_of_code >= THRESHOLD) == (label is positive)
        assert share_of_code > 0.75
    assert share_explained(score, positive) >= THRESHOLD
    assert share_explained(np.where(wrong, -score, score), positive) < THRESHOLD


def test_names_and_constants_explain_nothing() -> None:
    positive = np.random.default_rng(4).random(500) < 0.5
    names = [f"n{row}" for row in range(500)]
    assert share_explained(names, positive, "category") == 0
    assert share_explained(np.zeros(500), positive) == 0


@pytest.mark.parametrize("positive", [8, 10, 200])
@pytest.mark.parametrize("rows", [10_000, 200_000])
def test_a_copy_of_a_rare_class_is_found_if_it_has_ten_rows(rows: int, positive: int) -> None:
    y = np.random.default_rng(5).permutation(np.arange(rows) < positive)
    flag = np.random.default_rng(6).permutation(np.arange(rows) < 3 * positive) | y
    columns: dict[str, tuple[str, Any]] = {
        "copy": ("category", np.where(y, "c1", "c2")),
        "number": ("real", y + 0.05 * RNG.normal(size=rows)),
        "flag": ("category", np.where(flag, "yes", "no")),  # also of many rows of the other class
        "noise": ("real", RNG.normal(size=rows)),
        "comment": ("text", np.where(y, "this one", "another one")),
    }
    schema = build_schema("binary", **{name: {"kind": kind} for name, (kind, _) in columns.items()})
    table = pa.table({name: values for name, (_, values) in columns.items()} | {"y": y * 1})
    parts = [table[: rows // 2], table[rows // 2 :]]
    sample = pa.concat_tables([sample_rows(part, schema, 2) for part in parts])
    assert len(sample) <= 20_010
    shares = shares_explained(sample, schema)
    if positive < 10:
        assert shares == dict.fromkeys(columns)
        return
    assert shares.pop("comment") is None
    assert [name for name, share in shares.items() if share and share > 0.5] == ["copy", "number"]
    assert shares["copy"] == 1
