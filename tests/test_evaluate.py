"""Scores are scikit-learn's, the interval is Wilson's, and files hold finite rounded numbers."""

from pathlib import Path

import numpy as np
import pytest

from stages.evaluate import MAX_POINTS, write_points
from stages.lib.scores import accuracy_interval, baselines, binary_scores
from stages.lib.stage import UserError, run, whole, write_json


def test_scores_of_four_rows() -> None:
    scores = binary_scores(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.5, 0.9]), 0.5)
    assert scores["accuracy"] == 0.75
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == 1
    assert scores["roc_auc"] == 0.75
    assert scores["brier"] == pytest.approx((0.01 + 0.36 + 0.25 + 0.01) / 4)
    assert scores["loss"] == pytest.approx(-np.log([0.9, 0.4, 0.5, 0.9]).mean())


def test_rows_of_one_class_have_no_curve_and_no_rows_no_score() -> None:
    assert "roc_auc" not in binary_scores(np.ones(3), np.array([0.1, 0.2, 1.0]), 0.5)
    assert binary_scores(np.ones(0), np.ones(0), 0.5) == {"rows": 0}


def test_the_interval_of_185_right_of_254() -> None:
    """Against the textbook's formula."""
    p, n, z = 185 / 254, 254, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert accuracy_interval(p, n) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_the_majority_guesses_the_share_of_the_class() -> None:
    majority = baselines()["majority"].fit(np.zeros((4, 1)), [0, 0, 0, 1])
    np.testing.assert_array_equal(majority.predict_proba(np.zeros((1, 1))), [[0.75, 0.25]])


def test_a_plot_keeps_its_ends_and_stays_small(tmp_path: Path) -> None:
    write_points(tmp_path / "p.csv", x=np.linspace(0, 1, 10**5))
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert len(lines) == MAX_POINTS + 1
    assert (lines[1], lines[-1]) == ("0.000000", "1.000000")


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
