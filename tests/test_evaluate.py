"""Scores are scikit-learn's, the interval is Wilson's, and files hold finite rounded numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from stages.lib.importance import REPEATS, permutation_importance
from stages.lib.params import Column, Data
from stages.lib.plots import HEADERS, write_plots
from stages.lib.scores import (
    accuracy_interval,
    baselines,
    binary_scores,
    mae_interval,
    predict,
    regression_scores,
    score,
)
from stages.lib.stage import MAX_POINTS, UserError, run, whole, write_json, write_points
from stages.lib.table import labels


def data(task: str) -> Data:
    """A table of one real column and a target of the task."""
    target = {
        "binary": Column(kind="integer", values=(0, 1)),
        "multiclass": Column(kind="category", values=("a", "b", "c")),
        "regression": Column(kind="real"),
    }[task]
    return Data.model_validate(
        {
            "source": "t.csv",
            "task": task,
            "target": "y",
            "positive": 1 if task == "binary" else None,
            "columns": {"x": {"kind": "real"}, "y": target.model_dump()},
        }
    )


def test_scores_of_four_rows() -> None:
    predicted = np.array([[0.1], [0.6], [0.5], [0.9]])
    scores = score(np.array([0, 0, 1, 1]), predicted, data("binary"), 0.5)
    assert scores["accuracy"] == 0.75
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == 1
    assert scores["roc_auc"] == 0.75
    assert scores["brier"] == pytest.approx((0.01 + 0.36 + 0.25 + 0.01) / 4)
    assert scores["loss"] == pytest.approx(-np.log([0.9, 0.4, 0.5, 0.9]).mean())


def test_scores_of_three_classes() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    scores = score(np.array([0, 1, 2, 2]), probabilities, data("multiclass"), 0.5)
    assert scores["accuracy"] == 0.75
    assert scores["macro"]["recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert scores["weighted"]["recall"] == 0.75
    assert scores["macro"]["precision"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert scores["loss"] == pytest.approx(-np.log([0.8, 0.5, 0.3, 0.6]).mean())
    # In rank, row 2's 0.6 for class b stands above the true row's 0.5, and ties count a half.
    assert scores["macro"]["roc_auc"] == pytest.approx((1 + 2 / 3 + 7 / 8) / 3)


def test_scores_of_values() -> None:
    scores = regression_scores(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0]))
    assert scores["mae"] == pytest.approx(2 / 3)
    assert scores["rmse"] == pytest.approx((4 / 3) ** 0.5)
    assert scores["r2"] == pytest.approx(1 - 4 / 2)
    low, high = mae_interval(np.zeros(100), np.r_[np.zeros(50), np.ones(50)])
    assert (low, high) == pytest.approx((0.5 - 0.0985, 0.5 + 0.0985), abs=1e-3)


def test_rows_of_one_class_have_no_curve_and_no_rows_no_score() -> None:
    assert "roc_auc" not in binary_scores(np.ones(3), np.array([0.1, 0.2, 1.0]), 0.5)
    assert score(np.ones(0), np.ones((0, 1)), data("binary"), 0.5) == {"rows": 0}


def test_the_interval_of_185_right_of_254() -> None:
    """Against the textbook's formula."""
    p, n, z = 185 / 254, 254, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert accuracy_interval(p, n) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_the_simplest_baselines_guess_the_share_or_the_mean() -> None:
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    majority = baselines(data("binary"))["majority"].fit(frame, [0, 0, 0, 1])
    np.testing.assert_array_equal(predict(majority, frame, data("binary")), [[0.25]] * 4)
    mean = baselines(data("regression"))["mean"].fit(frame, [0, 1, 2, 5])
    np.testing.assert_array_equal(predict(mean, frame, data("regression")), [[2.0]] * 4)


def test_a_class_that_a_baseline_never_saw_gets_no_probability() -> None:
    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    linear = baselines(data("multiclass"))["logistic_regression"].fit(frame, [0, 0, 2, 2])
    assert predict(linear, frame, data("multiclass"))[:, 1].tolist() == [0.0] * 4


def test_a_plot_keeps_its_ends_and_stays_small(tmp_path: Path) -> None:
    write_points(tmp_path / "p.csv", {"x": np.linspace(0, 1, 10**5)})
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert len(lines) == MAX_POINTS + 1
    assert (lines[1], lines[-1]) == ("0.000000", "1.000000")


def test_no_plot_passes_200_kb_and_the_confusion_says_what_it_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300_000).astype(float)
    predicted = rng.random((len(y), 1), dtype=np.float32)
    write_plots(tmp_path, y, predicted, {"x": rng.random(10)}, data("binary"), 0.5)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == HEADERS.keys()
    assert max(sizes.values()) < 200_000
    rows = pd.read_csv(tmp_path / "confusion.csv")
    (step,) = rows["true class"].str.extract(r"1 row of (\d+)")[0].astype(int).unique()
    assert len(rows) == pytest.approx(len(y) / step, abs=1)
    positive = rows["predicted class"].mean()
    assert positive == pytest.approx((predicted >= 0.5).mean(), abs=2 / len(rows))


def test_the_column_that_a_model_reads_is_the_important_one() -> None:
    declared = Data.model_validate(
        data("regression").model_dump()
        | {"columns": {name: {"kind": "real"} for name in ("used", "unused", "y")}}
    )
    rng = np.random.default_rng(0)
    rows = pa.table({name: rng.random(200) for name in declared.columns})
    y = rows["used"].to_numpy()
    rises = permutation_importance(lambda columns: columns["used"][:, None], rows, y, declared)
    assert (rises["unused"] == 0).all()
    # Of two independent draws with the variance of the rows the squared difference is twice it.
    assert rises["used"].mean() == pytest.approx(2 * y.var(), rel=0.2)
    assert len(rises["used"]) == REPEATS


def test_a_row_without_a_class_is_named() -> None:
    declared = data("binary")
    part = pa.table({declared.target: pa.array([1, None, 7])})
    with pytest.raises(UserError, match=r"column y: 2 of 3 rows .* set missing and values of"):
        labels(part, declared)


def test_json_is_sorted_rounded_and_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "m.json", {"b": 1 / 3, "a": {"c": -1e-9}})
    expected = '{\n  "a": {\n    "c": 0.0\n  },\n  "b": 0.333333\n}\n'
    assert (tmp_path / "m.json").read_text() == expected
    with pytest.raises(ValueError, match=r"a\.c is nan"):
        write_json(tmp_path / "m.json", {"a": {"c": float("nan")}})
    assert (tmp_path / "m.json").read_text() == expected


def test_a_block_that_fails_leaves_the_output_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()

    def fail() -> None:
        with whole(out) as partial:
            partial.mkdir()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]
    with whole(out) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_a_user_error_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise UserError("t.csv: line 3: found 2 cells; expected 3")

    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == "error: t.csv: line 3: found 2 cells; expected 3"
