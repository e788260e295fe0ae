"""What the stage calibrate chooses on predictions for rows that the model has not learnt from."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Evaluate, ThresholdRule
from keras_tabular.core.errors import UserError
from keras_tabular.core.numbers import round_for_comparison
from keras_tabular.evaluation.intervals import fit_intervals
from keras_tabular.model_file.metadata import Intervals, ModelMetadata
from keras_tabular.scoring.scores import Predictions, hits_and_alarms
from keras_tabular.scoring.uncertainty import ScoredPredictions, mean_difference
from keras_tabular.table.arrays import labels, row_weights
from keras_tabular.table.groups import row_groups
from keras_tabular.table.parquet import read_parts
from keras_tabular.tasks.metrics import ROW_SETS
from keras_tabular.training.out_of_fold import OutOfFold

# The temperatures to choose from, at most 5% apart; rounded, so that every CPU has the same ones.
TEMPERATURES = np.round(np.geomspace(0.25, 4, 112), 2)

MIN_PREDICTED_POSITIVES = 30  # below, the precision at a threshold is hardly known


class UnseenRows(NamedTuple):
    """Training rows with predictions of networks that have not learnt from them.

    Attributes:
        fold: Fold of each row, shape (rows,).
        is_chained: Whether each prediction is the mean of a whole ensemble, as in forward chaining.
    """

    predictions: Predictions
    fold: np.ndarray
    is_chained: bool


def read_unseen_rows(oof: OutOfFold, train: Path, schema: Schema) -> UnseenRows:
    """Join out-of-fold predictions with the labels, weights and groups of their rows.

    The predictions are those of forward chaining, if there are any, or those of cross-validation.

    Args:
        train: Folder of the training rows.
    """
    rows, fold = oof.unseen.rows, oof.unseen.row_folds
    names = [schema.target] if schema.weight is None else [schema.target, schema.weight]
    labelled = pa.concat_tables(read_parts(train, names)).take(rows)
    y, weight, group = labels(labelled, schema)[:, 0], row_weights(labelled, schema), None
    if len(rows) and (groups := row_groups(train, schema)) is not None:
        group = groups[rows]
    task, is_chained = schema.learning_task, oof.forward_chaining is not None
    predictions = Predictions(task, y, oof.unseen.y_pred, weight, group=group)
    return UnseenRows(predictions, fold, is_chained)


def calibrate_intervals(
    rows: UnseenRows, params: Evaluate, metadata: ModelMetadata
) -> Intervals | None:
    """Fit the prediction intervals of a regression; None without rows that can tell their width.

    Args:
        params: The section `evaluate` of params.yaml.
        metadata: Metadata of the trained model, with the disagreement of the folds' networks.
    """
    disagreement = metadata.trained_on.disagreement if metadata.trained_on else None
    disagreement = 0.0 if rows.is_chained else disagreement
    if not len(rows.fold) or disagreement is None:
        return None
    y, y_pred = rows.predictions.y, rows.predictions.y_pred[:, 0]
    return fit_intervals(y - y_pred, y_pred, rows.fold, params.coverage, disagreement)


def calibrate_temperature(
    rows: UnseenRows, params: Evaluate, metadata: ModelMetadata
) -> dict[str, float]:
    """Choose the temperature of probabilities, or return that of params.yaml.

    Args:
        params: The section `evaluate` of params.yaml.
        metadata: Metadata of the trained model, with the weights of the classes in the loss.

    Returns:
        `temperature`, and what `choose_temperature` says of it, if that has chosen it.
    """
    if params.temperature != "auto" or not len(rows.fold):
        return {"temperature": 1.0 if params.temperature == "auto" else params.temperature}
    predictions = rows.predictions
    by_class = np.array(metadata.class_weights or np.ones(len(predictions.task.classes)))
    weight = predictions.weight * by_class[predictions.y.astype(np.int64)]
    return choose_temperature(predictions._replace(weight=weight), rows.fold)


def calibrate_threshold(
    rows: UnseenRows, params: Evaluate, metadata: ModelMetadata
) -> ModelMetadata:
    """Add the threshold that params.yaml gives, or the one that its rule chooses.

    Args:
        params: The section `evaluate` of params.yaml.
        metadata: Metadata with the temperature of the probabilities.
    """
    y_pred = scale_by_temperature(rows.predictions.y_pred, metadata.temperature)
    predictions = rows.predictions._replace(y_pred=y_pred)
    threshold, reaches_rule = choose_threshold(params.threshold, predictions)
    update = {"threshold": threshold, "reaches_rule": reaches_rule}
    return metadata.model_copy(update=update | {"threshold_choice": params.threshold_rule})


def cross_fit_threshold(
    rule: ThresholdRule | None, rows: Predictions, fold: np.ndarray
) -> Predictions:
    """Give each row a threshold that is chosen on the rows of the other folds.

    Scores of rows on which a threshold was chosen are too good: 0.94 instead of 0.75 for the
    precision of a rule that asks for 0.9, see docs/scores.md.

    Args:
        rule: The rule by which to choose; None to keep the threshold.
        fold: Fold of each row, shape (rows,); there are two or more.
    """
    if rule is None:
        return rows
    thresholds = np.empty(len(fold))
    for number in np.unique(fold):
        thresholds[fold == number], _ = choose_threshold(rule, rows.select(fold != number))
    return rows._replace(threshold=thresholds)


def warn_about_threshold(
    metadata: ModelMetadata, scored: Mapping[str, ScoredPredictions]
) -> tuple[str, ...]:
    """Say that the threshold does not reach its rule, or that its precision is hardly known.

    Args:
        metadata: The threshold of the model, and how it was chosen.
        scored: Scores by row set.
    """
    rule, warnings = metadata.threshold_choice, []
    if rule and not metadata.reaches_rule:
        goal = f"a {'recall' if rule.recall else 'precision'} of {rule.recall or rule.precision:g}"
        goal += f" with {rule.confidence:.0%} confidence" if rule.confidence else ""
        warnings.append(f"no threshold reaches {goal} on the out-of-fold predictions")
    for row_set, rows in scored.items() if rule else ():
        if (positive := rows.deciding_rows["precision"]) < MIN_PREDICTED_POSITIVES:
            text = f"{ROW_SETS[row_set]}: {positive:.0f} rows are predicted as positive"
            warnings.append(f"{text}. Below {MIN_PREDICTED_POSITIVES}, precision is hardly known")
    return tuple(warnings)


def choose_threshold(rule: float | ThresholdRule, rows: Predictions) -> tuple[float, bool]:
    """Choose the threshold by a rule, midway between two probabilities that occur.

    Of several thresholds that are equally good, the one nearest to 0.5 is chosen. If no threshold
    reaches the recall or the precision that is asked for, the one with the highest recall or
    precision is chosen; with a confidence, the one whose precision is expected to be highest.

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
            "evaluate.threshold: there are no out-of-fold predictions to choose it on; set a "
            "number, or train.folds to 2 or more"
        )
    probability, weight = rows.y_pred[:, 0], rows.weight
    borders, (hits,), (alarms,) = hits_and_alarms(rows.y == 1, probability, weight[None])
    borders[0] = max(1.0, borders[1] + 2e-6)  # above a probability of 1
    borders = np.append(borders, 0.0)
    thresholds = (borders[:-1] + borders[1:]) / 2
    # Predictions are float32: rounded to it, a threshold between two neighbours is one of them.
    thresholds[1:-1] = np.where(
        thresholds[1:-1].astype(np.float32) > borders[2:-1], thresholds[1:-1], borders[1:-2]
    )
    value = rate_thresholds(rule, hits, alarms, rows)
    best = np.flatnonzero(value >= value.max() - 1e-12)
    reaches_rule = not (rule.recall or rule.precision) or bool(value.max() >= 2)
    return float(thresholds[best[np.argmin(np.abs(thresholds[best] - 0.5))]]), reaches_rule


def rate_thresholds(
    rule: ThresholdRule, hits: np.ndarray, alarms: np.ndarray, rows: Predictions
) -> np.ndarray:
    """Compute how good each threshold is by a rule; higher is better.

    Args:
        rule: The rule by which to choose.
        hits: Weight of the positive rows above each threshold; for the last one, of all rows.
        alarms: Weight of the negative rows above each threshold.
        rows: The rows, for a rule with a confidence.

    Returns:
        The ratings, shape (thresholds,). If the rule has a smallest recall or precision, they are 2
        or more for the thresholds that reach it, and at most 1 for the other ones.
    """
    positive, negative = hits[-1], alarms[-1]
    recall, false_alarms = hits / max(positive, 1e-300), alarms / max(negative, 1e-300)
    precision = np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits + alarms > 0)
    if rule.cost:
        missed = rule.cost.false_negative * (positive - hits)
        return -(missed + rule.cost.false_positive * alarms)
    if required := rule.recall or rule.precision:
        share, gain = (recall, 1 - false_alarms) if rule.recall else (precision, recall)
        is_reached = share >= required
        if rule.confidence:
            share, is_reached = find_certain_thresholds(rule, share, hits + alarms, rows)
        return np.where(is_reached, 2 + gain, share)
    return {
        "accuracy": hits + negative - alarms,
        "balanced_accuracy": recall - false_alarms,
        "f1": 2 * hits / (hits + alarms + max(positive, 1e-300)),
    }[str(rule.best)]


def find_certain_thresholds(
    rule: ThresholdRule, share: np.ndarray, above: np.ndarray, rows: Predictions
) -> tuple[np.ndarray, np.ndarray]:
    """Find the thresholds at which new rows reach a recall or a precision with some confidence.

    The exact binomial test (Clopper and Pearson 1934) of each threshold counts effective rows. The
    recall only falls with the threshold, so that the tests of lower thresholds cost nothing. The
    precision is tested in a fixed sequence (Angelopoulos et al. 2021, "Learn then Test"): it begins
    at the threshold where the probabilities promise the highest lower bound, goes on to lower ones,
    and ends at the first that fails. The labels have no say in where it begins.

    Args:
        rule: A rule with a confidence.
        share: Recall or precision of each threshold, shape (thresholds,).
        above: Weight of the rows above each threshold.
        rows: The rows. Those of a group count as one row.

    Returns:
        What to maximise if no threshold is certain, and whether each one is: shape (thresholds,).
    """
    from scipy.special import betainc, ndtri  # importing it takes 0.2 s

    required, confidence = rule.recall or rule.precision, rule.confidence or 0.0
    weight = rows.weight * (rows.y == 1) if rule.recall else rows.weight
    probability = rows.y_pred[:, 0].astype(np.float64)
    weights = np.stack([_added_squares(rows._replace(weight=weight)), weight * probability])
    _, *sums = hits_and_alarms(rows.y == 1, rows.y_pred[:, 0], weights)
    squares, expected = np.maximum(sum(sums), 1e-300)
    if rule.recall:
        size = weight.sum() ** 2 / squares[-1]
    else:
        size = np.maximum(above**2 / squares, 1e-9)
    chance = betainc(share * size, size - share * size + 1, required)
    is_certain = np.round(chance, 9) <= 1 - confidence  # False for NaN, without a hit
    if rule.precision:
        expected, z2 = expected / np.maximum(above, 1e-300), ndtri(confidence) ** 2
        spread = np.sqrt(z2 * expected * (1 - expected) / size + (z2 / size) ** 2 / 4)
        share = (expected + z2 / size / 2 - spread) / (1 + z2 / size)  # Wilson's lower bound
        first = int(share.argmax())
        is_certain[:first] = False
        is_certain[first:] = np.logical_and.accumulate(is_certain[first:])
    return share, is_certain


def _added_squares(rows: Predictions) -> np.ndarray:
    """Compute by how much each row increases the sum of the squared weights of the groups.

    The rows are added in the order of descending probability. The squared sum of all weights
    divided by that sum is the effective number of rows (Kish).
    """
    if rows.group is None:
        return np.square(rows.weight)
    order = np.lexsort((-rows.y_pred[:, 0], rows.group))
    weight, group, added = rows.weight[order], rows.group[order], np.empty(len(order))
    total = np.concatenate([[0.0], weight.cumsum()])
    first = total[np.searchsorted(group, group)]
    added[order] = (total[1:] - first) ** 2 - (total[:-1] - first) ** 2
    return added


def scale_by_temperature(y_pred: np.ndarray, temperature: float) -> np.ndarray:
    """Scale probabilities by a temperature; above 1, they become less certain.

    Args:
        y_pred: Predicted probabilities at a temperature of 1, shape (rows, outputs).
        temperature: The probabilities are raised to the power 1 / temperature and divided by their
            sum, like a softmax of logits that are divided by the temperature.
    """
    if temperature == 1:
        return y_pred
    is_binary = y_pred.shape[1] == 1
    probabilities = np.column_stack([1 - y_pred, y_pred]) if is_binary else y_pred
    powers = probabilities.astype(np.float64) ** (1 / temperature)
    scaled = (powers / powers.sum(axis=1, keepdims=True)).astype(y_pred.dtype)
    return scaled[:, 1:] if is_binary else scaled


def choose_temperature(predictions: Predictions, fold: np.ndarray) -> dict[str, float]:
    """Choose the temperature that minimises the loss of rows that the model has not learnt from.

    Whether a temperature helps is found by cross-validation: for the rows of each fold, one is
    chosen on the other folds. If this lowers the loss by more than chance, the best temperature for
    all rows is chosen, and otherwise 1.

    Args:
        predictions: Out-of-fold predictions.
        fold: Fold of each row, shape (rows,).

    Returns:
        `temperature`, and the `loss_change` of the cross-validation with its 95% interval
        `loss_change_low` and `loss_change_high`.
    """
    y, y_pred = predictions.y, predictions.y_pred
    weight, group = predictions.weight, predictions.group
    _, fold = np.unique(fold, return_inverse=True)

    def compute_losses(temperature: float, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        scaled = scale_by_temperature(y_pred[rows], temperature)
        return predictions.task.row_losses(y[rows], scaled)

    # Shape (temperatures, folds).
    fold_losses = np.array([np.bincount(fold, weight * compute_losses(t)) for t in TEMPERATURES])
    total_losses = fold_losses.sum(axis=1, keepdims=True)
    chosen = _first_minimum(total_losses - fold_losses)  # without each fold
    scaled_losses = np.empty(len(y))
    for number in np.unique(chosen):
        rows = chosen[fold] == number
        scaled_losses[rows] = compute_losses(TEMPERATURES[number], rows)
    change = mean_difference(scaled_losses, compute_losses(1), weight, group, is_share=False)
    # The last bits of a logarithm depend on the CPU: the decision is made with rounded numbers.
    names = ("loss_change", "loss_change_low", "loss_change_high")
    changes = {name: round(number, 6) for name, number in zip(names, change, strict=True)}
    best = float(TEMPERATURES[_first_minimum(total_losses)[0]])
    return {"temperature": best if changes["loss_change_high"] < 0 else 1.0} | changes


def _first_minimum(losses: np.ndarray) -> np.ndarray:
    """Return the row of the smallest loss in each column, the first one of a tie."""
    return np.argmin(np.vectorize(round_for_comparison)(losses), axis=0)
