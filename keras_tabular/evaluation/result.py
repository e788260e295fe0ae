"""The result of the stage `evaluate`: all scores of a model and its baselines."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.metrics import COST, CUSTOM, ROW_SETS, CustomMetric, choose_primary_metric
from keras_tabular.config.schema import Schema
from keras_tabular.config.task import Task, Threshold
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation import records, uncertainty
from keras_tabular.evaluation.calibration import choose_threshold, cross_fit
from keras_tabular.evaluation.records import MODEL, Evaluation, IntervalCoverage, score_records
from keras_tabular.evaluation.scores import Baselines, Predictions, score
from keras_tabular.evaluation.uncertainty import ScoredPredictions, score_and_resample
from keras_tabular.model.metadata import Intervals, ModelMetadata
from keras_tabular.table import arrays
from keras_tabular.table.groups import equality_hashes, row_groups
from keras_tabular.table.out_of_fold import OutOfFold
from keras_tabular.table.parquet import FILE, LINE, part_paths, read_parts, write_part

if TYPE_CHECKING:
    from keras_tabular.model.saved_model import SavedModel


def score_duplicates(
    split: Path, fold: np.ndarray, predictions: Mapping[str, Predictions], schema: Schema
) -> dict[str, records.Duplicates]:
    """Count the rows that are equal to a row from which their prediction was learnt.

    These are test rows that are equal to a training row, and training rows that are equal to a row
    of another fold. The other rows are scored.

    Args:
        split: Folder with the tables train and test.
        fold: Fold of the training rows, shape (rows,); empty without folds.
        predictions: Predictions by row set, see `metrics.ROW_SETS`.

    Returns:
        The counts and scores of each row set that has such rows.
    """
    train, test = (row_and_feature_hashes(split / name, schema) for name in ("train", "test"))
    masks = {"test": [np.isin(*hashes) for hashes in zip(test, train, strict=True)]}
    if len(fold):
        masks["cross_validation"] = [_in_other_folds(hashes[: len(fold)], fold) for hashes in train]
    duplicates = {}
    for name, (equal_with_target, equal) in masks.items():
        if equal.any():
            duplicates[name] = records.Duplicates(
                equal=int(equal.sum()),
                equal_with_target=int(equal_with_target.sum()),
                without=score(predictions[name].select(~equal)),
            )
    return duplicates


def row_and_feature_hashes(folder: Path, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Hash each row of a table: its features with the target, and its features alone."""
    features = equality_hashes(read_parts(folder, list(schema.features)))
    target = pa.concat_tables(read_parts(folder, [schema.target]))[0]
    return equality_hashes([pa.table([features, target], ["features", "target"])]), features


def _in_other_folds(hashes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return whether each row is equal to a row of another fold, bool, shape (rows,)."""
    _, group = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.column_stack([group, fold]), axis=0)
    return (np.bincount(pairs[:, 0]) > 1)[group]


class Result(NamedTuple):
    """An evaluation, and the predictions of the model by row set, and those of its baselines."""

    evaluation: Evaluation
    predictions: dict[str, Predictions]
    baselines: Baselines


def evaluate(
    model: "SavedModel",
    data: Path,
    schema: Schema,
    baselines: Callable[[], Baselines],
    metrics: Sequence[CustomMetric] = (),
) -> Result:
    """Score a model and its baselines on all row sets of a split, and on the folds.

    Args:
        data: Folder with `split` and `oof`.
        baselines: Returns the result of `fit_baselines`.
        metrics: Metrics that the project adds to those of the task.
    """
    metadata, oof = model.metadata, OutOfFold.read(data / "oof")
    predictions = predict_row_sets(model, data, oof, schema, metrics)
    test, held_out = predictions["test"], ("test", *oof.by_row_set)
    scored = {k: score_and_resample(predictions[k]) for k in held_out if k in predictions}
    primary = choose_main_metrics(predictions["train"], scored["test"], metadata)
    fitted = baselines()
    folds = {name: rows.row_folds for name, rows in oof.by_row_set.items() if name in predictions}
    thresholds = baseline_thresholds(fitted, predictions, folds, metadata, test.task)
    scores = []
    for name, rows in predictions.items():
        if name in scored:
            scores += compare_with_baselines(scored[name], fitted, thresholds[name], primary, name)
        else:
            scores += score_records(name, MODEL, score(rows), len(rows.y))
    intervals, has_threshold = metadata.intervals, test.task.has_threshold
    positives = {name: rows.deciding_rows["precision"] for name, rows in scored.items()}
    evaluation = Evaluation(
        main_metrics=primary,
        costs=metadata.costs,
        constant_costs=constant_costs(test),
        scores=tuple(scores),
        threshold=metadata.threshold if has_threshold else None,
        baseline_thresholds=thresholds["test"] if has_threshold else {},
        reaches_rule=metadata.reaches_rule,
        predicted_positives=positives if metadata.threshold_choice else {},
        interval_coverage=compute_coverage(test, intervals) if intervals else None,
        duplicates=score_duplicates(data / "split", oof.cross_validation.fold, predictions, schema),
        classes_not_found=classes_not_found(test),
        custom_metrics={metric.name: metric.greater_is_better for metric in metrics},
        version=metadata.version,
        repeats=metadata.repeats,
    )
    return Result(evaluation, predictions, fitted)


def predict_row_sets(
    model: "SavedModel", data: Path, oof: OutOfFold, schema: Schema, metrics: Sequence[CustomMetric]
) -> dict[str, Predictions]:
    """Predict every row set that has rows, in the order of `metrics.ROW_SETS`.

    The predictions for the training rows in cross-validation and forward chaining are those of
    `oof`. A threshold that a rule has chosen is chosen again for each fold, on the other folds.
    """
    predictions = {
        name: predict_table(model.predict, data / "split" / name, schema, model.metadata)
        for name in ("train", "validation", "test")
    }
    for name, folds in oof.by_row_set.items():
        rows = predictions["train"].select(folds.rows)._replace(y_pred=folds.y_pred)
        predictions[name] = cross_fit(model.metadata.threshold_choice, rows, folds.row_folds)
    return {
        name: predictions[name]._replace(custom_metrics=metrics)
        for name in ROW_SETS
        if name in predictions and len(predictions[name].y)
    }


def predict_table(
    predict: arrays.Predict, folder: Path, schema: Schema, metadata: ModelMetadata
) -> Predictions:
    """Read the labels of a table, and predict its rows.

    Args:
        metadata: How probabilities become classes.

    Raises:
        UserError: A prediction is not finite.
    """

    def predict_part(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = pq.read_table(path)
        y_pred = predict(arrays.feature_arrays(part, schema))
        return arrays.labels(part, schema)[:, 0], y_pred, arrays.row_weights(part, schema)

    parts = list(ordered_map(predict_part, part_paths(folder), max_concurrent=1))
    y, y_pred, weight = map(np.concatenate, zip(*parts, strict=True))
    if count := int((~np.isfinite(y_pred)).any(axis=1).sum()):
        expected, got = arrays.NO_PREDICTION
        raise UserError(f"{folder}: {count} of {len(y)} rows: expected {expected}, got {got}")
    group = row_groups(folder, schema)
    task, decision = schema.learning_task, metadata.decision
    return Predictions(task, y, y_pred, weight, decision, group, costs=metadata.costs)


def write_test_predictions(
    data: Path, test: Predictions, metadata: ModelMetadata, schema: Schema
) -> None:
    """Write the predictions for the test rows to `data/predictions`, in the order of the split.

    The columns are the `file` and the `line` of each row, the columns that the schema ignores, the
    `actual` target, and those that the command `predict` writes.

    Args:
        data: Folder with `split`.
    """
    available = pq.read_schema(part_paths(data / "split" / "test")[0]).names
    new_names = {FILE: "file", LINE: "line", schema.target: "actual"}
    allowed = {*available}.difference(new_names.values())
    names = [FILE, LINE, *(name for name in schema.ignore if name in allowed), schema.target]
    rows = pa.concat_tables(read_parts(data / "split" / "test", names))
    ends = metadata.intervals.ends(test.y_pred[:, 0]) if metadata.intervals else None
    columns = {new_names.get(name, name): rows[name] for name in names}
    columns |= test.task.prediction_columns(test.y_pred, test.threshold, ends)
    with atomic_write(data / "predictions") as folder:
        write_part(folder, 0, pa.table(columns))


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
    task: Task,
) -> dict[str, dict[str, Any]]:
    """Choose the threshold of each baseline in the way in which that of the model was chosen.

    Args:
        baselines: Predictions of the baselines.
        predictions: Predictions of the model, by row set.
        folds: Fold of each row, by each row set on which thresholds are chosen.
        metadata: The threshold of the model, and how it was chosen.

    Returns:
        The thresholds by row set and baseline: numbers for the test rows, and for each row set of
        `folds` one for each row, see `calibration.cross_fit`.
    """
    numbers: dict[str, Any] = dict.fromkeys(baselines, metadata.decision)
    numbers["dummy"] = 0.5  # so that it predicts the most frequent class
    thresholds = {row_set: dict(numbers) for row_set in ("test", *folds)}
    if rule := metadata.threshold_choice:
        for row_set, fold in folds.items():  # if there is forward chaining, it is the last one
            for name in ("linear", "gradient_boosting"):
                y_pred = baselines[name][row_set]
                rows = predictions[row_set].select(slice(len(y_pred)))._replace(y_pred=y_pred)
                thresholds[row_set][name] = cross_fit(rule, rows, fold[: len(y_pred)]).threshold
                thresholds["test"][name], _ = choose_threshold(rule, rows)
    return thresholds


def choose_main_metrics(
    train: Predictions, test: ScoredPredictions, metadata: ModelMetadata
) -> tuple[str, ...]:
    """Choose the main metrics: the primary metric, and those of the task.

    The latter are replaced by the main score if one has no interval on the test rows.
    """
    counts = [int((train.y == k).sum()) for k in range(len(train.task.classes))]
    keys = train.task.main_metrics(counts)
    has_intervals = set(keys) <= test.intervals(keys).keys()
    keys = keys if has_intervals else (train.task.main_metric,)
    primary = choose_primary_metric(metadata.metric, metadata.loss, metadata.costs)
    # The command `score` does not compute the metrics of a project.
    is_known = not primary.startswith(CUSTOM) or test.predictions.custom_metrics
    return tuple(dict.fromkeys((primary, *keys) if is_known else keys))


def compare_with_baselines(
    scored: ScoredPredictions,
    baselines: Baselines,
    thresholds: Mapping[str, Threshold],
    main_metrics: tuple[str, ...],
    row_set: str = "test",
) -> list[records.Score]:
    """Add intervals to the scores of the model, and compare it with the baselines on the same rows.

    Args:
        scored: Scores of the model.
        baselines: Predictions of the baselines.
        thresholds: Threshold of each baseline, see `Predictions`.
        main_metrics: Metrics for which the scores of the baselines get intervals, in addition to
            the main score.
        row_set: One of `metrics.ROW_SETS`.

    Returns:
        The scores of the model, then those of each baseline with the differences from it.
    """
    task, rows = scored.predictions.task, len(scored.predictions.y)
    scores = [*score_records(row_set, MODEL, scored.values, rows, interval=scored.intervals())]
    for name, baseline_predictions in baselines.items():
        y_pred = baseline_predictions[row_set]
        predictions = scored.predictions.select(slice(len(y_pred)))
        if len(predictions.y) < len(scored.predictions.y):
            scored = score_and_resample(predictions)
        predictions = predictions._replace(y_pred=y_pred, threshold=thresholds[name])
        baseline = score_and_resample(predictions)
        if name == "dummy":
            baseline = with_best_constant(baseline)
            if row_set != "test":  # each fold has another constant, and none ranks its rows
                keys = baseline.values.keys() & {task.main_metric, "loss", COST}
                baseline = baseline._replace(values={k: baseline.values[k] for k in sorted(keys)})
        scores += score_records(
            *(row_set, name, baseline.values, len(y_pred)),
            interval=baseline.intervals((task.main_metric, "loss", *main_metrics)),
            difference=scored.differences(baseline),
        )
    return scores


def with_best_constant(constant: ScoredPredictions) -> ScoredPredictions:
    """Replace the loss and the cost of a constant by those of the best constant for the rows.

    A model that has learnt nothing predicts a constant, too. It must not be better than the
    baseline only because its constant happens to suit these rows.
    """
    rows = constant.predictions
    best = np.average(rows.task.indicators(rows.y[:, None]), axis=0, weights=rows.weight)
    losses = rows._replace(y_pred=np.broadcast_to(best, rows.y_pred.shape)).row_losses
    row_values = constant.row_values | {"loss": losses}
    if rows.costs:
        costs = map(rows.row_costs, range(len(rows.task.classes)))
        row_values[COST] = min(costs, key=lambda each: round(rows.mean(each), 9))
    means = {key: rows.mean(row_values[key]) for key in ("loss", COST) if key in row_values}
    return constant._replace(values=constant.values | means, row_values=row_values)


def constant_costs(rows: Predictions) -> dict[str, float]:
    """Return the mean cost of always predicting each class, in words; empty without costs."""
    if not rows.costs:
        return {}
    names = [f"always {name}" for name in rows.task.classes]
    if rows.task.has_threshold:
        names[0] = f"never {rows.task.classes[1]}"
    return {words: rows.mean(rows.row_costs(code)) for code, words in enumerate(names)}


def classes_not_found(test: Predictions) -> tuple[str, ...]:
    """Find the classes of which no test row is predicted correctly, although there are some."""
    correct = test.y[test.predicted_classes == test.y]
    classes = enumerate(test.task.classes)
    return tuple(str(name) for k, name in classes if k in test.y and k not in correct)


def compute_coverage(test: Predictions, intervals: Intervals) -> IntervalCoverage:
    """Compute the share of the test rows whose values lie in their prediction intervals.

    All rows count alike: the intervals are for any row, whatever its weight.
    """
    ends = intervals.ends(test.y_pred[:, 0]).astype(np.float64)
    is_inside = ((ends[:, 0] <= test.y) & (test.y <= ends[:, 1])).astype(np.float64)
    low, high = uncertainty.share_interval(is_inside, np.ones(len(is_inside)), test.group)
    share, nominal = float(is_inside.mean()), intervals.coverage
    width = float(np.diff(ends).mean())
    return IntervalCoverage(nominal=nominal, coverage=share, low=low, high=high, mean_width=width)
