"""Measure whether the rules of `evaluate.threshold` promise what new rows deliver.

Nothing is trained: probabilities and labels are drawn from distributions whose true precision and
recall at each threshold are known, and the probabilities are calibrated. The names of the lines
begin with the simulation:

- `shown`: 500 draws of out-of-fold rows in ten folds, with a ROC AUC of 0.82. The difference is the
  precision or recall that is shown, minus that of very many rows at the chosen threshold. It is
  measured for cross-fitted thresholds, and for a threshold that is `scored on the same rows`.
  `per draw` is the mean of the differences, and `per row` the difference of the precision of all
  rows that are predicted as positive in any draw.
- `confidence`: 1,000 draws, with a ROC AUC of 0.93. `missed` is the share of draws in which the
  rule is said to be reached with 95% confidence, but very many rows do not reach it. `reached` is
  the share of draws in which there is such a threshold, and `recall` or `precision` is the mean of
  what it leaves of the other score. Some draws have groups of five rows with a common effect,
  weights from 1 to 3, or probabilities that are too certain or too uncertain.

The figures in docs/scores.md are from this script. The exit code is 1 if a limit is exceeded.

    python -m benchmarks.thresholds
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from functools import cache
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, ndtri

from benchmarks.intervals import BINARY, Measurement, print_measurements
from keras_tabular.config.thresholds import Costs, ThresholdRule
from keras_tabular.evaluation.calibration import choose_threshold, cross_fit
from keras_tabular.evaluation.summary import MIN_PREDICTED_POSITIVES
from keras_tabular.scoring.scores import Predictions, score

MANY_ROWS = 400_000
GROUP_ROWS = 5
SHARES = (0.2, 0.05)  # of positive rows
MAX_DIFFERENCE = 0.02
MIN_DIFFERENCE_PER_ROW = -0.04  # a threshold of nine tenths of the rows is a little worse
MAX_MISSED = 0.05
RULES = {
    "precision 0.9": ThresholdRule(precision=0.9),
    "recall 0.9": ThresholdRule(recall=0.9),
    "best f1": ThresholdRule(best="f1"),
    "cost 5:1": ThresholdRule(cost=Costs(false_negative=5, false_positive=1)),
}


class Draw(NamedTuple):
    """Rows with predicted probabilities, and the true probability of each row, shape (rows,)."""

    rows: Predictions
    true: np.ndarray


@cache
def find_intercept(positive: float, spread: float) -> float:
    """Return the mean of normal logits for which a share of the rows is positive."""
    errors = spread * ndtri((np.arange(10_000) + 0.5) / 10_000)
    return float(brentq(lambda mean: expit(mean + errors).mean() - positive, -20, 5))


def draw_rows(
    rng: np.random.Generator,
    rows: int,
    positive: float,
    spread: float,
    effect: float = 0.0,
    is_weighted: bool = False,
    certainty: float = 1.0,
) -> Draw:
    """Draw rows with labels and predictions.

    Args:
        positive: Share of positive rows.
        spread: Standard deviation of the logits; the ROC AUC is 0.82 for 1.5 and 0.93 for 3.
        effect: Standard deviation of an effect on the logits that the rows of a group have in
            common and no prediction knows; 0 for independent rows.
        certainty: Factor of the predicted logits; above 1, predictions are too certain.
    """
    logits = find_intercept(positive, spread) + spread * rng.normal(size=rows)
    group = np.arange(rows) // GROUP_ROWS if effect else None
    true = logits if group is None else logits + effect * rng.normal(size=rows)[group]
    true = expit(true)
    y = (rng.random(rows) < true).astype(float)
    weight = rng.integers(1, 4, rows).astype(float) if is_weighted else np.ones(rows)
    y_pred = expit(certainty * logits).astype(np.float32)[:, None]
    return Draw(Predictions(BINARY, y, y_pred, weight, group=group), true)


class TrueScores:
    """Precision and recall of very many rows by threshold."""

    def __init__(self, many: Draw) -> None:
        order = np.argsort(many.rows.y_pred[:, 0])
        self.probability = many.rows.y_pred[order, 0]
        self.hits = np.append(many.true[order][::-1].cumsum()[::-1], 0)

    def at(self, threshold: Any) -> dict[str, float]:
        first = np.searchsorted(self.probability, threshold)
        above = len(self.probability) - first
        precision = self.hits[first] / above if above else np.nan
        return {"precision": precision, "recall": self.hits[first] / self.hits[0]}


def measure_shown_scores(draws: int = 500) -> Iterator[Measurement]:
    for rows, positive, (name, rule) in product((500, 2000), SHARES, RULES.items()):
        rng = np.random.default_rng(0)
        truth = TrueScores(draw_rows(rng, MANY_ROWS, positive, spread=1.5))
        values, predicted = [], []
        for _ in range(draws):
            drawn = draw_rows(rng, rows, positive, spread=1.5).rows
            drawn = drawn._replace(costs=rule.cost_matrix((0, 1)) if rule.cost else None)
            same_rows = drawn._replace(threshold=choose_threshold(rule, drawn)[0])
            cross_fitted = cross_fit(rule, drawn, np.arange(rows) % 10)
            true = truth.at(same_rows.threshold)
            each = (score(cross_fitted), score(same_rows), true)
            values.append([[s.get(key, np.nan) for s in each] for key in ("precision", "recall")])
            counts = [r.predicted_classes.sum() for r in (cross_fitted, same_rows)]
            predicted.append([*counts, counts[1]])
        where = f"shown, {rows} rows, {positive:.0%} positive, {name}"
        per_draw, (precision, recall) = np.array(values), np.nanmean(values, axis=0)
        weight = np.array(predicted)
        per_row = np.nansum(per_draw[:, 0] * weight, axis=0) / weight.sum(axis=0)
        for key, (now, before, true_score), limits in (
            ("recall", recall, (MAX_DIFFERENCE,)),
            ("precision per draw", precision, (MAX_DIFFERENCE,)),
            ("precision per row", per_row, (MAX_DIFFERENCE, MIN_DIFFERENCE_PER_ROW)),
        ):
            for limit in limits:
                difference = now - true_score
                yield Measurement(f"{where}: {key}", difference, limit, is_minimum=limit < 0)
            name_before = f"{where}: {key}, scored on the same rows"
            yield Measurement(name_before, before - true_score, 1, is_minimum=False)
        few = float((weight[:, 0] < MIN_PREDICTED_POSITIVES).mean())
        yield Measurement(f"{where}: few predicted rows", few, 1, is_minimum=False)


def measure_confidence(draws: int = 1000) -> Iterator[Measurement]:
    variants: dict[str, dict[str, Any]] = {
        ", groups": {"effect": 2.0},
        ", weighted": {"is_weighted": True},
        ", too certain": {"certainty": 2.0},
        ", too uncertain": {"certainty": 0.5},
    }
    settings = [*product((500, 2000, 10_000), SHARES, [""]), *product([2000], [0.2], variants)]
    for key, other in (("precision", "recall"), ("recall", "precision")):
        rule = ThresholdRule.model_validate({key: 0.9, "confidence": 0.95})
        for rows, positive, variant in settings:
            rng, options = np.random.default_rng(0), {"spread": 3.0} | variants.get(variant, {})
            truth = TrueScores(draw_rows(rng, MANY_ROWS, positive, **options))
            missed, left = 0, []
            for _ in range(draws):
                drawn = draw_rows(rng, rows, positive, **options).rows
                threshold, is_reached = choose_threshold(rule, drawn)
                true = truth.at(threshold)
                missed += is_reached and true[key] < 0.9
                left += [true[other]] if is_reached else []
            where = f"confidence, {rows} rows, {positive:.0%} positive{variant}, {key} 0.9"
            yield Measurement(f"{where}: missed", missed / draws, MAX_MISSED, is_minimum=False)
            yield Measurement(f"{where}: reached", len(left) / draws, 0, is_minimum=True)
            if left:
                yield Measurement(f"{where}: {other}", float(np.mean(left)), 0, is_minimum=True)


def main() -> None:
    ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    print_measurements(chain(measure_shown_scores(), measure_confidence()))


if __name__ == "__main__":
    main()
