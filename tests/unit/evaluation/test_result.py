"""The evaluation of a model, its summary, and rows that are equal to training rows."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pytest
from pydantic import ValidationError
from scipy.special import expit

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Evaluate, ThresholdRule, Validate
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation import plot_data, records, result, summary
from keras_tabular.evaluation.calibration import choose_threshold, measure_calibration
from keras_tabular.evaluation.labelled_file import (
    add_test_files,
    fit_baselines,
    score_file,
)
from keras_tabular.evaluation.scores import score
from keras_tabular.evaluation.summary import (
    format_duplicates,
    format_scores,
    summary_lines,
)
from keras_tabular.explain.slices import slice_scores
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.table.arrays import Inputs, Predict, labels
from keras_tabular.table.out_of_fold import FoldPredictions, OutOfFold
from keras_tabular.table.parquet import FILE, LINE, write_part, write_parts
from keras_tabular.tasks.task import TASKS, Task
from tests.helpers import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    build_arrow_schema,
    build_evaluation,
    build_predictions,
    build_schema,
)

# Evaluations of functions in place of models.
THRESHOLD = 0.6
SCHEMAS: dict[str, Schema] = {task: build_schema(task) for task in TASKS}


def write_split(
    folder: Path,
    schema: Schema,
    *,
    validation: int = 0,
    factor: int = 1,
    ends: Any = (-0.5, 0.5),
) -> dict[str, pa.Table]:
    """Write the tables of a split in two parts each; the target depends on x.

    Args:
        validation: Number of validation rows.
        factor: Number of training rows, in units of 60, and of test rows, in units of
            40.
        ends: Borders between the classes.
    """
    rng = np.random.default_rng(0)
    tables = {}
    for name, rows in {
        "train": 60 * factor,
        "validation": validation,
        "test": 40 * factor,
    }.items():
        x = rng.normal(size=rows)
        y: Any = x + rng.normal(size=rows) / 2
        if schema.task != "regression":
            codes = np.digitize(y, ends[: len(schema.classes) - 1])
            y = np.array(schema.classes)[codes]
        columns = {"x": x, "y": y.tolist()}
        table = pa.table(columns, schema=build_arrow_schema(schema))
        write_parts(folder / "split" / name, [table[: rows // 3], table[rows // 3 :]])
        tables[name] = table
    return tables


def build_predict(schema: Schema) -> Predict:
    """Build a function that predicts rows by x alone."""

    def predict(columns: Inputs) -> np.ndarray:
        p = 1 / (1 + np.exp(-columns["x"]))
        outputs = [1 - p, p * p, p - p * p] if schema.task == "multiclass" else [p]
        return np.column_stack(outputs).astype(np.float32)

    return predict


def draw_oof(schema: Schema, rows: int = 60) -> FoldPredictions:
    """Draw out-of-fold predictions of three folds; without rows, no folds."""
    y_pred = np.random.default_rng(1).dirichlet(np.ones(3), rows).astype(np.float32)
    n_outputs = schema.learning_task.n_outputs
    fold = (np.arange(rows) % 3).astype(np.int32)
    return FoldPredictions(y_pred[:, :n_outputs], fold)


def build_model(predict: Predict, **metadata: Any) -> Any:
    """Build a model from a function that predicts rows."""
    return SimpleNamespace(predict=predict, metadata=ModelMetadata(**metadata))


def evaluate_function(
    predict: Predict,
    data: Path,
    schema: Schema,
    oof: OutOfFold,
    **metadata: Any,
) -> result.Result:
    """Evaluate a function in place of a model, on the split in `data`."""
    oof.write(data / "oof", [len(oof.cross_validation.fold)])
    baselines = fit_baselines(data, schema, "auto")
    model = build_model(predict, **metadata)
    return result.evaluate(model, data, schema, lambda: baselines)


@pytest.mark.parametrize("task", TASKS)
def test_model_and_baselines_are_scored_on_all_rows_and_folds(
    task: str,
    tmp_path: Path,
) -> None:
    schema = SCHEMAS[task]
    learning_task = schema.learning_task
    main = learning_task.main_metric
    tables = write_split(tmp_path, schema, factor=3)
    predict = build_predict(schema)
    oof = OutOfFold(draw_oof(schema, 180))
    evaluation, *_ = evaluate_function(
        predict,
        tmp_path,
        schema,
        oof,
        threshold=THRESHOLD,
    )
    assert evaluation.row_sets() == ["test", "cross_validation", "train"]
    assert bool(evaluation.baseline_thresholds) == (task == "binary")
    assert evaluation.classes_not_found == (("c",) if task == "multiclass" else ())
    for row_set in evaluation.row_sets():
        table = tables["test" if row_set == "test" else "train"]
        y = labels(table, schema)[:, 0]
        y_pred = predict({"x": table["x"].to_numpy()})
        if row_set == "cross_validation":
            y_pred = oof.cross_validation.y_pred
        rows = build_predictions(learning_task, y, y_pred, threshold=THRESHOLD)
        expected = score(rows)
        has_intervals = row_set != "train"
        names = {*learning_task.baselines} if has_intervals else set[str]()
        assert {*evaluation.baselines(row_set)} == names
        scores = [each for each in evaluation.scores if each.row_set == row_set]
        values = defaultdict[str, dict[str, float]](dict)
        for each in scores:
            values[each.model][each.metric] = each.value
            is_primary = each.metric in (main, "loss")
            is_shown = has_intervals and (each.model == records.MODEL or is_primary)
            assert each.rows == len(y)
            assert bool(each.interval) == (is_shown and each.value not in (0, 1)), each
            if each.interval:
                low, high = each.interval
                assert low <= each.value <= high
            if each.model != records.MODEL and is_primary:
                assert each.difference
                difference = expected[each.metric] - each.value
                assert each.difference.value == pytest.approx(difference)
                assert each.difference.low < each.difference.high
        assert values.pop(records.MODEL) == expected
        assert values.keys() == names
        for baseline_values in values.values():
            assert baseline_values.keys() == expected.keys()


def test_forward_chaining_chooses_thresholds_of_baselines(tmp_path: Path) -> None:
    schema = SCHEMAS["binary"]
    choice = ThresholdRule(best="f1")
    train = write_split(tmp_path, schema, factor=3)["train"]
    y = labels(train, schema)[:, 0]
    folds = draw_oof(schema, 180)
    chained = folds._replace(fold=folds.fold - 1)  # its first block is only learnt from
    predict = build_predict(schema)
    oof = OutOfFold(folds, chained)
    evaluated = evaluate_function(
        predict,
        tmp_path,
        schema,
        oof,
        threshold_choice=choice,
    )
    evaluation, _, fitted, _ = evaluated
    assert evaluation.rows("forward_chaining") == 120
    assert {*evaluation.baselines("forward_chaining")} == {*BINARY.baselines}
    y_pred = fitted.predictions["gradient_boosting"]["forward_chaining"]
    rows = build_predictions(BINARY, y[chained.rows], y_pred)
    threshold, _ = choose_threshold(choice, rows)
    assert evaluation.baseline_thresholds["gradient_boosting"] == threshold
    # The scores of slices have the same cross-fitted thresholds.
    slices = slice_scores({"cross_validation": train}, evaluated, schema, {})
    accuracy = evaluation.value("cross_validation", "accuracy", "gradient_boosting")
    assert slices["all_rows"]["score"]["gradient_boosting"] == pytest.approx(
        1 - (accuracy or 0),
    )


def test_a_rare_class_makes_ranking_the_primary_metric_and_a_recall_of_0_is_reported(
    tmp_path: Path,
) -> None:
    """Validation rows are scored too, and without folds nothing is cross-validated.

    If the class has few test rows, accuracy is the primary metric.
    """
    schema = SCHEMAS["binary"]
    evaluations = []

    def predict_low(columns: Inputs) -> np.ndarray:
        return (0.1 + 0.1 * (columns["x"] > 1))[:, None]

    for factor in (3, 10):
        folder = tmp_path / str(factor)
        oof = OutOfFold(draw_oof(schema, 0))
        write_split(
            folder,
            schema,
            validation=30,
            factor=factor,
            ends=[1.9],
        )
        evaluations.append(
            evaluate_function(predict_low, folder, schema, oof).evaluation,
        )
    of_few_rows, evaluation = evaluations
    assert of_few_rows.main_metrics == ("loss", "accuracy")
    assert evaluation.row_sets() == ["test", "validation", "train"]
    assert evaluation.rows("validation") == 30
    assert evaluation.main_metrics == ("loss", "roc_auc", "average_precision")
    assert evaluation.classes_not_found == ("1",)
    (missed,) = evaluation.missed_classes
    assert missed.startswith("class 1 is found less often than by ")
    assert evaluation.score("test", "precision") is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 9])
def test_few_rows_have_scores_without_intervals(tmp_path: Path, count: int) -> None:
    """All rows are negative here, so the recall is undefined and not 0."""
    schema = SCHEMAS["binary"]
    path = tmp_path / "new.csv"
    rows = write_split(tmp_path, schema)["test"]
    pa_csv.write_csv(rows.filter(pc.equal(rows["y"], 0))[:count], path)
    model = build_model(build_predict(schema))
    split = tmp_path / "split"
    OutOfFold(draw_oof(schema)).write(tmp_path / "oof", [60])
    file = score_file(path, model, schema, Validate(), split, {})
    assert file.warnings == [f"{count} rows are too few for intervals"]
    assert not any(each.interval or each.difference for each in file.scores)
    assert {"recall", "roc_auc"}.isdisjoint(each.metric for each in file.scores)


def test_a_file_that_cannot_be_scored_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    schema = SCHEMAS["binary"]
    model = build_model(build_predict(schema))
    for text, message in (
        ("x,y\n", "expected at least one valid row"),
        ("x\n0.5\n", "missing: y"),
        ("x,y\n0.5,1\nmuch,0\n", r"new\.csv, line 3, column x: .*'much'"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            score_file(file, model, schema, Validate(), None, {})
    with pytest.raises(ValidationError, match="tests"):
        Evaluate.model_validate({"tests": ["../raw/new.csv"]})
    params: Any = SimpleNamespace(evaluate=Evaluate(tests=("no.csv",)))
    evaluated: Any = SimpleNamespace(evaluation=build_evaluation())
    with pytest.raises(UserError, match=r"no\.csv does not exist, but evaluate\.tests"):
        add_test_files(evaluated, model, tmp_path, schema, params, ())


def test_the_key_of_a_row_does_not_depend_on_the_columns_that_are_read(
    tmp_path: Path,
) -> None:
    places = {FILE: ["t.csv", "t.csv"], LINE: [2, 3]}
    table = pa.table({"a": [0.5, 1.5], "b": [1, 2], "y": [0, 1]} | places)
    keys = []
    for names, schema in (
        ("aby", build_schema("binary", a="real", b="integer")),
        ("yba", build_schema("binary", b="integer", a="real")),
    ):
        folder = tmp_path / names
        write_part(folder, 0, table.select([*names, *places]))
        for ignored in ([], ["b"]):
            trained = schema.without(ignored)
            row_keys = plot_data.row_keys(folder, trained, ignored)["row"]
            keys.append(tuple(row_keys.tolist()))
    assert len(set(keys)) == 1


def measure_warnings(
    task: Task,
    y: Any,
    y_pred: Any,
) -> tuple[dict[str, records.Calibration], str]:
    """Measure the calibration of predictions; return also the warnings of it."""
    rows = build_predictions(task, y, y_pred)
    measures = measure_calibration(rows, "mean_squared_error")
    evaluation = build_evaluation(calibration=measures)
    return measures, "".join(summary.evaluation_warnings(evaluation, task))


@pytest.mark.parametrize(
    ("factor", "shift", "warning"),
    [
        (1.0, 0.0, ""),
        (2.5, 0.0, "too extreme: the calibration slope of class 1 is 0.4"),
        (0.4, 0.0, "too near to each other: the calibration slope of class 1 is 3.0"),
        (1.0, -1.0, "too low: the calibration intercept of class 1 is 0.935"),
    ],
)
def test_probabilities_that_are_too_extreme_or_too_low_are_named(
    factor: float,
    shift: float,
    warning: str,
) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=300)
    y = (rng.random(300) < expit(logits)).astype(float)
    measures, text = measure_warnings(BINARY, y, expit(factor * logits + shift))
    assert [measure.ideal for measure in measures.values()] == [0, 1]
    assert warning in text
    assert bool(warning) == ("the probabilities are too" in text)


def test_calibration_is_undefined_for_few_rows_and_separated_classes() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(100)
    for y in (probability > 0.5, np.arange(100) < 9):
        assert measure_warnings(BINARY, y.astype(float), probability) == ({}, "")
    assert measure_warnings(BINARY, np.arange(100) % 2, np.full(100, 0.5))[0] == {}
    one_row = np.where(np.arange(100) == 0, 0.6, 0.5)
    assert measure_warnings(BINARY, np.arange(100) % 2, one_row)[0] == {}


def test_the_mean_prediction_of_a_regression_is_compared_with_the_test_rows() -> None:
    y = np.random.default_rng(0).normal(10, 1, 4000)
    for factor in (1.0, 0.3):
        measures, text = measure_warnings(
            REGRESSION,
            y,
            np.full(4000, factor * y.mean()),
        )
        (measure,) = measures.values()
        assert measure.value == pytest.approx((1 - factor) * y.mean(), abs=1e-9)
        assert text.startswith("the predictions are too low: the mean") == (factor < 1)
    # It predicts medians.
    rows = build_predictions(REGRESSION, y, y)
    assert measure_calibration(rows, "mean_absolute_error") == {}


def test_a_few_rows_with_most_of_the_squared_error_are_a_warning() -> None:
    errors = np.random.default_rng(0).normal(size=1000)
    for huge_errors, is_warned in ((0.0, False), (20.0, True)):
        errors[:5] += huge_errors
        rows = build_predictions(REGRESSION, errors, np.zeros(1000))
        share = result.compute_largest_errors(rows)
        evaluation = build_evaluation(largest_errors=share)
        warnings = [*summary.evaluation_warnings(evaluation, REGRESSION)]
        assert any("mean absolute error" in text for text in warnings) == is_warned


# The summary of an evaluation has what is defined, and nothing else.
def test_scores_are_summarised_with_those_of_the_baselines() -> None:
    row_sets = ("test", "cross_validation", "forward_chaining")
    values = {
        records.MODEL: (185 / 254, 0.770428, 0.74),
        "linear": (0.732283, 0.774319, 0.7),
        "dummy": (0.649606, 0.651751),
        "gradient_boosting": (0.75, 0.76),
    }
    scores = list[records.Score]()
    for model, of_model in values.items():
        for row_set, value in zip(row_sets, of_model, strict=False):
            scores += records.score_records(row_set, model, {"accuracy": value}, 254)
    scores[0] = scores[0].model_copy(update={"interval": (0.6705, 0.7793)})
    evaluation = records.Evaluation(main_metrics=("accuracy",), scores=tuple(scores))
    assert format_scores(evaluation, BINARY, "accuracy") == (
        "Accuracy: 0.728 on 254 test rows (95% CI 0.670 to 0.779), 0.770"
        " cross-validated, 0.740 on later rows; logistic"
        " regression 0.732 and 0.774 cross-validated and 0.700 on later rows,"
        " gradient boosting 0.750 and 0.760 cross-validated, constant 0.650"
    )


def test_undefined_scores_are_a_dash_and_what_a_user_should_know_is_a_warning() -> None:
    coverage = {
        "nominal": 0.9,
        "coverage": 0.88,
        "low": 0.85,
        "high": 0.91,
        "mean_width": 2.5,
    }
    evaluation = build_evaluation(
        rows=5,
        main_metrics=["macro.roc_auc"],
        test={"accuracy": 0.5},
        cross_validation={"accuracy": 0.5},
        baselines={"dummy": {"accuracy": 0.5}},
        threshold=0.5,
        highest_probability=0.03,
        reaches_rule=False,
        predicted_positives={"test": 12.0, "cross_validation": 30.0},
        duplicates={
            "test": {
                "equal": 5,
                "equal_with_target": 5,
                "without": {},
            },
        },
        interval_coverage=coverage,
        classes_not_found=["rare"],
        missed_classes=["class rare is missed"],
        classes_without_rows=["c"],
        outside_training={"month": 1.0, "hour.of.day": 0.25},
    )
    assert [*summary_lines(evaluation, {}, MULTICLASS)] == [
        (
            "ROC AUC: – on 5 test rows; logistic regression –, gradient boosting –,"
            " constant –"
        ),
        (
            "Threshold 0.500: recall –, precision –, F1 – on the test rows; "
            "recall –, precision –, F1 – cross-validated"
        ),
        (
            "90% prediction intervals contain 0.880 (95% CI 0.850 to 0.910) of the test"
            " values; mean width 2.50"
        ),
    ]
    assert [*summary.evaluation_warnings(evaluation, MULTICLASS)] == [
        "class rare is missed",
        (
            "5 of 5 test rows are equal to a training row, 5 of them with the same"
            " target; ROC AUC without these rows: –"
        ),
        "no test row is of class c: the scores say nothing about it",
        "no test row of class rare is predicted correctly: its recall is 0",
        (
            "no threshold reaches the rule of evaluate.threshold; the best one for its"
            " precision or recall was chosen"
        ),
        "Test rows: 12 rows are predicted as positive: the precision is hardly known",
        (
            "test rows are outside the range of the training rows in month (100%),"
            " hour.of.day (25%)"
        ),
        "no test row reaches the threshold: the highest probability is 0.03",
    ]


@pytest.mark.parametrize("decimals", [0, 9])  # many errors are equal with 0
@pytest.mark.parametrize("resemble", [False, True])
def test_a_column_whose_rows_resemble_each_other_is_the_first_warning(
    resemble: bool,
    decimals: int,
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    policy = rng.permutation(300) // 3
    errors = rng.normal(size=300) + 2 * resemble * rng.normal(size=100)[policy]
    errors = errors.round(decimals)
    write_part(tmp_path, 0, pa.table({"y": errors, "policy": policy.astype(str)}))
    schema = build_schema("regression", policy="category", x="real")
    test = build_predictions(schema.learning_task, errors, np.zeros(300))
    columns = result.find_undeclared_groups(tmp_path, test, schema)
    assert columns == ({"policy": 3} if resemble else {})
    declared = schema.model_copy(update={"group": "policy"})
    assert not result.find_undeclared_groups(tmp_path, test, declared)
    evaluation = build_evaluation(
        undeclared_groups=columns,
        classes_not_found=["rare"],
    )
    warnings = summary.evaluation_warnings(evaluation, MULTICLASS)
    assert next(warnings).startswith("3 rows for each `policy`: without") == resemble


# Rows that are equal to rows of the training are counted, and the others are scored.
SCHEMA = build_schema("binary", x="real")


def test_duplicates_are_counted_between_test_and_training_and_between_folds(
    tmp_path: Path,
) -> None:
    train: Any = {"x": [1.0, 2.0, 2.0, 3.0, 3.0], "y": [0, 1, 0, 1, 1]}
    test: Any = {"x": [2.0, 3.0, -0.0, 4.0, 5.0], "y": [1, 0, 1, 0, 0]}
    write_part(tmp_path / "train", 0, pa.table(train))
    write_part(tmp_path / "test", 0, pa.table(test))
    probability = [0.9, 0.1, 0.9, 0.8, 0.1]
    oof_probability = [0.1, 0.9, 0.1, 0.9, 0.1]
    predictions = {
        "test": build_predictions(BINARY, test["y"], probability),
        "cross_validation": build_predictions(BINARY, train["y"], oof_probability),
    }
    fold = np.array([0, 0, 1, 2, 2])
    duplicates = result.score_duplicates(tmp_path, fold, predictions, SCHEMA)
    evaluation = build_evaluation(
        5,
        duplicates=duplicates,
        test={"accuracy": 0.8},
        cross_validation={"accuracy": 0.8},
    )
    assert list(format_duplicates(evaluation)) == [
        (
            "2 of 5 test rows are equal to a training row, 1 of them with the same"
            " target; Accuracy without these rows: 0.667"
        ),
        (
            "2 of 5 training rows are equal to one of another fold, 0 of them with the"
            " same target; Accuracy without these rows: 0.667"
        ),
    ]
