"""The evaluation of a model: predictions for all rows, scored beside those of the baselines."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.metrics import (
    ROW_SETS,
    TASKS,
    CustomMetric,
    check_custom_metrics,
    primary_metrics,
)
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation.calibration import choose_threshold, scale_by_temperature
from keras_tabular.evaluation.equal_rows import score_equal_rows
from keras_tabular.evaluation.evaluation import Evaluation, IntervalCoverage, ScoreSet
from keras_tabular.evaluation.scores import Baselines, OutOfFold, Predictions, read_oof, score
from keras_tabular.evaluation.scores_json import calibration_from_json
from keras_tabular.evaluation.uncertainty import (
    Bootstrap,
    bootstrap,
    intervals,
    mean_interval,
    score_differences,
    with_best_constant,
)
from keras_tabular.model_file.intervals import Intervals
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.table.arrays import (
    EXPECTED_PREDICTION,
    Predict,
    feature_arrays,
    labels,
    predicted_classes,
    row_weights,
)
from keras_tabular.table.groups import row_groups
from keras_tabular.table.parquet import part_paths

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel


class Result(NamedTuple):
    """An evaluation, and the predictions that it is about.

    Attributes:
        predictions: Predictions of the model for the test rows and, where there are folds, for the
            rows of cross-validation, the first of the training rows; by the keys of
            `metrics.ROW_SETS`.
    """

    evaluation: Evaluation
    predictions: dict[str, Predictions]


def evaluate(
    model: "SavedModel",
    data: Path,
    schema: Schema,
    baselines: Callable[[], Baselines],
    metrics: Sequence[CustomMetric] = (),
) -> Result:
    """Score a model and its baselines on all rows of a split, and on the folds if there are any.

    Args:
        data: Folder of `split` and `oof`.
        baselines: Returns the result of `fit_baselines`.
        metrics: Metrics that the project adds to those of the task.
    """
    check_custom_metrics(metrics)
    metadata, oof = model.metadata, read_oof(data / "oof")
    predictions = predict_score_sets(model, data, oof, schema, metrics)
    test, held_out = predictions["test"], {"test", *oof}
    bootstraps = {k: bootstrap(rows, schema) for k, rows in predictions.items() if k in held_out}
    score_sets = {k: ScoreSet(score(rows, schema)) for k, rows in predictions.items()}
    keys = choose_primary_metrics(predictions["train"], bootstraps["test"], schema)

    fitted = baselines()
    thresholds = baseline_thresholds(fitted, predictions, metadata, schema)
    for name, rows in bootstraps.items():
        score_sets[name] = compare_with_baselines(rows, fitted, thresholds, keys, schema, name)
    fold, binary = oof["cross_validation"]["fold"].to_numpy(), schema.task == "binary"
    evaluation = Evaluation(
        keys,
        score_sets,
        threshold=metadata.threshold if binary else None,
        baseline_thresholds=thresholds if binary else {},
        calibration=calibration_from_json(metadata.calibration),
        interval_coverage=interval_coverage(test, metadata.intervals),
        equal_rows=score_equal_rows(data / "split", fold, predictions, schema),
        classes_not_found=classes_not_found(test, schema),
        custom_metrics={metric.name: metric.greater_is_better for metric in metrics},
        version=metadata.version,
        repeats=metadata.repeats,
    )
    inspected = ("test", "cross_validation")
    return Result(evaluation, {k: predictions[k] for k in inspected if k in predictions})


def predict_score_sets(
    model: "SavedModel", data: Path, oof: OutOfFold, schema: Schema, metrics: Sequence[CustomMetric]
) -> dict[str, Predictions]:
    """Predict each set of rows that is not empty, and add the predictions in `oof`.

    The sets have the order of `metrics.ROW_SETS`. They will also be scored by the metrics of the
    project.
    """
    threshold, temperature = model.metadata.threshold, model.metadata.temperature
    predictions = {
        name: predict_table(model.predict, data / "split" / name, schema, threshold)
        for name in ("train", "validation", "test")
    }
    if not predictions["test"].weight.any():
        raise UserError(f"column {schema.weight}: every test row has a weight of 0")
    for name, table in oof.items():
        *columns, fold = (column.to_numpy() for column in table.columns)
        rows = np.flatnonzero(fold >= 0)
        y_pred = scale_by_temperature(np.column_stack(columns)[rows], temperature)
        predictions[name] = predictions["train"].select(rows)._replace(y_pred=y_pred)
    in_order = {name: predictions[name] for name in ROW_SETS if name in predictions}
    return {k: rows._replace(custom_metrics=metrics) for k, rows in in_order.items() if len(rows.y)}


def predict_table(predict: Predict, folder: Path, schema: Schema, threshold: float) -> Predictions:
    """Read the labels of a table, and predict its rows.

    Raises:
        UserError: A prediction is not finite.
    """

    def predict_part(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = pq.read_table(path)
        y_pred = predict(feature_arrays(part, schema))
        return labels(part, schema)[:, 0], y_pred, row_weights(part, schema)

    parts = list(ordered_map(predict_part, part_paths(folder), use_threads=False))
    y, y_pred, weight = map(np.concatenate, zip(*parts, strict=True))
    if count := int((~np.isfinite(y_pred)).any(axis=1).sum()):
        rows = f"{count} of {len(y)} rows"
        raise UserError(f"{folder}: {rows}: found no number; expected {EXPECTED_PREDICTION}")
    return Predictions(y, y_pred, weight, threshold, row_groups(folder, schema))


def fit_baselines(data: Path, schema: Schema, loss: str) -> Baselines:
    """Fit the baselines, and predict the test rows and the rows of `read_oof`.

    Args:
        data: Folder of `split` and `oof`.
        loss: The loss that the model was trained with.
    """
    from keras_tabular.evaluation.baselines import predict_baselines  # scikit-learn takes a second

    folds = {name: table["fold"].to_numpy() for name, table in read_oof(data / "oof").items()}
    return predict_baselines(data / "split", folds, schema, loss)


def baseline_thresholds(
    fitted: Baselines, predictions: dict[str, Predictions], metadata: ModelMetadata, schema: Schema
) -> dict[str, float]:
    """Choose the threshold of each baseline as that of the model was chosen.

    Args:
        fitted: Predictions of the baselines.
        predictions: Predictions of the model, by set of rows.
        metadata: The threshold of the model, and how it was chosen.
    """
    names = TASKS[schema.task].baselines
    thresholds = dict.fromkeys(fitted, metadata.threshold)
    thresholds[names["constant"]] = 0.5  # or it would not be the majority
    held_out = "forward_chaining" if "forward_chaining" in predictions else "cross_validation"
    if metadata.threshold_choice and held_out in predictions:
        for name in (names["linear"], names["boosted"]):
            oof = fitted[name][held_out][:, 0]
            y, _, weight, *_ = predictions[held_out].first(len(oof))
            thresholds[name] = choose_threshold(metadata.threshold_choice, y, oof, weight)
    return thresholds


def choose_primary_metrics(train: Predictions, test: Bootstrap, schema: Schema) -> tuple[str, ...]:
    """Choose the primary metrics; the main score where one has no interval on the test rows."""
    counts = [int((train.y == k).sum()) for k in range(len(schema.classes))]
    keys = primary_metrics(schema.task, counts)
    has_intervals = set(keys) <= intervals(test, schema, keys).keys()
    return keys if has_intervals else (TASKS[schema.task].main,)


def compare_with_baselines(
    bootstrapped: Bootstrap,
    fitted: Baselines,
    thresholds: Mapping[str, float],
    primary_metrics: tuple[str, ...],
    schema: Schema,
    name_of_rows: str = "test",
) -> ScoreSet:
    """Score the model and its baselines on the same rows, with intervals and differences.

    Args:
        bootstrapped: Scores of the model.
        fitted: Predictions of the baselines.
        name_of_rows: Name of the set of rows, see `metrics.ROW_SETS`.
    """
    task = TASKS[schema.task]
    model = bootstrapped.scores.with_intervals(intervals(bootstrapped, schema))
    baselines, differences = {}, {}
    for name, predictions_of_rows in fitted.items():
        y_pred = predictions_of_rows[name_of_rows]
        rows = bootstrapped.predictions.first(len(y_pred))
        if len(rows.y) < len(bootstrapped.predictions.y):
            bootstrapped = bootstrap(rows, schema)
        baseline = bootstrap(rows._replace(y_pred=y_pred, threshold=thresholds[name]), schema)
        if name == task.baselines["constant"]:
            baseline = with_best_constant(baseline, schema)
            if name_of_rows != "test":  # one constant a fold ranks no rows
                baseline = baseline._replace(scores=baseline.scores.select((task.main, "loss")))
        limits = intervals(baseline, schema, primary_metrics)
        baselines[name] = baseline.scores.with_intervals(limits)
        if compared := score_differences(bootstrapped, baseline, schema):
            differences[name] = compared
    return ScoreSet(model, baselines, differences)


def classes_not_found(test: Predictions, schema: Schema) -> tuple[str, ...]:
    """Find the classes with a recall of 0: they have test rows, and none is predicted correctly."""
    if schema.task == "regression":
        return ()
    correct = predicted_classes(test.y_pred, schema, test.threshold) == test.y
    return tuple(
        str(name)
        for k, name in enumerate(schema.classes)
        if (rows := test.y == k).any() and not correct[rows].any()
    )


def interval_coverage(test: Predictions, intervals: Intervals | None) -> IntervalCoverage | None:
    """Compute the share of the test rows whose values are inside their prediction intervals.

    Rows count alike: intervals are for any row, whatever its weight.
    """
    if intervals is None:
        return None
    low, high = intervals.ends(test.y_pred[:, 0]).T.astype(np.float64)
    inside = ((low <= test.y) & (test.y <= high)).astype(np.float64)
    ends = mean_interval(inside, np.ones(len(inside)), share=True, group=test.group)
    mean_width = float((high - low).mean())
    return IntervalCoverage(intervals.coverage, float(inside.mean()), *ends, mean_width)
