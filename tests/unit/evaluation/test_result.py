"""Evaluations of functions in place of models."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ThresholdRule
from keras_tabular.core.errors import UserError
from keras_tabular.core.nested import flatten
from keras_tabular.evaluation.calibration import choose_threshold
from keras_tabular.evaluation.result import evaluate, fit_baselines, predict_table
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.scoring.evaluation import (
    Evaluation,
    ScoreSet,
    from_json,
    summary_to_json,
    to_json,
)
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.table.arrays import Predict, labels
from keras_tabular.table.parquet import write_part
from keras_tabular.tasks.task import TASKS
from tests.helpers import BINARY, build_arrow_schema, build_schema, score_values

THRESHOLD = 0.6
SCHEMAS: dict[str, Schema] = {task: build_schema(task) for task in TASKS}


def write_split(
    folder: Path, schema: Schema, *, validation: int = 0, factor: int = 1, ends: Any = (-0.5, 0.5)
) -> dict[str, pa.Table]:
    """Write the tables of a split in two parts each; the target depends on x.

    Args:
        validation: Number of validation rows.
        factor: Number of training rows, in units of 60, and of test rows, in units of 40.
        ends: Borders between the classes.
    """
    rng = np.random.default_rng(0)
    tables = {}
    for name, rows in {"train": 60 * factor, "validation": validation, "test": 40 * factor}.items():
        x = rng.normal(size=rows)
        y: Any = x + rng.normal(size=rows) / 2
        if schema.task != "regression":
            y = np.array(schema.classes)[np.digitize(y, ends[: len(schema.classes) - 1])]
        tables[name] = pa.table({"x": x, "y": y.tolist()}, schema=build_arrow_schema(schema))
        for number, part in enumerate((tables[name][: rows // 3], tables[name][rows // 3 :])):
            write_part(folder / "split" / name, number, part)
    return tables


def build_predict(schema: Schema) -> Predict:
    """Build a function that predicts rows by x alone."""

    def predict(columns: dict[str, np.ndarray]) -> np.ndarray:
        p = 1 / (1 + np.exp(-columns["x"]))
        outputs = [1 - p, p * p, p - p * p] if schema.task == "multiclass" else [p]
        return np.column_stack(outputs).astype(np.float32)

    return predict


def draw_oof(schema: Schema, rows: int = 60) -> pa.Table:
    """Draw out-of-fold predictions of three folds; no rows mean a training without folds."""
    outputs = np.random.default_rng(1).dirichlet(np.ones(3), rows).astype(np.float32).T
    n_outputs = schema.learning_task.n_outputs
    columns = {f"output_{i}": values for i, values in enumerate(outputs[:n_outputs])}
    return pa.table(columns | {"fold": (np.arange(rows) % 3).astype(np.int32)})


def evaluate_function(
    predict: Predict, data: Path, schema: Schema, oof: dict[str, pa.Table], **metadata: Any
) -> Evaluation:
    """Evaluate a function in place of a model, on the split in `data`."""
    for name, table in oof.items():
        folder = data / "oof" / ("" if name == "cross_validation" else name)
        write_part(folder, 0, table)
    model: Any = SimpleNamespace(predict=predict, metadata=ModelMetadata(**metadata))
    result = evaluate(model, data, schema, lambda: fit_baselines(data, schema, "auto"))
    evaluation = result.evaluation
    assert from_json(to_json(evaluation)) == evaluation
    return evaluation


@pytest.mark.parametrize("task", TASKS)
def test_model_and_baselines_are_scored_on_all_rows_and_folds(task: str, tmp_path: Path) -> None:
    schema, learning_task = SCHEMAS[task], SCHEMAS[task].learning_task
    main = learning_task.main_metric
    tables, predict = write_split(tmp_path, schema, factor=3), build_predict(schema)
    oof = {"cross_validation": draw_oof(schema, 180)}
    evaluation = evaluate_function(predict, tmp_path, schema, oof, threshold=THRESHOLD)
    assert list(evaluation.score_sets) == ["test", "cross_validation", "train"]
    assert bool(evaluation.baseline_thresholds) == (task == "binary")
    assert evaluation.classes_not_found == (("c",) if task == "multiclass" else ())
    predictions = {name: predict({"x": table["x"].to_numpy()}) for name, table in tables.items()}
    predictions["cross_validation"] = np.column_stack(oof["cross_validation"].columns[:-1])
    for name, scores in evaluation.score_sets.items():
        y = labels(tables["test" if name == "test" else "train"], schema)[:, 0]
        rows = Predictions(learning_task, y, predictions[name], np.ones(len(y)), THRESHOLD)
        expected = score(rows)
        assert scores.model.with_intervals({}) == expected
        if name == "train":
            assert scores == ScoreSet(expected)
            continue
        for key, (value, interval) in scores.model.items():
            assert bool(interval) == (value not in (0, 1)), key
            assert not interval or interval[0] <= value <= interval[1], key
        assert scores.baselines.keys() == set(learning_task.baselines.values())
        for baseline, baseline_scores in scores.baselines.items():
            ranks = name == "test" or baseline != learning_task.baselines["constant"]
            keys = score_values(expected).keys() if ranks else {main, "loss"}
            assert score_values(baseline_scores).keys() == keys
            assert [key for key, score in baseline_scores.items() if score.interval] == [main]
            for key in (main, "loss"):
                change = score_values(scores.model)[key] - score_values(baseline_scores)[key]
                difference, low, high = scores.differences[baseline][key]
                assert difference == pytest.approx(change)
                assert low < high

    summary = dict(flatten(summary_to_json(evaluation, learning_task)))
    assert summary.items() <= dict(flatten(to_json(evaluation))).items()
    assert {"test.loss", f"test.{main}_low"} <= summary.keys()


def test_forward_chaining_chooses_thresholds_of_baselines(tmp_path: Path) -> None:
    schema, choice = SCHEMAS["binary"], ThresholdRule(best="f1")
    y = labels(write_split(tmp_path, schema, factor=3)["train"], schema)[:, 0]
    chained = draw_oof(schema, 180)  # whose first fold is the block that is only learnt from
    chained = chained.set_column(1, "fold", pa.array(chained["fold"].to_numpy() - 1))
    oof = {"cross_validation": draw_oof(schema, 180), "forward_chaining": chained}
    predict = build_predict(schema)
    evaluation = evaluate_function(predict, tmp_path, schema, oof, threshold_choice=choice)
    on_later_rows = evaluation.score_sets["forward_chaining"]
    assert on_later_rows.model.rows == 120
    assert on_later_rows.baselines.keys() == {*BINARY.baselines.values()}
    assert on_later_rows.difference("logistic_regression", "loss")
    fitted = fit_baselines(tmp_path, schema, "auto")["gradient_boosting"]["forward_chaining"]
    later = chained["fold"].to_numpy() >= 0
    threshold = choose_threshold(choice, y[later], fitted[:, 0], np.ones(120))
    assert evaluation.baseline_thresholds["gradient_boosting"] == threshold


def test_a_rare_class_makes_ranking_the_primary_metric_and_a_recall_of_0_is_reported(
    tmp_path: Path,
) -> None:
    """Validation rows are scored too, and without folds nothing is cross-validated.

    If the class has few test rows, accuracy is the primary metric.
    """
    schema = SCHEMAS["binary"]
    oof = {"cross_validation": draw_oof(schema, 0)}
    predict_low: Predict = lambda columns: (0.1 + 0.1 * (columns["x"] > 1))[:, None]  # noqa: E731
    write_split(tmp_path / "few", schema, factor=3, ends=[1.9])
    of_few_rows = evaluate_function(predict_low, tmp_path / "few", schema, oof)
    assert of_few_rows.primary_metrics == ("accuracy",)
    write_split(tmp_path, schema, validation=30, factor=10, ends=[1.9])
    evaluation = evaluate_function(predict_low, tmp_path, schema, oof)
    assert list(evaluation.score_sets) == ["test", "validation", "train"]
    assert evaluation.score_sets["validation"].model.rows == 30
    assert evaluation.primary_metrics == ("roc_auc", "average_precision")
    assert evaluation.classes_not_found == ("1",)
    assert evaluation.test.model.get("precision") is None
    summary = summary_to_json(evaluation, BINARY)["test"]
    assert {"average_precision", "roc_auc_low"} < summary.keys()


def test_a_prediction_that_is_not_a_number_is_an_error(tmp_path: Path) -> None:
    schema = SCHEMAS["regression"]
    write_split(tmp_path, schema)
    predict_gaps = lambda columns: np.where(columns["x"] > 1, np.nan, 1.0)[:, None]  # noqa: E731
    with pytest.raises(UserError, match=r"train: \d+ of 60 rows: expected a number"):
        predict_table(predict_gaps, tmp_path / "split/train", schema, THRESHOLD)
