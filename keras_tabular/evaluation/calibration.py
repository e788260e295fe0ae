"""Thresholds, prediction intervals and calibration, on predictions for unseen rows."""

from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ThresholdRule
from keras_tabular.core.errors import UserError
from keras_tabular.evaluation.records import Calibration
from keras_tabular.evaluation.scores import Predictions, Ranking, rank_rows
from keras_tabular.evaluation.uncertainty import (
    MIN_ROWS_FOR_INTERVAL,
    effective_sample_size,
    student_widths,
)
from keras_tabular.model.metadata import Intervals, ModelMetadata
from keras_tabular.network.record import TrainingRecord
from keras_tabular.table.arrays import labels, row_weights
from keras_tabular.table.out_of_fold import OutOfFold
from keras_tabular.table.parquet import read_parts
from keras_tabular.tasks.task import MIN_PROBABILITY, CostMatrix

MIN_ROWS_PER_BIN = 50
MAX_BINS = 10  # of rows with similar predictions, in each of which errors are measured
MIN_RELATIVE_ERROR = 0.1  # share of the mean error, so that no interval has zero width
# Share of a residual that remains, however much the networks disagree.
MIN_REMAINING_ERROR = 0.5
# Thresholds are equally good if their ratings differ by at most this rounding error.
MAX_ROUNDING = 1e-12
# Probability that a measure of calibration is wrong by chance. No trained model is
# perfectly calibrated: with 0.05, there would be warnings of many good ones.
CALIBRATION_ALPHA = 0.01
# Newton's method ends after a step below this, and usually needs fewer than ten.
MIN_NEWTON_STEP = 1e-9
MAX_NEWTON_STEPS = 50


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
    n_rows = len(errors)
    folds, sizes = np.unique(fold, return_counts=True)
    fewest_rows = n_rows - sizes.max()  # from which errors are predicted
    n_bins = int(np.clip(fewest_rows // MIN_ROWS_PER_BIN, 1, MAX_BINS))
    relative_errors = np.zeros(n_rows)
    for number in folds:  # a row does not help to predict its own error
        held_out = fold == number
        other_rows = ~held_out
        medians, mean_errors = fit_errors(
            predicted[other_rows],
            errors[other_rows],
            n_bins,
        )
        expected = np.interp(predicted[held_out], medians, mean_errors)
        relative_errors[held_out] = errors[held_out] / expected
    # A new row is as likely as each of these rows to have the largest error of all.
    rank = ceil(coverage * (n_rows + 1) - 1e-9)
    covered_error = np.sort(relative_errors)[min(rank, n_rows) - 1]
    removed_square = disagreement * (1 - 1 / len(folds))
    removed_share = removed_square / np.mean(errors**2)
    remaining_square = max(1 - removed_share, MIN_REMAINING_ERROR**2)
    medians, mean_errors = fit_errors(predicted, errors, n_bins)
    half = np.sqrt(remaining_square) * covered_error * mean_errors
    return Intervals(
        coverage=coverage,
        at=tuple(medians.tolist()),
        half=tuple(half.tolist()),
    )


def fit_errors(
    predicted: np.ndarray,
    errors: np.ndarray,
    n_bins: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Measure the mean error of rows with similar predictions.

    Args:
        predicted: Predictions, shape (rows,).
        errors: Absolute errors, shape (rows,).
        n_bins: Number of sets into which the rows are divided.

    Returns:
        Some predictions in ascending order, and the mean absolute error that is
        expected near each of them, both of shape (n,).

    >>> fit_errors(np.array([1.0, 2.0, 9.0, 8.0]), np.array([1, 1, 3, 3]), n_bins=2)
    (array([1.5, 8.5]), array([1.2, 3.2]))
    """
    bins = np.array_split(np.argsort(predicted, kind="stable"), n_bins)
    medians = np.array([np.median(predicted[rows]) for rows in bins])
    bin_errors = np.array([errors[rows].mean() for rows in bins])
    expected = bin_errors + MIN_RELATIVE_ERROR * errors.mean()
    medians, first_bins = np.unique(medians, return_index=True)
    return medians, expected[first_bins]


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
    names = [schema.target]
    if schema.weight is not None:
        names.append(schema.weight)
    table = pa.concat_tables(read_parts(train, names)).take(oof.unseen.rows)
    task = schema.learning_task
    evaluate = params.evaluate
    rows = Predictions(
        task,
        labels(table, schema)[:, 0],
        oof.unseen.y_pred,
        row_weights(table, schema),
        costs=evaluate.costs(task),
    )
    chosen = dict[str, Any]()
    if task.has_threshold:
        threshold, is_reached = choose_threshold(evaluate.threshold, rows)
        chosen["threshold"] = threshold
        chosen["reaches_rule"] = is_reached
        chosen["threshold_choice"] = evaluate.threshold_rule
    elif not task.classes and len(rows.y):
        disagreement = 0.0
        # In forward chaining, each prediction is already the mean of a whole ensemble.
        if record.trained_on and not oof.forward_chaining:
            disagreement = record.trained_on.disagreement or 0.0
        chosen["intervals"] = fit_intervals(
            rows,
            oof.unseen.row_folds,
            evaluate.coverage,
            disagreement,
        )
    return ModelMetadata(
        **dict(record),
        **chosen,
        table_schema=schema.without(record.ignore),
        validate_params=params.validate,
        drift_params=params.drift,
        metric=evaluate.metric,
        costs=rows.costs,
    )


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
        threshold, _ = choose_threshold(rule, rows.select(fold != number))
        thresholds[fold == number] = threshold
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
        raise UserError(
            "evaluate.threshold: there are no out-of-fold predictions to choose it on;"
            " set a number, or train.folds to 2 or more",
        )
    ranking = rank_rows(rows.y == 1, rows.y_pred[:, 0], rows.weight)
    ratings, is_reached = rate_thresholds(rule, ranking, rows.costs)
    is_best = ratings >= ratings.max() - MAX_ROUNDING
    best = middle_thresholds(ranking.thresholds)[is_best]
    nearest = np.argmin(np.abs(best - 0.5))
    return float(best[nearest]), is_reached


def middle_thresholds(borders: np.ndarray) -> np.ndarray:
    """Move each threshold midway to the next lower one, and the last one midway to 0.

    Args:
        borders: Thresholds in descending order, the first of which is infinite.

    >>> middle_thresholds(np.array([np.inf, 0.75, 0.5]))
    array([0.875, 0.625, 0.25 ])
    """
    upper = borders.copy()
    upper[0] = max(1.0, borders[1] + 2e-6)  # above a probability of 1
    lower = np.append(borders[1:], 0.0)
    middle = (upper + lower) / 2
    # Predictions are float32: rounded to it, a threshold between two neighbours is one
    # of them.
    return np.where(middle.astype(np.float32) > lower, middle, upper)


def rate_thresholds(
    rule: ThresholdRule,
    ranking: Ranking,
    costs: CostMatrix | None,
) -> tuple[np.ndarray, bool]:
    """Compute how good each threshold is by a rule.

    Args:
        rule: The rule by which to choose.
        ranking: Weight of the rows above each threshold, with one weight for each row.
        costs: The costs of the rule, if it has any.

    Returns:
        The values to maximize, float64, shape (thresholds,); and whether a threshold
        reaches the recall or the precision of the rule, True if the rule has neither.
    """
    if costs:
        return -total_costs(costs, ranking), True
    hits = ranking.hits
    alarms = ranking.alarms
    positive = max(hits[-1], 1e-300)
    negative = alarms[-1]
    recall = hits / positive
    false_alarm_rate = alarms / max(negative, 1e-300)
    if rule.recall:
        return rate_with_minimum(recall, rule.recall, 1 - false_alarm_rate)
    if rule.precision:
        return rate_with_minimum(ranking.precision(0), rule.precision, recall)
    values = {
        "accuracy": hits + negative - alarms,
        "balanced_accuracy": recall - false_alarm_rate,
        "f1": 2 * hits / (hits + alarms + positive),
    }
    return values[str(rule.best)], True


def rate_with_minimum(
    share: np.ndarray,
    minimum: float,
    gain: np.ndarray,
) -> tuple[np.ndarray, bool]:
    """Rate thresholds by their gain if one reaches a minimum, and else by their share.

    Args:
        share: The recall or the precision of each threshold, shape (thresholds,).
        minimum: The smallest share that is accepted.
        gain: What to maximize among the thresholds that reach it, shape (thresholds,).

    >>> rate_with_minimum(np.array([0.2, 0.6, 0.9]), 0.5, np.array([0.9, 0.8, 0.7]))
    (array([-inf,  0.8,  0.7]), True)
    >>> rate_with_minimum(np.array([0.2, 0.4]), 0.5, np.array([0.9, 0.8]))
    (array([0.2, 0.4]), False)
    """
    reaches_minimum = share >= minimum
    if not reaches_minimum.any():
        return share, False
    return np.where(reaches_minimum, gain, -np.inf), True


def total_costs(costs: CostMatrix, ranking: Ranking) -> np.ndarray:
    """Add up the costs of two classes at each threshold: float64, shape (thresholds,).

    >>> ranking = Ranking(np.array([np.inf, 0.5]), np.array([0, 2]), np.array([0, 1]))
    >>> total_costs(((0, 1), (5, 0)), ranking)
    array([10,  1])
    """
    (true_negative, false_positive), (false_negative, true_positive) = costs
    hits = ranking.hits
    alarms = ranking.alarms
    misses = hits[-1] - hits
    rejections = alarms[-1] - alarms
    of_positive = false_negative * misses + true_positive * hits
    return of_positive + true_negative * rejections + false_positive * alarms


def measure_calibration(test: Predictions, loss: str) -> dict[str, Calibration]:
    """Measure whether the predictions are right on average, by names in words.

    Each class has an intercept and a slope, see `recalibrate`, and a regression has a
    mean error. A regression with another loss than the squared one does not predict
    means, and has no measure.
    """
    task = test.task
    test = test.select(test.weight > 0)
    row_values = {}
    if not task.classes and loss == task.losses[0]:
        row_values["mean of target minus prediction"] = test.y - test.first_output
    for k, code in enumerate(task.output_classes):
        rows = test._replace(y=test.y == code, y_pred=test.y_pred[:, [k]])
        for name, values in recalibrate(rows).items():
            row_values[f"calibration {name} of class {task.classes[code]}"] = values
    alpha = CALIBRATION_ALPHA / task.n_outputs
    measures = {}
    for name, values in row_values.items():
        value = test.mean(values)
        below, above = student_widths(values, test.weight, test.group, alpha)
        if 0 < above < np.inf:
            measures[name] = Calibration(
                value=value,
                interval=(value - below, value + above),
                ideal=float(name.startswith("calibration slope")),
            )
    return measures


def recalibrate(rows: Predictions) -> dict[str, np.ndarray]:
    """Fit a logistic regression of a class on the logits of its probability (Cox 1958).

    The slope is below 1 if the probabilities are too extreme. The intercept is above 0
    if they are too low. It is that of a row with an average logit, where its estimate
    does not depend on the slope: a probability of 0.5 may be far from all rows.

    Args:
        rows: `y` is whether each row is of the class, `y_pred` the probability.

    Returns:
        The intercept and the slope, each one plus the influence of each row on it:
        float64, shape (rows,). The variance of their mean is that of the sandwich
        estimator. Both are undefined if there are too few rows of the class or of the
        others, if the probabilities separate them, or if too few rows have other
        probabilities than most.
    """
    from scipy.special import expit, logit

    y = rows.y
    weight = rows.weight
    probability = np.clip(rows.first_output, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    logits = logit(probability)
    positive = logits[y]
    negative = logits[~y]
    if min(len(positive), len(negative)) < MIN_ROWS_FOR_INTERVAL:
        return {}
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return {}
    center = np.average(logits, weights=weight * probability * (1 - probability))
    scale = logits.std()
    deviations = (logits - center) / scale
    if effective_sample_size(weight * deviations**2) < MIN_ROWS_FOR_INTERVAL:
        return {}
    features = np.vander(deviations, 2)  # and ones, (rows, 2)
    coefficients = np.zeros(2)
    for _ in range(MAX_NEWTON_STEPS):
        predicted = expit(features @ coefficients)
        variance = weight * predicted * (1 - predicted)
        information = (variance * features.T) @ features / weight.sum()
        influence = np.linalg.solve(information, features.T * (y - predicted))
        step = np.average(influence, axis=1, weights=weight)
        coefficients += step
        if np.abs(step).max() < MIN_NEWTON_STEP:
            break
    else:
        return {}
    slopes, intercepts = coefficients[:, None] + influence  # (2, rows)
    return {"intercept": intercepts - center, "slope": slopes / scale}
