"""The evaluation of a model and of its baselines, on the rows of a split or of a labelled file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.core.metrics import ROW_SETS, TASKS, CustomMetric, primary_metrics
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation.calibration import choose_threshold, scale_by_temperature
from keras_tabular.evaluation.equal_rows import hash_rows, score_equal_rows
from keras_tabular.evaluation.evaluation import Evaluation, IntervalCoverage, ScoreSet
from keras_tabular.evaluation.labels import Labels
from keras_tabular.evaluation.scores import Baselines, OutOfFold, Predictions, read_oof, score
from keras_tabular.evaluation.uncertainty import (
    MIN_ROWS_FOR_INTERVAL,
    ScoredPredictions,
    score_and_resample,
    share_interval,
)
from keras_tabular.model_file.intervals import Intervals
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.table import arrays
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.groups import row_groups
from keras_tabular.table.parquet import FILE, LINE, part_paths, read_parts, write_part
from keras_tabular.table.rows import check_rows, raise_failures
from keras_tabular.table.source import check_columns, read_rows, row_locator

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel


class Result(NamedTuple):
    """An evaluation, and the predictions of the model by row set."""

    evaluation: Evaluation
    predictions: dict[str, Predictions]


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
    metadata, oof = model.metadata, read_oof(data / "oof")
    predictions = predict_row_sets(model, data, oof, schema, metrics)
    test, held_out = predictions["test"], [k for k in ("test", *oof) if k in predictions]
    score_sets = {name: ScoreSet(score(rows, schema)) for name, rows in predictions.items()}
    scored_sets = {name: score_and_resample(predictions[name], schema) for name in held_out}
    primary_metrics = choose_primary_metrics(predictions["train"], scored_sets["test"], schema)

    fitted = baselines()
    thresholds = baseline_thresholds(fitted, predictions, metadata, schema)
    for name, scored in scored_sets.items():
        score_sets[name] = compare_with_baselines(
            scored, fitted, thresholds, primary_metrics, schema, name
        )
    fold, is_binary = oof["cross_validation"]["fold"].to_numpy(), schema.task == "binary"
    intervals = metadata.intervals
    evaluation = Evaluation(
        primary_metrics,
        score_sets,
        threshold=metadata.threshold if is_binary else None,
        baseline_thresholds=thresholds if is_binary else {},
        calibration=metadata.calibration or {},
        interval_coverage=compute_coverage(test, intervals) if intervals else None,
        equal_rows=score_equal_rows(data / "split", fold, predictions, schema),
        classes_not_found=classes_not_found(test, schema),
        custom_metrics={metric.name: metric.greater_is_better for metric in metrics},
        version=metadata.version,
        repeats=metadata.repeats,
    )
    return Result(evaluation, predictions)


def predict_row_sets(
    model: "SavedModel", data: Path, oof: OutOfFold, schema: Schema, metrics: Sequence[CustomMetric]
) -> dict[str, Predictions]:
    """Predict every row set that has rows, in the order of `metrics.ROW_SETS`.

    The predictions for the training rows in cross-validation and forward chaining are those of
    `oof`.
    """
    threshold, temperature = model.metadata.threshold, model.metadata.temperature
    predictions = {
        name: predict_table(model.predict, data / "split" / name, schema, threshold)
        for name in ("train", "validation", "test")
    }
    for name, table in oof.items():
        *columns, fold = (column.to_numpy() for column in table.columns)
        rows = np.flatnonzero(fold >= 0)
        y_pred = scale_by_temperature(np.column_stack(columns)[rows], temperature)
        predictions[name] = predictions["train"].select(rows)._replace(y_pred=y_pred)
    return {
        name: predictions[name]._replace(custom_metrics=metrics)
        for name in ROW_SETS
        if name in predictions and len(predictions[name].y)
    }


def predict_table(
    predict: arrays.Predict, folder: Path, schema: Schema, threshold: float
) -> Predictions:
    """Read the labels of a table, and predict its rows.

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
    return Predictions(y, y_pred, weight, threshold, row_groups(folder, schema))


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
    identifiers = {*schema.ignore}.intersection(available).difference(new_names.values())
    names = [FILE, LINE, *(name for name in schema.ignore if name in identifiers), schema.target]
    rows = pa.concat_tables(read_parts(data / "split" / "test", names))
    ends = metadata.intervals.ends(test.y_pred[:, 0]) if metadata.intervals else None
    columns = {new_names.get(name, name): rows[name] for name in names}
    columns |= arrays.prediction_columns(test.y_pred, schema, test.threshold, ends)
    with atomic_write(data / "predictions") as folder:
        write_part(folder, 0, pa.table(columns))


def fit_baselines(data: Path, schema: Schema, loss: str) -> Baselines:
    """Fit the baselines, and predict the test rows and the training rows of the folds.

    Args:
        data: Folder with `split` and `oof`.
        loss: The loss that the model was trained with.
    """
    from keras_tabular.evaluation.baselines import predict_baselines  # scikit-learn takes a second

    folds = {name: table["fold"].to_numpy() for name, table in read_oof(data / "oof").items()}
    return predict_baselines(data / "split", folds, schema, loss)


def baseline_thresholds(
    baselines: Baselines,
    predictions: dict[str, Predictions],
    metadata: ModelMetadata,
    schema: Schema,
) -> dict[str, float]:
    """Choose the threshold of each baseline in the way in which that of the model was chosen.

    Args:
        baselines: Predictions of the baselines.
        predictions: Predictions of the model, by row set.
        metadata: The threshold of the model, and how it was chosen.
    """
    names = TASKS[schema.task].baselines
    thresholds = dict.fromkeys(baselines, metadata.threshold)
    thresholds[names["constant"]] = 0.5  # so that it predicts the most frequent class
    row_set = "forward_chaining" if "forward_chaining" in predictions else "cross_validation"
    if metadata.threshold_choice and row_set in predictions:
        for name in (names["linear"], names["boosted"]):
            probability = baselines[name][row_set][:, 0]
            y, _, weight, *_ = predictions[row_set].select(slice(len(probability)))
            thresholds[name] = choose_threshold(metadata.threshold_choice, y, probability, weight)
    return thresholds


def choose_primary_metrics(
    train: Predictions, test: ScoredPredictions, schema: Schema
) -> tuple[str, ...]:
    """Choose the primary metrics: the main score if one has no interval on the test rows."""
    if not test.predictions.weight.any():
        raise UserError(f"column {schema.weight}: every row to score has a weight of 0")
    counts = [int((train.y == k).sum()) for k in range(len(schema.classes))]
    keys = primary_metrics(schema.task, counts)
    has_intervals = set(keys) <= test.intervals(keys).keys()
    return keys if has_intervals else (TASKS[schema.task].main,)


def compare_with_baselines(
    scored: ScoredPredictions,
    baselines: Baselines,
    thresholds: Mapping[str, float],
    primary_metrics: tuple[str, ...],
    schema: Schema,
    row_set: str = "test",
) -> ScoreSet:
    """Add intervals to the scores of the model, and compare it with the baselines on the same rows.

    Args:
        scored: Scores of the model.
        baselines: Predictions of the baselines.
        thresholds: Threshold of each baseline.
        primary_metrics: Metrics for which the scores of the baselines get intervals, in addition to
            the main score.
        row_set: One of `metrics.ROW_SETS`.
    """
    task = TASKS[schema.task]
    model_scores = scored.scores.with_intervals(scored.intervals())
    baseline_scores, differences = {}, {}
    for name, y_pred in ((name, row_sets[row_set]) for name, row_sets in baselines.items()):
        rows = scored.predictions.select(slice(len(y_pred)))
        if len(rows.y) < len(scored.predictions.y):
            scored = score_and_resample(rows, schema)
        rows = rows._replace(y_pred=y_pred, threshold=thresholds[name])
        baseline = score_and_resample(rows, schema)
        if name == task.baselines["constant"]:
            baseline = with_best_constant(baseline, schema)
            if row_set != "test":  # each fold has another constant, and none ranks its rows
                baseline = baseline._replace(scores=baseline.scores.select((task.main, "loss")))
        intervals = baseline.intervals((task.main, *primary_metrics))
        baseline_scores[name] = baseline.scores.with_intervals(intervals)
        if baseline_differences := scored.differences(baseline):
            differences[name] = baseline_differences
    return ScoreSet(model_scores, baseline_scores, differences)


def with_best_constant(constant: ScoredPredictions, schema: Schema) -> ScoredPredictions:
    """Replace the loss of a constant by that of the best constant for the same rows.

    A model that has learnt nothing predicts a constant, too. It must not be better than the
    baseline only because its constant happens to suit these rows.
    """
    y, y_pred, weight, *_ = constant.predictions
    if schema.task == "regression":
        best = np.average(y, weights=weight)
    else:
        shares = np.bincount(y.astype(int), weight, len(schema.classes)) / weight.sum()
        best = shares[-y_pred.shape[1] :]  # the model has one output for two classes
    losses = arrays.row_losses(y, np.broadcast_to(best, y_pred.shape), schema)
    scores = constant.scores.with_loss(float(np.average(losses, weights=weight)))
    return constant._replace(scores=scores, row_values=constant.row_values | {"loss": losses})


def classes_not_found(test: Predictions, schema: Schema) -> tuple[str, ...]:
    """Find the classes of which no test row is predicted correctly, although there are some."""
    if schema.task == "regression":
        return ()
    y = test.y.astype(int)
    correct = arrays.predicted_classes(test.y_pred, schema, test.threshold) == y
    missing = set(y) - set(y[correct])
    return tuple(str(schema.classes[k]) for k in sorted(missing))


def compute_coverage(test: Predictions, intervals: Intervals) -> IntervalCoverage:
    """Compute the share of the test rows whose values lie in their prediction intervals.

    All rows count alike: the intervals are for any row, whatever its weight.
    """
    is_inside = inside_intervals(test, intervals)
    ends = share_interval(is_inside, np.ones(len(is_inside)), test.group)
    mean_width = float(np.diff(intervals.ends(test.y_pred[:, 0]).astype(np.float64)).mean())
    return IntervalCoverage(intervals.coverage, float(is_inside.mean()), *ends, mean_width)


def inside_intervals(rows: Predictions, intervals: Intervals) -> np.ndarray:
    """Return 1 for each row whose value lies in its interval, and 0 for the others: (rows,)."""
    low, high = intervals.ends(rows.y_pred[:, 0]).T.astype(np.float64)
    return ((low <= rows.y) & (rows.y <= high)).astype(np.float64)


class LabelledFile(NamedTuple):
    """Scores for the rows of a file, and warnings about these rows."""

    primary_metrics: tuple[str, ...]
    scores: ScoreSet
    warnings: list[str]


def score_file(
    file: Path,
    model: "SavedModel",
    schema: Schema,
    policies: Validate,
    split: Path | None,
    thresholds: dict[str, float],
    metrics: Sequence[CustomMetric] = (),
    labels: Labels | None = None,
) -> LabelledFile:
    """Score the model and its baselines on the rows of a file, and count the training rows in it.

    Args:
        policies: The section `validate` of params.yaml.
        split: Folder of the split, from which the baselines learn; None for no baselines.
        thresholds: Thresholds of the baselines; those that are missing are chosen.
        metrics: Metrics of the project.
        labels: Labels of the rows, if the file itself does not contain them.

    Raises:
        UserError: The file is missing, all weights are 0, or the rows are not valid, see
            `write_valid_rows`.
    """
    if not file.exists():
        raise UserError(f"{file} does not exist, but evaluate.tests in params.yaml lists it")
    training_rows, baselines = 0, Baselines()
    with TemporaryDirectory() as name:
        folder = Path(name)
        failures = write_valid_rows(file, schema, policies, folder, labels)
        predictions = predict_table(model.predict, folder, schema, model.metadata.threshold)
        if split:
            from keras_tabular.evaluation.baselines import predict_baselines  # takes a second

            hashes, _ = hash_rows(folder, schema)
            training_rows = int(np.isin(hashes, hash_rows(split / "train", schema)[0]).sum())
            baselines = predict_baselines(split, {}, schema, model.metadata.loss, folder)
            thresholds = baseline_thresholds(baselines, {}, model.metadata, schema) | thresholds
    scored = score_and_resample(predictions._replace(custom_metrics=metrics), schema)
    primary_metrics = choose_primary_metrics(predictions, scored, schema)
    scores = compare_with_baselines(scored, baselines, thresholds, primary_metrics, schema)
    warnings = [f"{failure}: {count} rows" for failure, count in failures.items()]
    warnings += labels.warnings if labels else []
    rows = scores.model.rows
    if training_rows:
        counts = f"{training_rows:,} of {rows:,} rows are training rows"
        warnings.append(f"{counts}, so the scores are too optimistic")
    if rows < MIN_ROWS_FOR_INTERVAL:
        warnings.append(f"intervals need {MIN_ROWS_FOR_INTERVAL} rows or more, got {rows}")
    return LabelledFile(primary_metrics, replace(scores, training_rows=training_rows), warnings)


def write_valid_rows(
    file: Path, schema: Schema, policies: Validate, folder: Path, labels: Labels | None = None
) -> Counter[str]:
    """Check the rows of a file, and write those that are not dropped as parts of a table.

    The features, the target, the weight and, if the file has it, the group are checked for their
    kind, missing values, ranges and values.

    Args:
        policies: The section `validate` of params.yaml.
        folder: Where to write the table.
        labels: See `score_file`. Rows without a label are left out and not checked.

    Returns:
        The number of rows that failed a check with the policy drop or warn, by column and check.

    Raises:
        UserError: A row fails a check with the policy error, the columns of the file are not those
            of the schema, or no row is left.
    """
    required = [*schema.features, schema.target, *([schema.weight] if schema.weight else [])]
    added = labels.values.column_names if labels else []
    names = check_columns(file, schema, [name for name in required if name not in added])
    needed = {*required, schema.group} & {*names} - {*added}
    columns = {name: column for name, column in schema.columns.items() if name in needed}
    checks, counts, rows = declared_checks(schema, policies), Counter[str](), 0
    line = row_locator([file], schema)
    for number, raw in enumerate(read_rows(file, schema, list(columns))):
        table, failures = check_rows(raw, columns, checks)[1:]
        is_valid = np.ones(len(table), bool)
        if labels:
            numbers = range(raw.first, raw.first + len(table))
            positions = pa.array(map(labels.positions.get, numbers), pa.int64())
            values, is_valid = labels.values.take(positions), np.array(positions.is_valid())
            table = pa.table([*table.columns, *values.columns], [*columns, *added])
            failures = [failure for failure in failures if is_valid[failure.row]]
        raise_failures([f for f in failures if f.policy == "error"], raw.first, line)
        counts.update(f"{f.column}: {f.check}: {f.policy}" for f in failures)
        is_valid[[failure.row for failure in failures if failure.policy == "drop"]] = False
        write_part(folder, number, table.filter(pa.array(is_valid)))
        rows += int(is_valid.sum())
    if not rows:
        raise UserError(f"{file}: expected at least one valid row, got none")
    return counts
