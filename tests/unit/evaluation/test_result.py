"""What evaluate finds, with functions in place of a model."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tabular.config.params import Params
from tabular.config.schema import Schema
from tabular.config.sections import Choice, Gate, Split
from tabular.core.errors import UserError
from tabular.core.metrics import TASKS
from tabular.core.nested import flatten
from tabular.evaluation.baselines import predict_baselines
from tabular.evaluation.calibration import choose_threshold
from tabular.evaluation.evaluation import ScoreSet
from tabular.evaluation.result import Result, evaluate, predict_table
from tabular.evaluation.scores import Predictions, score
from tabular.evaluation.scores_json import from_json, summary_to_json, to_json
from tabular.evaluation.summary import summary_lines
from tabular.runs.gate import Base, evaluate_gate
from tabular.table.arrays import Predict
from tabular.table.parquet import arrow_schema, write_part
from tests.helpers import schema_of, train_params, values_of

THRESHOLD = 0.6
SCHEMAS = {task: schema_of(task) for task in TASKS}


def write_split(
    folder: Path, schema: Schema, *, validation: int = 0, more: int = 1, ends: Any = (-0.5, 0.5)
) -> dict[str, pa.Table]:
    """The tables of a split in parts; their target hangs on x, of classes by where these end."""
    rng = np.random.default_rng(0)
    tables = {}
    for name, rows in {"train": 60 * more, "validation": validation, "test": 40 * more}.items():
        x = rng.normal(size=rows)
        y: Any = x + rng.normal(size=rows) / 2
        if schema.task != "regression":
            y = np.array(schema.classes)[np.digitize(y, ends[: len(schema.classes) - 1])]
        tables[name] = pa.table({"x": x, "y": y.tolist()}, schema=arrow_schema(schema))
        for number, part in enumerate((tables[name][: rows // 3], tables[name][rows // 3 :])):
            write_part(folder / name, number, part)
    return tables


def model_of(schema: Schema) -> Predict:
    """Outputs that follow from x alone."""

    def predict(columns: dict[str, np.ndarray]) -> np.ndarray:
        p = 1 / (1 + np.exp(-columns["x"]))
        outputs = [1 - p, p * p, p - p * p] if schema.task == "multiclass" else [p]
        return np.column_stack(outputs).astype(np.float32)

    return predict


def oof_of(schema: Schema, rows: int = 60) -> pa.Table:
    """Out-of-fold predictions of three folds; of no rows, a training without folds."""
    outputs = np.random.default_rng(1).dirichlet(np.ones(3), rows)[:, : schema.outputs]
    columns = {f"output_{i}": values for i, values in enumerate(outputs.astype(np.float32).T)}
    return pa.table(columns | {"fold": (np.arange(rows) % 3).astype(np.int32)})


def labels_of(table: pa.Table, schema: Schema) -> np.ndarray:
    values = table["y"].to_pylist()
    return np.array(values if schema.task == "regression" else [*map(schema.classes.index, values)])


def outputs_of(y: np.ndarray, predicted: np.ndarray) -> Predictions:
    return Predictions(y, predicted, np.ones(len(y)), THRESHOLD)


def evaluated(
    predict: Predict, split: Path, oof: pa.Table, schema: Schema, threshold: float = 0.5
) -> Result:
    folds = {"cross_validation": oof["fold"].to_numpy()}
    baselines = partial(predict_baselines, split, folds, schema, "auto")
    return evaluate(predict, split, {"cross_validation": oof}, schema, baselines, threshold, None)


@pytest.mark.parametrize("task", TASKS)
def test_all_rows_and_folds_are_scored_beside_the_baselines(task: str, tmp_path: Path) -> None:
    schema, of = SCHEMAS[task], TASKS[task]
    tables, predict = write_split(tmp_path, schema, more=3), model_of(schema)
    oof = oof_of(schema, 180)
    result = evaluated(predict, tmp_path, oof, schema, THRESHOLD)

    y = {name: labels_of(table, schema) for name, table in tables.items()}
    outputs = {name: predict({"x": t["x"].to_numpy()}) for name, t in tables.items()}
    evaluation = result.evaluation
    assert evaluation.score_sets.keys() == {"train", "test", "cross_validation"}
    assert bool(evaluation.baseline_thresholds) == (task == "binary")
    assert evaluation.classes_not_found == (("c",) if task == "multiclass" else ())
    train = score(outputs_of(y["train"], outputs["train"]), schema)
    assert evaluation.train == ScoreSet(train)
    folds = np.column_stack([column.to_numpy() for column in oof.columns[:-1]])
    by_rows = {"test": (y["test"], outputs["test"]), "cross_validation": (y["train"], folds)}
    for name, (labels, predicted) in by_rows.items():
        scores = evaluation.score_sets[name]
        expected = score(outputs_of(labels, predicted), schema)
        assert scores.model.with_intervals({}) == expected
        for key, (value, interval) in scores.model.items():
            assert bool(interval) == (value not in (0, 1)), key
            assert not interval or interval[0] <= value <= interval[1], key
        np.testing.assert_array_equal(result.predictions[name].y, labels)
        np.testing.assert_array_equal(result.predictions[name].y_pred, predicted)

        assert scores.baselines.keys() == set(of.baselines.values())
        for baseline, theirs in scores.baselines.items():
            assert theirs.rows == len(labels)
            ranks = name == "test" or baseline != of.baselines["constant"]
            keys = values_of(expected).keys() if ranks else {of.main, "loss"}
            assert values_of(theirs).keys() == keys
            assert [key for key, (_, interval) in theirs.items() if interval] == [of.main]
            for key in (of.main, "loss"):
                difference = scores.difference(baseline, key)
                apart = values_of(scores.model)[key] - values_of(theirs)[key]
                assert difference
                assert difference.difference == pytest.approx(apart)
                assert difference.low < difference.high

    assert from_json(to_json(evaluation)) == evaluation
    first = dict(flatten(summary_to_json(evaluation, task)))
    assert first.items() <= dict(flatten(to_json(evaluation))).items()
    assert first.keys() == {
        *(f"{rows}.{name}" for rows in by_rows for name in (of.main, of.second, "loss")),
        *(f"test.{of.main}_low", f"test.{of.main}_high"),
        *(f"baseline.{name}.{of.main}" for name in of.baselines.values()),
    }


def test_later_rows_are_scored_beside_the_baselines_and_choose_their_thresholds(
    tmp_path: Path,
) -> None:
    schema = SCHEMAS["binary"]
    write_split(tmp_path, schema, more=3)
    chained = oof_of(schema, 180)  # whose first fold is the block that is only learnt from
    chained = chained.set_column(1, "fold", pa.array(chained["fold"].to_numpy() - 1))
    oof = {"cross_validation": oof_of(schema, 180), "forward_chaining": chained}
    folds = {name: table["fold"].to_numpy() for name, table in oof.items()}
    fitted = predict_baselines(tmp_path, folds, schema, "auto")
    choice, predict = Choice(best="f1"), model_of(schema)
    result = evaluate(predict, tmp_path, oof, schema, lambda: fitted, THRESHOLD, choice)
    evaluation = result.evaluation
    assert result.predictions.keys() == {"test", "cross_validation"}
    later = evaluation.forward_chaining
    assert later
    assert later.model.rows == 120
    assert later.baselines.keys() == {*TASKS["binary"].baselines.values()}
    assert later.difference("logistic_regression", "loss")
    y = result.predictions["cross_validation"].y[folds["forward_chaining"] >= 0]
    probability = fitted["gradient_boosting"]["forward_chaining"][:, 0]
    threshold = choose_threshold(choice, y, probability, None)
    assert evaluation.baseline_thresholds["gradient_boosting"] == threshold
    assert from_json(to_json(evaluation)) == evaluation


def test_where_a_class_is_rare_the_ranking_decides_and_a_recall_of_0_is_told(
    tmp_path: Path,
) -> None:
    """Validation rows are scored too, and without folds nothing is cross-validated."""
    schema = SCHEMAS["binary"]
    write_split(tmp_path, schema, validation=30, more=10, ends=[1.9])
    weak: Predict = lambda columns: (0.1 + 0.1 * (columns["x"] > 1))[:, None]  # noqa: E731
    evaluation = evaluated(weak, tmp_path, oof_of(schema, 0), schema).evaluation
    assert evaluation.score_sets.keys() == {"test", "validation", "train"}
    assert evaluation.validation
    assert evaluation.validation.model.rows == 30
    expected = {*TASKS["binary"].scores} - {"precision"}
    assert values_of(evaluation.validation.model).keys() == expected
    assert evaluation.primary_metrics == ("roc_auc", "average_precision")
    assert evaluation.classes_not_found == ("1",)
    assert evaluation.test.model.get("precision") is None
    first = summary_to_json(evaluation, "binary")
    assert {"average_precision", "roc_auc_low"} < first["test"].keys()
    assert {"average_precision", "roc_auc"} < first["baseline"]["logistic_regression"].keys()


def test_a_class_of_few_test_rows_leaves_the_verdict_to_the_accuracy(tmp_path: Path) -> None:
    schema = SCHEMAS["binary"]
    write_split(tmp_path, schema, more=3, ends=[1.9])
    evaluation = evaluated(model_of(schema), tmp_path, oof_of(schema, 0), schema).evaluation
    assert evaluation.primary_metrics == ("accuracy",)
    with_interval = {key for key, estimate in evaluation.test.model.items() if estimate.interval}
    assert with_interval - {"precision"} == {"accuracy", "brier", "loss"}
    for differences in evaluation.test.differences.values():
        assert differences.keys() - {"precision"} == {"accuracy", "brier", "loss"}


def test_a_rare_class_of_three_is_compared_by_ranking_with_every_baseline(tmp_path: Path) -> None:
    schema = SCHEMAS["multiclass"]
    write_split(tmp_path, schema, more=8, ends=[0.3, 1.7])
    oof = oof_of(schema, 180)
    evaluation = evaluated(model_of(schema), tmp_path, oof, schema).evaluation
    assert evaluation.primary_metrics == ("macro.roc_auc", "macro.average_precision")
    gate = Gate(beat_baselines=("constant", "linear", "boosted"))
    split = Split(test_size=0.33, validation_size=0, seed=9)
    params = Params(gate=gate, split=split, train=train_params())
    verdict = evaluate_gate(evaluation, Base("", None), params, schema, {})
    scores = [check.score for check in verdict.checks]
    assert scores == ["test.loss"] * 3
    assert "; ROC AUC 0." in verdict.reason
    line, *_ = summary_lines(evaluation, {}, "multiclass", None)
    assert line.startswith("ROC AUC: 0.")


def test_an_output_that_is_no_number_is_named_with_its_table(tmp_path: Path) -> None:
    schema = SCHEMAS["regression"]
    write_split(tmp_path, schema)
    holes = lambda columns: np.where(columns["x"] > 1, np.nan, 1.0)[:, None]  # noqa: E731
    with pytest.raises(UserError, match=r"train: \d+ of 60 rows: found no number; expected"):
        predict_table(holes, tmp_path / "train", schema, THRESHOLD)
