"""Thresholds and prediction intervals, chosen on predictions for unseen rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ThresholdRule
from keras_tabular.config.task import CostMatrix
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation.scores import Predictions, hits_and_alarms
from keras_tabular.model.metadata import Intervals, ModelMetadata
from keras_tabular.table.arrays import labels, row_weights
from keras_tabular.table.out_of_fold import OutOfFold
from keras_tabular.table.parquet import read_parts
from keras_tabular.training.record import TrainingRecord

MAX_BINS = (
    10  # of rows with similar predictions, in each of which the error is measured
)
MIN_ROWS_PER_BIN = 50
MIN_RELATIVE_ERROR = 0.1  # share of the mean error, so that no interval has zero width
MIN_REMAINING_ERROR = (
    0.5  # share of a residual that remains, however much the networks disagree
)


def fit_intervals(
    rows: Predictions,
    fold: np.ndarray,
    coverage: float,
    disagreement: float = 0.0,
) -> Intervals:
    """Compute intervals from out-of-fold predictions of at least two folds.

    The error of a fold's network has two parts: the error of the model, and the
    difference between this network and the others. The model averages K of them, which
    removes 1 - 1/K of the second part.

    Args:
        rows: Out-of-fold predictions of a regression.
        fold: Fold of each row, shape (rows,).
        coverage: Share of the rows whose value the intervals should contain.
        disagreement: Mean variance between the predictions of the folds' networks for a
            row.
    """
    predicted = rows.y_pred[:, 0]
    errors = np.abs(rows.y - predicted)
    folds, sizes = np.unique(fold, return_counts=True)
    n_bins = int(np.clip((len(errors) - sizes.max()) // MIN_ROWS_PER_BIN, 1, MAX_BINS))
    relative = np.zeros(len(errors))
    for number in folds:  # a row does not help to predict its own error
        held_out = fold == number
        at, scale = _expected_errors(predicted[~held_out], errors[~held_out], n_bins)
        expected = np.interp(predicted[held_out], at, scale)
        relative[held_out] = np.divide(
            errors[held_out],
            expected,
            out=expected,
            where=expected > 0,
        )
    # A new row is as likely as each of these rows to have the largest error of all.
    rank = min(int(np.ceil(coverage * (len(errors) + 1) - 1e-9)), len(errors))
    removed = disagreement * (1 - 1 / len(folds))
    mean_square = max(np.mean(errors**2), 1e-300)
    remaining = np.sqrt(max(1 - removed / mean_square, MIN_REMAINING_ERROR**2))
    at, scale = _expected_errors(predicted, errors, n_bins)
    half = remaining * np.sort(relative)[rank - 1] * scale
    return Intervals(
        coverage=coverage,
        at=tuple(at.tolist()),
        half=tuple(half.tolist()),
    )


def _expected_errors(
    predicted: np.ndarray,
    errors: np.ndarray,
    n_bins: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions in ascending order, and the mean error near each of them."""
    bins = np.array_split(np.argsort(predicted, kind="stable"), n_bins)
    at = np.array([np.median(predicted[rows]) for rows in bins])
    mean = (
        np.array([errors[rows].mean() for rows in bins])
        + MIN_RELATIVE_ERROR * errors.mean()
    )
    at, first = np.unique(at, return_index=True)
    return at, mean[first]


def calibrate(
    record: TrainingRecord,
    oof: OutOfFold,
    train: Path,
    schema: Schema,
    params: Params,
) -> ModelMetadata:
    """Choose all that the metadata of a model say besides the record of its training.

    These are the threshold that params.yaml gives, or the one that its rule chooses;
    the costs; and the prediction intervals of a regression, if there are rows that can
    tell their width.

    Args:
        record: What the training did.
        oof: Predictions for rows that the networks have not learnt from: all is chosen
            on them.
        train: Folder of the training rows.
        params: The sections `drift`, `evaluate` and `validate`.
    """
    names = [schema.target] if schema.weight is None else [schema.target, schema.weight]
    table = pa.concat_tables(read_parts(train, names)).take(oof.unseen.rows)
    y = labels(table, schema)[:, 0]
    weight = row_weights(table, schema)
    task = schema.learning_task
    rows = Predictions(task, y, oof.unseen.y_pred, weight)
    evaluate = params.evaluate
    costs = evaluate.costs(task)
    update = dict[str, Any]()
    metadata = ModelMetadata(
        **dict(record),
        table_schema=schema.without(record.ignore),
        validate_params=params.validate,
        drift_params=params.drift,
        metric=evaluate.metric,
        costs=costs,
    )
    if task.has_threshold:
        threshold, is_reached = choose_threshold(
            evaluate.threshold,
            rows._replace(costs=costs),
        )
        update |= {"threshold": threshold, "reaches_rule": is_reached}
        update |= {"threshold_choice": evaluate.threshold_rule}
    elif not task.classes and len(y):
        fold = oof.unseen.row_folds
        disagreement = 0.0
        # In forward chaining, each prediction is already the mean of a whole ensemble.
        if record.trained_on and not oof.forward_chaining:
            disagreement = record.trained_on.disagreement or 0.0
        update["intervals"] = fit_intervals(rows, fold, evaluate.coverage, disagreement)
    return metadata.model_copy(update=update)


def cross_fit(
    rule: ThresholdRule | None,
    rows: Predictions,
    fold: np.ndarray,
) -> Predictions:
    """Give each row a threshold that is chosen on the rows of the other folds.

    The scores of the rows on which a threshold is chosen are too good, see
    docs/scores.md.

    Args:
        rule: The rule by which to choose; None to keep the threshold.
        fold: Fold of each row, shape (rows,); there are two or more.
    """
    if rule is None:
        return rows
    thresholds = np.empty(len(fold))
    for number in np.unique(fold):
        thresholds[fold == number], _ = choose_threshold(
            rule,
            rows.select(fold != number),
        )
    return rows._replace(threshold=thresholds)


def choose_threshold(
    rule: float | ThresholdRule,
    rows: Predictions,
) -> tuple[float, bool]:
    """Choose the threshold by a rule, midway between two probabilities that occur.

    Of several thresholds that are equally good, the one nearest to 0.5 is chosen. If no
    threshold reaches the recall or the precision that is asked for, the one with the
    highest recall or precision is chosen.

    Args:
        rule: The rule by which to choose, or the threshold itself.
        rows: Predictions for rows that the model has not learnt from, with two classes.

    Returns:
        The threshold, and whether it reaches the recall or precision of the rule.

    Raises:
        UserError: There is a rule, and there are no rows.
    """
    if not isinstance(rule, ThresholdRule):
        return rule, True
    if not len(rows.y):
        problem = "there are no out-of-fold predictions to choose it on"
        raise UserError(
            f"evaluate.threshold: {problem}; set a number, or train.folds to 2 or more",
        )
    probability = rows.y_pred[:, 0]
    weight = rows.weight
    borders, (hits,), (alarms,) = hits_and_alarms(
        rows.y == 1,
        probability,
        weight[None],
    )
    borders[0] = max(1.0, borders[1] + 2e-6)  # above a probability of 1
    upper = borders
    lower = np.append(borders[1:], 0.0)
    middle = (upper + lower) / 2
    # Predictions are float32: rounded to it, a threshold between two neighbours is one
    # of them.
    thresholds = np.where(middle.astype(np.float32) > lower, middle, upper)
    value = rate_thresholds(rule, hits, alarms, rows.costs)
    best = np.flatnonzero(value >= value.max() - 1e-12)
    reaches_rule = not (rule.recall or rule.precision) or bool(value.max() >= 2)
    return (
        float(
            thresholds[best[np.argmin(np.abs(thresholds[best] - 0.5))]],
        ),
        reaches_rule,
    )


def rate_thresholds(
    rule: ThresholdRule,
    hits: np.ndarray,
    alarms: np.ndarray,
    costs: CostMatrix | None,
) -> np.ndarray:
    """Compute how good each threshold is by a rule; higher is better.

    Args:
        rule: The rule by which to choose.
        hits: Weight of the positive rows above each threshold; for the last one, of all
            rows.
        alarms: Weight of the negative rows above each threshold.
        costs: The costs of the rule, if it has any.

    Returns:
        The ratings, shape (thresholds,). If the rule has a smallest recall or
        precision, they are 2 or more for the thresholds that reach it, and at most 1
        for the other ones.
    """
    positive = hits[-1]
    negative = alarms[-1]
    recall = hits / max(positive, 1e-300)
    false_alarms = alarms / max(negative, 1e-300)
    precision = np.divide(
        hits,
        hits + alarms,
        out=np.zeros_like(hits),
        where=hits + alarms > 0,
    )
    if costs:
        return -total_costs(costs, hits, alarms)
    if required := rule.recall or rule.precision:
        share, gain = (recall, 1 - false_alarms) if rule.recall else (precision, recall)
        return np.where(share >= required, 2 + gain, share)
    return {
        "accuracy": hits + negative - alarms,
        "balanced_accuracy": recall - false_alarms,
        "f1": 2 * hits / (hits + alarms + max(positive, 1e-300)),
    }[str(rule.best)]


def total_costs(costs: CostMatrix, hits: np.ndarray, alarms: np.ndarray) -> np.ndarray:
    """Add up the costs of two classes at each threshold: float64, shape (thresholds,).

    Args:
        hits, alarms: See `rate_thresholds`.
    """
    (true_negative, false_positive), (false_negative, true_positive) = costs
    of_positive = false_negative * (hits[-1] - hits) + true_positive * hits
    return of_positive + true_negative * (alarms[-1] - alarms) + false_positive * alarms
