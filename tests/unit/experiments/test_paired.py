"""Tests of the comparison of two runs on the test rows that both have."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_tabular.core.files import write_json, write_points
from keras_tabular.evaluation.plot_data import MAX_KEPT_ROWS, kept_test_rows
from keras_tabular.experiments.paired import paired_scores, read_test_rows
from keras_tabular.experiments.run import WORKSPACE, Run
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.tasks.task import Regression
from tests.helpers import MULTICLASS, build_evaluation, build_schema


def write_run(
    name: str,
    keys: np.ndarray,
    errors: np.ndarray,
    group: np.ndarray | None = None,
    **content: object,
) -> Run:
    """Write a run whose predictions of zeros have some errors."""
    rows = Predictions(
        Regression(), np.zeros(len(keys)), errors[:, None], np.ones(len(keys)), group=group
    )
    return write_rows(name, rows, keys, primary_metrics=["mae"], **content)


def write_rows(name: str, rows: Predictions, keys: np.ndarray, **content: object) -> Run:
    evaluation = build_evaluation(len(keys), test=score(rows), **content)
    write_json(Path(name, "scores.json"), evaluation.model_dump(exclude_defaults=True))
    columns = kept_test_rows(rows, keys)
    Path(name, "plots").mkdir()
    write_points(Path(name, "plots/test_rows.csv"), columns, MAX_KEPT_ROWS)
    return Run(WORKSPACE, Path(name))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    schema = build_schema("regression").model_dump_json(exclude_none=True)
    (tmp_path / "data/schema.yaml").write_text(json.dumps(json.loads(schema)))
    return tmp_path


@pytest.mark.parametrize("in_groups", [False, True])
def test_runs_of_a_table_that_has_grown_are_compared_on_the_rows_of_both(
    folder: Path, in_groups: bool
) -> None:
    rng = np.random.default_rng(0)
    keys, errors = rng.permutation(6000) * 7, rng.normal(size=6000)
    first, second = slice(0, 4000), slice(1000, 6000)
    group = np.arange(6000) // 5 if in_groups else None
    groups = [
        None if group is None else np.unique(group[rows], return_inverse=True)[1]
        for rows in (first, second)
    ]
    base = write_run("base", keys[first], errors[first], groups[0])
    run = write_run("run", keys[second], 1.5 * errors[second], groups[1])
    loss = paired_scores(run, base)["loss"]
    assert 500 < loss.rows <= 2000  # of 3,000
    assert loss.difference.value == pytest.approx(1.25 * loss.base, rel=1e-3)
    assert loss.base == pytest.approx(1, abs=0.2)


def test_all_rows_decide_if_they_are_the_same(folder: Path) -> None:
    rng = np.random.default_rng(0)
    keys, errors = np.arange(8000), rng.normal(size=8000)
    base, run = write_run("base", keys, errors), write_run("run", keys, 1.1 * errors)
    loss = paired_scores(run, base)["loss"]
    difference = run.require_evaluation().value("test", "loss") or 0.0
    difference -= base.require_evaluation().value("test", "loss") or 0.0
    assert loss.rows == 8000
    assert loss.difference.value == pytest.approx(difference, rel=1e-4)
    width = loss.difference.high - loss.difference.low
    assert width == pytest.approx(2 * 1.96 * 0.21 * 2**0.5 / 8000**0.5, rel=0.15)


def test_an_interval_contains_the_difference_between_trainings(folder: Path) -> None:
    keys, errors = np.arange(1000), np.random.default_rng(0).normal(size=1000)
    runs = [
        write_run(name, keys, factor * errors, training_deviation={"loss": deviation})
        for name, factor, deviation in (("run", 1.1, 0.3), ("base", 1.0, 0.4))
    ]
    difference = paired_scores(*runs)["loss"].difference
    assert difference.within_chance
    assert difference.high - difference.value == pytest.approx(2.1 * 0.5, rel=0.01)


def test_the_rows_of_a_run_with_costs_have_the_classes_of_the_lowest_expected_cost(
    folder: Path,
) -> None:
    rng, costs = np.random.default_rng(0), ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (50.0, 50.0, 0.0))
    y, y_pred = rng.integers(3, size=40).astype(float), rng.dirichlet((5, 5, 1), 40)
    rows = Predictions(MULTICLASS, y, y_pred, np.ones(40), costs, costs=costs)
    schema = build_schema("multiclass").model_dump_json(exclude_none=True)
    (folder / "data/schema.yaml").write_text(schema)
    run = write_rows("run", rows, np.arange(40), costs=costs)
    _, read_rows = read_test_rows(run) or pytest.fail("no row was kept")
    assert (read_rows.predicted_classes == rows.predicted_classes).all()
    assert (read_rows.predicted_classes != y_pred.argmax(axis=1)).any()


@pytest.mark.parametrize(("shared", "is_compared"), [(12, True), (9, False)])
def test_runs_that_share_too_few_rows_are_not_compared(
    folder: Path, shared: int, is_compared: bool
) -> None:
    """Nine rows are fewer than an interval needs."""
    errors = np.random.default_rng(0).normal(size=100)
    base, run = (
        write_run(name, np.arange(100) + n, errors) for n, name in ((0, "a"), (100 - shared, "b"))
    )
    assert bool(paired_scores(run, base)) == is_compared
