"""The result of the stage `evaluate`: all scores of a model and its baselines."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.metrics import (
    CUSTOM,
    ROW_SETS,
    CustomMetric,
    choose_primary_metric,
    metrics_by_key,
)
from keras_tabular.config.schema import Schema
from keras_tabular.config.task import Task, Threshold
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.core.parallel import ordered_map
from keras_tabular.evaluation import records, uncertainty
from keras_tabular.evaluation.calibration import choose_threshold, cross_fit
from keras_tabular.evaluation.records import (
    MODEL,
    Evaluation,
    IntervalCoverage,
    score_records,
)
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
    split: Path,
    fold: np.ndarray,
    predictions: Mapping[str, Predictions],
    schema: Schema,
) -> dict[str, records.Duplicates]:
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
    train, test = (
        row_and_feature_hashes(split / name, schema) for name in ("train", "test")
    )
    masks = {"test": [np.isin(*hashes) for hashes in zip(test, train, strict=True)]}
    if len(fold):
        masks["cross_validation"] = [
            _in_other_folds(hashes[: len(fold)], fold) for hashes in train
        ]
    duplicates = {}
    for name, (equal_with_target, equal) in masks.items():
        if equal.any():
            duplicates[name] = records.Duplicates(
                equal=int(equal.sum()),
                equal_with_target=int(equal_with_target.sum()),
                without=score(predictions[name].select(~equal)),
            )
    return duplicates


def row_and_feature_hashes(
    folder: Path,
    schema: Schema,
) -> tuple[np.ndarray, np.ndarray]:
    """Hash each row of a table: its features with the target, and its features alone."""
    features = equality_hashes(read_parts(folder, list(schema.features)))
    target = pa.concat_tables(read_parts(folder, [schema.target]))[0]
    return (
        equality_hashes(
            [pa.table([features, target], ["features", "target"])],
        ),
        features,
    )


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
    metadata = model.metadata
    oof = OutOfFold.read(data / "oof")
    predictions = predict_row_sets(model, data, oof, schema, metrics)
    test = predictions["test"]
    held_out = ("test", *oof.by_row_set)
    scored = {
        k: score_and_resample(predictions[k]) for k in held_out if k in predictions
    }
    primary = choose_main_metrics(predictions["train"], scored["test"], metadata)
    fitted = baselines()
    folds = {
        name: rows.row_folds
        for name, rows in oof.by_row_set.items()
        if name in predictions
    }
    thresholds = baseline_thresholds(fitted, predictions, folds, metadata, test.task)
    scores = []
    for name, rows in predictions.items():
        if name in scored:
            scores += compare_with_baselines(
                scored[name],
                fitted,
                thresholds[name],
                primary,
                name,
            )
        else:
            scores += score_records(name, MODEL, score(rows), len(rows.y))
    intervals = metadata.intervals
    has_threshold = test.task.has_threshold
    positives = {
        name: rows.deciding_rows.get("precision", 0.0) for name, rows in scored.items()
    }
    attribution = metadata.trained_on.attribution if metadata.trained_on else {}
    evaluation = Evaluation(
        main_metrics=primary,
        costs=metadata.costs,
        constant_costs=constant_costs(test),
        scores=tuple(scores),
        threshold=metadata.threshold if has_threshold else None,
        highest_probability=float(test.y_pred.max()) if has_threshold else None,
        baseline_thresholds=thresholds["test"] if has_threshold else {},
        reaches_rule=metadata.reaches_rule,
        predicted_positives=positives if metadata.threshold_choice else {},
        interval_coverage=compute_coverage(test, intervals) if intervals else None,
        levels=compare_levels(test, metadata.loss),
        strongest_column=max(
            attribution.items(),
            key=lambda item: item[1],
            default=None,
        ),
        duplicates=score_duplicates(
            data / "split",
            oof.cross_validation.fold,
            predictions,
            schema,
        ),
        classes_not_found=classes_not_found(test),
        custom_metrics={metric.name: metric.greater_is_better for metric in metrics},
        version=metadata.version,
        repeats=metadata.repeats,
    )
    return Result(evaluation, predictions, fitted)


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
    predictions = {
        name: predict_table(
            model.predict,
            data / "split" / name,
            schema,
            model.metadata,
        )
        for name in ("train", "validation", "test")
    }
    for name, folds in oof.by_row_set.items():
        rows = predictions["train"].select(folds.rows)._replace(y_pred=folds.y_pred)
        predictions[name] = cross_fit(
            model.metadata.threshold_choice,
            rows,
            folds.row_folds,
        )
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

    def predict_part(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = pq.read_table(path)
        y_pred = predict(arrays.feature_arrays(part, schema))
        return (
            arrays.labels(part, schema)[:, 0],
            y_pred,
            arrays.row_weights(part, schema),
        )

    parts = list(ordered_map(predict_part, part_paths(folder), max_concurrent=1))
    y, y_pred, weight = map(np.concatenate, zip(*parts, strict=True))
    if count := int((~np.isfinite(y_pred)).any(axis=1).sum()):
        expected, got = arrays.NO_PREDICTION
        raise UserError(
            f"{folder}: {count} of {len(y)} rows: expected {expected}, got {got}",
        )
    group = row_groups(folder, schema)
    task = schema.learning_task
    decision = metadata.decision
    return Predictions(task, y, y_pred, weight, decision, group, costs=metadata.costs)


def write_test_predictions(
    data: Path,
    test: Predictions,
    metadata: ModelMetadata,
    schema: Schema,
) -> None:
    """Write the predictions for the test rows to `data/predictions`, in the order of the split.

    The columns are the `file` and the `line` of each row, the columns that the schema
    ignores, the `actual` target, and those that the command `predict` writes.

    Args:
        data: Folder with `split`.
    """
    available = pq.read_schema(part_paths(data / "split" / "test")[0]).names
    new_names = {FILE: "file", LINE: "line", schema.target: "actual"}
    allowed = {*available}.difference(new_names.values())
    names = [
        FILE,
        LINE,
        *(name for name in schema.ignore if name in allowed),
        schema.target,
    ]
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
        The thresholds by row set and baseline: numbers for the test rows, and for each
        row set of `folds` one for each row, see `calibration.cross_fit`.
    """
    numbers: dict[str, Any] = dict.fromkeys(baselines, metadata.decision)
    thresholds = {row_set: dict(numbers) for row_set in ("test", *folds)}
    if rule := metadata.threshold_choice:
        for (
            row_set,
            fold,
        ) in folds.items():  # if there is forward chaining, it is the last one
            for name in baselines:
                y_pred = baselines[name][row_set]
                rows = (
                    predictions[row_set]
                    .select(slice(len(y_pred)))
                    ._replace(y_pred=y_pred)
                )
                thresholds[row_set][name] = cross_fit(
                    rule,
                    rows,
                    fold[: len(y_pred)],
                ).threshold
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
        main_metrics: Metrics for which the scores of the baselines get intervals, in
            addition to the main score.
        row_set: One of `metrics.ROW_SETS`.

    Returns:
        The scores of the model, then those of each baseline with the differences from
        it.
    """
    rows = len(scored.predictions.y)
    task = scored.predictions.task
    scores = [
        *score_records(
            row_set,
            MODEL,
            scored.values,
            rows,
            interval=scored.intervals(),
        ),
    ]

    def compare(name: str, baseline: ScoredPredictions, keys: Collection[str]) -> None:
        values = {key: baseline.values[key] for key in keys}
        interval = baseline.intervals(
            {task.main_metric, "loss", *main_metrics}.intersection(keys),
        )
        rows = len(baseline.predictions.y)
        difference = scored.differences(baseline, keys)
        scores.extend(
            score_records(
                row_set,
                name,
                values,
                rows,
                interval=interval,
                difference=difference,
            ),
        )

    if baselines:
        for key, constant in find_best_constants(scored.predictions).items():
            compare("dummy", constant, [key])
    for name, baseline_predictions in baselines.items():
        y_pred = baseline_predictions[row_set]
        predictions = scored.predictions.select(slice(len(y_pred)))
        if len(predictions.y) < len(scored.predictions.y):
            scored = score_and_resample(predictions)
        predictions = predictions._replace(y_pred=y_pred, threshold=thresholds[name])
        baseline = score_and_resample(predictions)
        compare(name, baseline, baseline.values)
    return scores


def find_best_constants(rows: Predictions) -> dict[str, ScoredPredictions]:
    """Find, for each metric, the constant prediction that is the best one for these rows.

    A model that has learnt nothing predicts a constant, too. It must not be better than
    the baseline only because its constant happens to suit these rows, or this metric.
    By the F1 of several classes, guessing is better than any constant: the predictions
    in a random order.
    """
    metrics = metrics_by_key(
        {each.name: each.greater_is_better for each in rows.custom_metrics},
    )
    constants = [*map(score_and_resample, constant_predictions(rows))]
    best = {}
    guess = rows._replace(y_pred=np.random.default_rng(0).permutation(rows.y_pred))
    guesses = [score_and_resample(guess)] if "macro.f1" in rows.task.metrics else []
    for key, metric in metrics.items():
        candidates = [*constants, *guesses] if key.endswith(".f1") else constants
        if defined := [scored for scored in candidates if key in scored.values]:
            # Rounded, so that the last bits of a sum do not choose between equal ones.
            values = [
                arrays.round_for_comparison(scored.values[key]) for scored in defined
            ]
            choose = np.argmax if metric.greater_is_better else np.argmin
            best[key] = defined[int(choose(values))]
    return best


def constant_predictions(rows: Predictions) -> Iterator[Predictions]:
    """Yield the constant predictions of which one is the best by any metric of the task.

    For classes, these are their shares: with two classes, once counted as positive and
    once as negative; with several classes, as the most frequent class, and as the one
    of the lowest cost. For a regression, they are the mean (for squared errors), the
    median (for absolute ones), the median weighted by 1 / y (`mape`) and the mean on
    the logarithmic scale (`rmsle`).
    """
    task = rows.task
    y = rows.y
    weight = rows.weight
    mean = np.average(task.indicators(y[:, None]), axis=0, weights=weight)
    if task.has_threshold:
        constants: list[tuple[Any, Threshold]] = [(mean, 0.0), (mean, 2.0)]
    elif task.classes:
        constants = [(mean, 0.5), (mean, rows.threshold)]
    else:
        values = [mean, weighted_median(y, weight)]
        values += [weighted_median(y, weight / y)] if y.min() > 0 else []
        values += (
            [np.expm1(np.average(np.log1p(y), weights=weight))] if y.min() >= 0 else []
        )
        constants = [(value, rows.threshold) for value in values]
    for value, threshold in constants:
        yield rows._replace(
            y_pred=np.full(rows.y_pred.shape, value),
            threshold=threshold,
        )


def weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    """Return the smallest value up to which at least half of the weight lies."""
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


def constant_costs(rows: Predictions) -> dict[str, float]:
    """Return the mean cost of always predicting each class, in words; empty without costs."""
    if not rows.costs:
        return {}
    names = [f"always {name}" for name in rows.task.classes]
    if rows.task.has_threshold:
        names[0] = f"never {rows.task.classes[1]}"
    return {words: rows.mean(rows.row_costs(code)) for code, words in enumerate(names)}


LEVEL_ALPHA = 0.01  # the training rows differ, too: 0.05 would warn of 1 in 9 good runs


def compare_levels(test: Predictions, loss: str) -> dict[str, records.Level]:
    """Compare the mean prediction with the share of each class, or with the mean of the target.

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
    levels = dict[str, records.Level]()
    y = task.indicators(test.y[:, None]).T
    y_pred = test.y_pred.T.astype(np.float64)
    for name, values, predicted in zip(names, y, y_pred, strict=True):
        actual = test.mean(values)
        level = test.mean(predicted)
        if task.classes:
            low, high = uncertainty.share_interval(values, weight, group, alpha)
        else:
            below, above = uncertainty.student_widths(
                values - predicted,
                weight,
                group,
                alpha,
            )
            low = actual - float(below)
            high = actual + float(above)
        if low < high < np.inf:
            levels[name] = records.Level(
                predicted=level,
                actual=actual,
                low=low,
                high=high,
            )
    return levels


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
    low, high = uncertainty.share_interval(
        is_inside,
        np.ones(len(is_inside)),
        test.group,
    )
    share = float(is_inside.mean())
    nominal = intervals.coverage
    width = float(np.diff(ends).mean())
    return IntervalCoverage(
        nominal=nominal,
        coverage=share,
        low=low,
        high=high,
        mean_width=width,
    )
