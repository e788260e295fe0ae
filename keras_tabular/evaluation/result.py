"""The result of the stage `evaluate`: all scores of a model and its baselines."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation.calibration import choose_threshold, cross_fit
from keras_tabular.evaluation.constants import constant_costs, find_best_constants
from keras_tabular.evaluation.records import (
    MODEL,
    Duplicates,
    Evaluation,
    IntervalCoverage,
    Level,
    Score,
    score_records,
)
from keras_tabular.evaluation.scores import Baselines, Predictions, score
from keras_tabular.evaluation.uncertainty import (
    ScoredPredictions,
    score_and_resample,
    share_interval,
    student_widths,
)
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.table import arrays
from keras_tabular.table.groups import equality_hashes, row_groups
from keras_tabular.table.out_of_fold import OutOfFold
from keras_tabular.table.parquet import FILE, LINE, part_paths, read_parts, write_part
from keras_tabular.tasks.metrics import (
    CUSTOM,
    ROW_SETS,
    CustomMetric,
    choose_primary_metric,
)
from keras_tabular.tasks.task import Threshold

if TYPE_CHECKING:
    from keras_tabular.model.saved_model import SavedModel


# Probability that a level is wrong by chance. Since the training rows differ, too, 0.05
# would warn of 1 in 9 good runs.
LEVEL_ALPHA = 0.01


class Result(NamedTuple):
    """An evaluation, and the predictions that it scores.

    Attributes:
        predictions: Predictions of the model by row set.
        baselines: Predictions of the baselines.
        thresholds: Thresholds of the baselines, see `baseline_thresholds`.
    """

    evaluation: Evaluation
    predictions: dict[str, Predictions]
    baselines: Baselines
    thresholds: dict[str, dict[str, Threshold]]


def evaluate(
    model: "SavedModel",
    data: Path,
    schema: Schema,
    wait_for_baselines: Callable[[], Baselines],
    metrics: Sequence[CustomMetric] = (),
) -> Result:
    """Score a model and its baselines on all row sets of a split and on the folds.

    Args:
        data: Folder with `split` and `oof`.
        wait_for_baselines: Returns the result of `fit_baselines`.
        metrics: Metrics that the project adds to those of the task.
    """
    metadata = model.metadata
    oof = OutOfFold.read(data / "oof")
    fold = oof.cross_validation.fold
    predictions = predict_row_sets(model, data, oof, schema, metrics)
    test = predictions["test"]
    folds = {}
    scored = {"test": score_and_resample(test)}
    for name, oof_predictions in oof.by_row_set.items():
        if name in predictions:
            folds[name] = oof_predictions.row_folds
            scored[name] = score_and_resample(predictions[name])
    main_metrics = choose_main_metrics(predictions["train"], scored["test"], metadata)
    trained_on = metadata.trained_on
    attribution = trained_on.attribution if trained_on else {}
    baselines = wait_for_baselines()
    thresholds = baseline_thresholds(baselines, predictions, folds, metadata)
    scores = []
    for name, rows in predictions.items():
        if name in scored:
            scores += compare_with_baselines(
                scored[name],
                baselines,
                thresholds[name],
                main_metrics,
                name,
            )
        else:
            scores += score_records(name, MODEL, score(rows), len(rows.y))
    evaluation = Evaluation(
        main_metrics=main_metrics,
        costs=metadata.costs,
        constant_costs=constant_costs(test),
        scores=tuple(scores),
        interval_coverage=compute_coverage(test, metadata),
        levels=compare_levels(test, metadata.loss),
        strongest_column=max(
            attribution.items(),
            key=lambda item: item[1],
            default=None,
        ),
        duplicates=score_duplicates(data / "split", fold, predictions, schema),
        classes_not_found=classes_not_found(test),
        custom_metrics={metric.name: metric.greater_is_better for metric in metrics},
        version=metadata.version,
        repeats=metadata.repeats,
        **describe_threshold(metadata, scored, thresholds["test"]),
    )
    return Result(evaluation, predictions, baselines, thresholds)


def predict_row_sets(
    model: "SavedModel",
    data: Path,
    oof: OutOfFold,
    schema: Schema,
    metrics: Sequence[CustomMetric],
) -> dict[str, Predictions]:
    """Predict every row set that has rows, in the order of `metrics.ROW_SETS`.

    The predictions for the training rows in cross-validation and forward chaining are
    those of `oof`. A threshold that a rule has chosen is chosen again for each fold, on
    the other folds.
    """
    metadata = model.metadata
    predictions = {}
    for name in ("train", "validation", "test"):
        folder = data / "split" / name
        predictions[name] = predict_table(model.predict, folder, schema, metadata)
    for name, folds in oof.by_row_set.items():
        rows = predictions["train"].select(folds.rows)._replace(y_pred=folds.y_pred)
        rule = metadata.threshold_choice
        predictions[name] = cross_fit(rule, rows, folds.row_folds)
    return {
        name: predictions[name]._replace(custom_metrics=metrics)
        for name in ROW_SETS
        if name in predictions and len(predictions[name].y)
    }


def predict_table(
    predict: arrays.Predict,
    folder: Path,
    schema: Schema,
    metadata: ModelMetadata,
) -> Predictions:
    """Read the labels of a table, and predict its rows.

    Args:
        metadata: How probabilities become classes.

    Raises:
        UserError: A prediction is not finite.
    """
    task = schema.learning_task

    def predict_part(path: Path) -> Predictions:
        part = pq.read_table(path)
        return Predictions(
            task,
            y=arrays.labels(part, schema)[:, 0],
            y_pred=predict(arrays.feature_arrays(part, schema)),
            weight=arrays.row_weights(part, schema),
        )

    parts = list(ordered_map(predict_part, part_paths(folder), max_concurrent=1))
    y_pred = np.concatenate([part.y_pred for part in parts])
    is_invalid = ~np.isfinite(y_pred).all(axis=1)
    if is_invalid.any():
        expected, got = arrays.NO_PREDICTION
        raise UserError(
            f"{folder}: {is_invalid.sum()} of {len(y_pred)} rows: expected {expected},"
            f" got {got}",
        )
    return Predictions(
        task,
        y=np.concatenate([part.y for part in parts]),
        y_pred=y_pred,
        weight=np.concatenate([part.weight for part in parts]),
        threshold=metadata.decision,
        group=row_groups(folder, schema),
        costs=metadata.costs,
    )


def write_test_predictions(
    data: Path,
    test: Predictions,
    metadata: ModelMetadata,
    schema: Schema,
) -> None:
    """Write the predictions for the test rows to `data/predictions`.

    The rows have the order of the split. The columns are the `file` and the `line` of
    each row, the columns that the schema ignores, the `actual` target, and those that
    the command `predict` writes.

    Args:
        data: Folder with `split`.
    """
    folder = data / "split" / "test"
    available = pq.read_schema(part_paths(folder)[0]).names
    new_names = {FILE: "file", LINE: "line", schema.target: "actual"}
    names = [FILE, LINE]
    for name in schema.ignore:
        if name in available and name not in new_names.values():
            names.append(name)
    names.append(schema.target)
    rows = pa.concat_tables(read_parts(folder, names))
    ends = metadata.interval_ends(test.y_pred[:, 0])
    columns = {new_names.get(name, name): rows[name] for name in names}
    columns |= test.task.prediction_columns(test.y_pred, test.threshold, ends)
    with atomic_write(data / "predictions") as partial:
        write_part(partial, 0, pa.table(columns))


def fit_baselines(data: Path, schema: Schema, loss: str) -> Baselines:
    """Fit the baselines, and predict the test rows and the training rows of the folds.

    Args:
        data: Folder with `split` and `oof`.
        loss: The loss that the model was trained with.
    """
    from keras_tabular.evaluation.baselines import predict_baselines  # takes a second

    oof = OutOfFold.read(data / "oof").by_row_set
    folds = {name: predictions.fold for name, predictions in oof.items()}
    return predict_baselines(data / "split", folds, schema, loss)


def baseline_thresholds(
    baselines: Baselines,
    predictions: dict[str, Predictions],
    folds: dict[str, np.ndarray],
    metadata: ModelMetadata,
) -> dict[str, dict[str, Any]]:
    """Choose the threshold of each baseline as that of the model was chosen.

    Args:
        baselines: Predictions of the baselines.
        predictions: Predictions of the model, by row set.
        folds: Fold of each row, by each row set on which thresholds are chosen.
        metadata: The threshold of the model, and how it was chosen.

    Returns:
        The thresholds by row set and baseline: numbers for the test rows, and for each
        row set of `folds` one for each row, see `calibration.cross_fit`.
    """
    thresholds = {}
    for row_set in ("test", *folds):
        thresholds[row_set] = dict.fromkeys(baselines, metadata.decision)
    rule = metadata.threshold_choice
    if rule is None:
        return thresholds
    # That of the test rows is chosen on the last row set: on later rows if possible.
    for row_set, fold in folds.items():
        for name, baseline in baselines.items():
            y_pred = baseline[row_set]  # may be for the first rows only
            rows = predictions[row_set].select(slice(len(y_pred)))
            rows = rows._replace(y_pred=y_pred)
            cross_fitted = cross_fit(rule, rows, fold[: len(y_pred)])
            thresholds[row_set][name] = cross_fitted.threshold
            thresholds["test"][name], _ = choose_threshold(rule, rows)
    return thresholds


def choose_main_metrics(
    train: Predictions,
    test: ScoredPredictions,
    metadata: ModelMetadata,
) -> tuple[str, ...]:
    """Choose the main metrics: the primary metric, and those of the task.

    The latter are replaced by the main score if one has no interval on the test rows.
    """
    task = train.task
    classes = range(len(task.classes))
    class_rows = [(train.y == k).sum() for k in classes]
    of_task = task.main_metrics(class_rows)
    if not set(of_task) <= test.intervals(of_task).keys():
        of_task = (task.main_metric,)
    primary_metric = choose_primary_metric(
        metadata.metric,
        metadata.loss,
        metadata.costs,
    )
    if primary_metric.startswith(CUSTOM) and not test.predictions.custom_metrics:
        return of_task  # the command `score` does not compute the metrics of a project
    remaining = [key for key in of_task if key != primary_metric]
    return (primary_metric, *remaining)


def compare_with_baselines(
    scored: ScoredPredictions,
    baselines: Baselines,
    thresholds: Mapping[str, Threshold],
    main_metrics: tuple[str, ...],
    row_set: str = "test",
) -> list[Score]:
    """Add intervals to the scores of a model, and compare it with the baselines.

    Args:
        scored: Scores of the model.
        baselines: Predictions of the baselines.
        thresholds: Threshold of each baseline, see `Predictions`.
        main_metrics: Metrics for which the scores of the baselines get intervals, in
            addition to the main score.
        row_set: One of `metrics.ROW_SETS`.

    Returns:
        The scores of the model, then those of each baseline with the differences from
        it on the same rows.
    """
    n_rows = len(scored.predictions.y)
    intervals = scored.intervals()
    scores = list(score_records(row_set, MODEL, scored.values, n_rows, intervals))
    with_interval = {scored.predictions.task.main_metric, "loss", *main_metrics}

    def compare(
        name: str,
        model: ScoredPredictions,
        baseline: ScoredPredictions,
        keys: Collection[str],
    ) -> None:
        scores.extend(
            score_records(
                row_set,
                name,
                {key: baseline.values[key] for key in keys},
                len(baseline.predictions.y),
                baseline.intervals(with_interval),
                model.differences(baseline, keys),
            ),
        )

    if baselines:
        for key, constant in find_best_constants(scored.predictions).items():
            compare("dummy", scored, constant, [key])
    for name, baseline_predictions in baselines.items():
        y_pred = baseline_predictions[row_set]
        rows = scored.predictions
        if len(y_pred) < len(rows.y):
            rows = rows.select(slice(len(y_pred)))
            scored = score_and_resample(rows)
        rows = rows._replace(y_pred=y_pred, threshold=thresholds[name])
        baseline = score_and_resample(rows)
        compare(name, scored, baseline, baseline.values)
    return scores


def compare_levels(test: Predictions, loss: str) -> dict[str, Level]:
    """Compare the mean prediction, for each class if there are any, with the actual.

    A regression with another loss than the squared one does not predict means, and has
    no level.
    """
    task = test.task
    weight = test.weight
    group = test.group
    if not task.classes and loss != task.losses[0]:
        return {}
    names = [str(task.classes[k]) for k in task.output_classes] or [""]
    alpha = LEVEL_ALPHA / len(names)
    y = task.indicators(test.y[:, None]).T  # (outputs, rows)
    y_pred = test.y_pred.T.astype(np.float64)
    levels = {}
    for name, values, predicted in zip(names, y, y_pred, strict=True):
        actual = test.mean(values)
        if task.classes:
            low, high = share_interval(values, weight, group, alpha)
        else:
            errors = values - predicted
            below, above = student_widths(errors, weight, group, alpha)
            low = actual - below
            high = actual + above
        if low < high < np.inf:
            levels[name] = Level(
                predicted=test.mean(predicted),
                actual=actual,
                low=low,
                high=high,
            )
    return levels


def score_duplicates(
    split: Path,
    fold: np.ndarray,
    predictions: Mapping[str, Predictions],
    schema: Schema,
) -> dict[str, Duplicates]:
    """Count the rows that are equal to a row from which their prediction was learnt.

    These are test rows that are equal to a training row, and training rows that are
    equal to a row of another fold. The other rows are scored.

    Args:
        split: Folder with the tables train and test.
        fold: Fold of the training rows, shape (rows,); empty without folds.
        predictions: Predictions by row set, see `metrics.ROW_SETS`.

    Returns:
        The counts and scores of each row set that has such rows.
    """
    train_features, train_rows = hash_rows(split / "train", schema)
    test_features, test_rows = hash_rows(split / "test", schema)
    # Which rows are equal in the features, and in the target, too.
    is_equal = {"test": np.isin(test_features, train_features)}
    has_same_target = {"test": np.isin(test_rows, train_rows)}
    if n_rows := len(fold):
        name = "cross_validation"
        is_equal[name] = _in_other_folds(train_features[:n_rows], fold)
        has_same_target[name] = _in_other_folds(train_rows[:n_rows], fold)
    return {
        name: Duplicates(
            equal=mask.sum(),
            equal_with_target=has_same_target[name].sum(),
            without=score(predictions[name].select(~mask)),
        )
        for name, mask in is_equal.items()
        if mask.any()
    }


def hash_rows(folder: Path, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Hash the features of each row, and the features with the target: uint64, (rows,).

    Rows with equal values have equal hashes.
    """
    features = equality_hashes(read_parts(folder, list(schema.features)))
    target = pa.concat_tables(read_parts(folder, [schema.target]))[0]
    rows = pa.table([features, target], ["features", "target"])
    return features, equality_hashes([rows])


def _in_other_folds(hashes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return whether each row is equal to one of another fold: bool, shape (rows,)."""
    _, group = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.column_stack([group, fold]), axis=0)
    n_folds = np.bincount(pairs[:, 0])  # of each group of equal rows
    return n_folds[group] > 1


def classes_not_found(test: Predictions) -> tuple[str, ...]:
    """Find the classes with test rows, none of which is predicted correctly."""
    correct = test.y[test.predicted_classes == test.y]
    classes = enumerate(test.task.classes)
    return tuple(str(name) for k, name in classes if k in test.y and k not in correct)


def compute_coverage(
    test: Predictions,
    metadata: ModelMetadata,
) -> IntervalCoverage | None:
    """Compute the share of the test values that lie in their prediction intervals.

    All rows count alike: the intervals are for any row, whatever its weight.

    Returns:
        None if there are no intervals.
    """
    intervals = metadata.intervals
    ends = metadata.interval_ends(test.y_pred[:, 0])
    if intervals is None or ends is None:
        return None
    ends = ends.astype(np.float64)  # (rows, 2)
    low_ends, high_ends = ends.T
    is_inside = (low_ends <= test.y) & (test.y <= high_ends)
    ones = np.ones(len(is_inside))
    low, high = share_interval(is_inside, ones, test.group)
    return IntervalCoverage(
        nominal=intervals.coverage,
        coverage=is_inside.mean(),
        low=low,
        high=high,
        mean_width=np.diff(ends).mean(),
    )


def describe_threshold(
    metadata: ModelMetadata,
    scored: Mapping[str, ScoredPredictions],
    baseline_thresholds: dict[str, float],
) -> dict[str, Any]:
    """Return the fields of an evaluation about the threshold; empty without one."""
    test = scored["test"].predictions
    if not test.task.has_threshold:
        return {}
    fields: dict[str, Any] = {
        "threshold": metadata.threshold,
        "highest_probability": float(test.y_pred.max()),
        "baseline_thresholds": baseline_thresholds,
        "reaches_rule": metadata.reaches_rule,
    }
    if metadata.threshold_choice:
        fields["predicted_positives"] = {
            name: rows.deciding_rows.get("precision", 0.0)
            for name, rows in scored.items()
        }
    return fields
