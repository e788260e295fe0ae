"""The result of the stage `evaluate`: all scores of a model and its baselines."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation.calibration import (
    choose_threshold,
    cross_fit,
    measure_calibration,
)
from keras_tabular.evaluation.constants import constant_costs, find_best_constants
from keras_tabular.evaluation.records import (
    MODEL,
    Duplicates,
    Evaluation,
    IntervalCoverage,
    Score,
    score_records,
)
from keras_tabular.evaluation.scores import (
    Baselines,
    FittedBaselines,
    Predictions,
    score,
)
from keras_tabular.evaluation.uncertainty import (
    ALPHA,
    MIN_ROWS_FOR_INTERVAL,
    ScoredPredictions,
    effective_sample_size,
    mean_difference,
    score_and_resample,
    share_interval,
)
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.table import arrays
from keras_tabular.table.groups import (
    equality_hashes,
    is_identifier,
    may_be_groups,
    row_groups,
)
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


class Result(NamedTuple):
    """An evaluation, and the predictions that it scores.

    Attributes:
        predictions: Predictions of the model by row set.
        baselines: The baselines.
        thresholds: Thresholds of the baselines, see `baseline_thresholds`.
    """

    evaluation: Evaluation
    predictions: dict[str, Predictions]
    baselines: FittedBaselines
    thresholds: dict[str, dict[str, Threshold]]


def evaluate(
    model: "SavedModel",
    data: Path,
    schema: Schema,
    wait_for_baselines: Callable[[], FittedBaselines],
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
    folds = {
        name: each.row_folds
        for name, each in oof.by_row_set.items()
        if name in predictions
    }
    scored = {name: score_and_resample(predictions[name]) for name in ("test", *folds)}
    main_metrics = choose_main_metrics(predictions["train"], scored["test"], metadata)
    trained_on = metadata.trained_on
    attribution = trained_on.attribution if trained_on else {}
    fitted = wait_for_baselines()
    baselines = fitted.predictions
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
                predictions["train"] if schema.time else None,
            )
        else:
            scores += score_records(name, MODEL, score(rows), len(rows.y))
    evaluation = Evaluation(
        main_metrics=main_metrics,
        costs=metadata.costs,
        constant_costs=constant_costs(test),
        scores=tuple(scores),
        undeclared_groups=find_undeclared_groups(data / "split/test", test, schema),
        interval_coverage=compute_coverage(test, metadata),
        calibration=measure_calibration(test, metadata.loss),
        largest_errors=compute_largest_errors(test),
        constant_is_learnt=schema.time is not None,
        strongest_column=max(
            attribution.items(),
            key=lambda item: item[1],
            default=None,
        ),
        duplicates=score_duplicates(data / "split", fold, predictions, schema),
        classes_without_rows=tuple(
            str(name) for k, name in enumerate(test.task.classes) if k not in test.y
        ),
        classes_not_found=classes_not_found(test),
        missed_classes=(*find_missed_classes(test, baselines, thresholds["test"]),),
        custom_metrics={metric.name: metric.greater_is_better for metric in metrics},
        version=metadata.version,
        repeats=metadata.repeats,
        **describe_threshold(metadata, scored, thresholds["test"]),
    )
    return Result(evaluation, predictions, fitted, thresholds)


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
    predictions = {
        name: predict_table(model.predict, data / "split" / name, schema, metadata)
        for name in ("train", "validation", "test")
    }
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

    def predict_part(path: Path) -> tuple[np.ndarray, ...]:
        part = pq.read_table(path)
        return (
            arrays.labels(part, schema)[:, 0],
            predict(arrays.feature_arrays(part, schema)),
            arrays.row_weights(part, schema),
        )

    parts = ordered_map(predict_part, part_paths(folder), max_concurrent=1)
    y, y_pred, weight = map(np.concatenate, zip(*parts, strict=True))
    is_invalid = ~np.isfinite(y_pred).all(axis=1)
    if is_invalid.any():
        expected, got = arrays.NO_PREDICTION
        raise UserError(
            f"{folder}: {is_invalid.sum()} of {len(y_pred)} rows: expected {expected},"
            f" got {got}",
        )
    return Predictions(
        schema.learning_task,
        y,
        y_pred,
        weight,
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
    ignored = [
        name
        for name in schema.ignore
        if name in available and name not in new_names.values()
    ]
    names = [FILE, LINE, *ignored, schema.target]
    rows = pa.concat_tables(read_parts(folder, names))
    ends = metadata.interval_ends(test.y_pred[:, 0])
    columns = {new_names.get(name, name): rows[name] for name in names}
    columns |= test.task.prediction_columns(test.y_pred, test.threshold, ends)
    with atomic_write(data / "predictions") as partial:
        write_part(partial, 0, pa.table(columns))


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
    thresholds = {
        row_set: dict.fromkeys(baselines, metadata.decision)
        for row_set in ("test", *folds)
    }
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
    class_rows = [(train.y == k).sum() for k in range(len(task.classes))]
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
    learnt: Predictions | None = None,
) -> list[Score]:
    """Add intervals to the scores of a model, and compare it with the baselines.

    Args:
        scored: Scores of the model.
        baselines: Predictions of the baselines.
        thresholds: Threshold of each baseline, see `Predictions`.
        main_metrics: Metrics for which the scores of the baselines get intervals, in
            addition to the main score.
        row_set: One of `metrics.ROW_SETS`.
        learnt: See `find_best_constants`.

    Returns:
        The scores of the model, then those of each baseline with the differences from
        it on the same rows.
    """
    rows = scored.predictions
    intervals = scored.intervals()
    scores = [*score_records(row_set, MODEL, scored.values, len(rows.y), intervals)]
    with_interval = {rows.task.main_metric, "loss", *main_metrics}
    comparisons = []
    if baselines:
        for key, constant in find_best_constants(rows, learnt).items():
            comparisons.append(("dummy", scored, constant, [key]))
    for name, baseline_predictions in baselines.items():
        y_pred = baseline_predictions[row_set]
        if len(y_pred) < len(rows.y):
            rows = rows.select(slice(len(y_pred)))
            scored = score_and_resample(rows)
        baseline = score_and_resample(
            rows._replace(y_pred=y_pred, threshold=thresholds[name]),
        )
        comparisons.append((name, scored, baseline, [*baseline.values]))
    for name, model, baseline, keys in comparisons:
        scores += score_records(
            row_set,
            name,
            {key: baseline.values[key] for key in keys},
            len(baseline.predictions.y),
            baseline.intervals(with_interval),
            model.differences(baseline, keys),
        )
    return scores


def compute_largest_errors(test: Predictions) -> float:
    """Compute the share of the squared error in the 1 % of rows with the most of it.

    It is 0 for classes, and without errors.
    """
    if test.task.classes:
        return 0.0
    errors = np.sort(test.weight * test.row_losses)
    largest = errors[len(errors) - len(errors) // 100 :]
    return float(largest.sum() / (errors.sum() or 1.0))


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


def find_undeclared_groups(
    folder: Path,
    test: Predictions,
    schema: Schema,
) -> dict[str, float]:
    """Find columns whose values are shared by test rows with similar losses.

    `infer-schema` would ask about such a column whether its rows belong together. The
    ranks of the losses differ between its values by an analysis of variance, at 5 % for
    all these columns together.

    Args:
        folder: Folder with the parts of the test rows.

    Returns:
        The mean number of test rows with the same value, by column. It is empty if the
        schema declares groups or times.
    """
    if schema.group or schema.time:
        return {}
    rows = np.arange(len(test.y))
    if test.group is not None:  # copies of a row, which are one row
        _, rows = np.unique(test.group, return_index=True)
    # In the order of their losses, and at random if these are equal.
    rows = np.random.default_rng(0).permutation(rows)
    rows = rows[np.argsort(test.row_losses[rows], kind="stable")]
    tests = []
    for name in pq.read_schema(part_paths(folder)[0]).names:
        is_string = name in schema.columns and schema.columns[name].is_string
        if name == schema.target or not (is_string or is_identifier(name)):
            continue
        hashes = equality_hashes(read_parts(folder, [name]))[rows]
        _, codes, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        if may_be_groups(name, counts):
            from scipy.stats import f_oneway  # importing it takes half a second

            ranks = np.split(np.argsort(codes), np.cumsum(counts)[:-1])
            tests.append((name, counts.mean(), f_oneway(*ranks).pvalue))
    return {name: size for name, size, p in tests if p * len(tests) < ALPHA}


def hash_rows(folder: Path, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Hash the features of each row, and the features with the target: uint64, (rows,).

    Rows with equal values have equal hashes.
    """
    names = list(schema.features)
    return (
        equality_hashes(read_parts(folder, names)),
        equality_hashes(read_parts(folder, [*names, schema.target])),
    )


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


def find_missed_classes(
    test: Predictions,
    baselines: Baselines,
    thresholds: Mapping[str, Threshold],
) -> Iterator[str]:
    """Yield a sentence about each class of which a baseline finds more test rows.

    It is the baseline with the highest F1 of the class, if it is higher than that of
    the model, so that none is compared that predicts the class too often. All sentences
    together have a significance level of 5 %.

    Args:
        thresholds: Threshold of each baseline, see `Predictions`.
    """
    task = test.task
    predicted = [test.predicted_classes]  # (models, rows)
    for name, y_pred in baselines.items():
        predicted.append(task.predicted_classes(y_pred["test"], thresholds[name]))
    for code, label in enumerate(task.classes):
        is_class = test.y == code
        rows = test.select(is_class)
        if np.count_nonzero(rows.weight) < MIN_ROWS_FOR_INTERVAL:
            continue
        is_named = np.equal(predicted, code)
        overlap = (is_named & is_class).sum(axis=1) / (is_named | is_class).sum(axis=1)
        best = overlap.argmax()  # Jaccard's index orders the models as F1 does
        hits = is_named[:, is_class].astype(int)
        changes = hits[0] - hits[best]
        alpha = ALPHA / len(task.classes)
        *_, high = mean_difference(changes, rows.weight, rows.group, True, alpha)
        if high < 0:
            title = task.baselines[[*baselines][best - 1]]
            yield (
                f"class {label} is found less often than by {title}: in"
                f" {hits[0].sum()} and {hits[best].sum()} of its {len(rows.y)} test"
                " rows; to find more, raise its train.class_weight"
            )


def compute_coverage(
    test: Predictions,
    metadata: ModelMetadata,
) -> IntervalCoverage | None:
    """Compute the share of the test values that lie in their prediction intervals.

    All rows count alike: the intervals are for any row, whatever its weight.

    Returns:
        None if there are no intervals, or if the rows are a single group, so that the
        share has no interval.
    """
    intervals = metadata.intervals
    ends = metadata.interval_ends(test.y_pred[:, 0])
    if intervals is None or ends is None:
        return None
    ends = ends.astype(np.float64)  # (rows, 2)
    low_ends, high_ends = ends.T
    is_inside = (low_ends <= test.y) & (test.y <= high_ends)
    ones = np.ones(len(is_inside))
    share, low, high = share_interval(is_inside, ones, test.group)
    if high == np.inf:
        return None
    return IntervalCoverage(
        nominal=intervals.coverage,
        coverage=share,
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
            name: effective_sample_size(
                rows.predictions.weight * rows.predictions.predicted_classes,
            )
            for name, rows in scored.items()
        }
    return fields
