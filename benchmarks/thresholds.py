"""Measure whether the scores that are shown for a threshold are those of new rows.

Nothing is trained: probabilities and labels are drawn from distributions whose true
precision and recall at each threshold are known, and the probabilities are calibrated.
There are 500 draws of out-of-fold rows in ten folds, with a ROC AUC of 0.82. The
difference is the precision or recall that is shown, minus that of very many rows at the
chosen threshold. It is measured for cross-fitted thresholds, and for a threshold that
is `scored on the same rows`. `per draw` is the mean of the differences, and `per row`
the difference of the precision of all rows that are predicted as positive in any draw.

The figures in benchmarks/EVIDENCE.md are from this script. The exit code is 1 if a
limit is exceeded.

    python -m benchmarks.thresholds
"""

from collections.abc import Iterator
from functools import cache, partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, ndtri

from benchmarks.simulations import BINARY, Measurement, at_least, at_most, simulate
from keras_tabular.config.sections import Costs, ThresholdRule
from keras_tabular.evaluation.calibration import choose_threshold, cross_fit
from keras_tabular.evaluation.scores import Predictions, score

MANY_ROWS = 400_000
SHARES = (0.2, 0.05)  # of positive rows
SPREAD = 1.5  # standard deviation of the logits, for a ROC AUC of 0.82
MAX_DIFFERENCE = 0.02
# A threshold of nine tenths of the rows is a little worse.
MIN_DIFFERENCE_PER_ROW = -0.04
RULES = {
    "precision 0.9": ThresholdRule(precision=0.9),
    "recall 0.9": ThresholdRule(recall=0.9),
    "best f1": ThresholdRule(best="f1"),
    "cost 5:1": ThresholdRule(cost=Costs(false_negative=5, false_positive=1)),
}


class Draw(NamedTuple):
    """Rows with predicted and with true probabilities, shape (rows,)."""

    rows: Predictions
    true: np.ndarray


@cache
def find_intercept(positive: float) -> float:
    """Return the mean of normal logits for which a share of the rows is positive."""
    errors = SPREAD * ndtri((np.arange(10_000) + 0.5) / 10_000)
    return float(brentq(lambda mean: expit(mean + errors).mean() - positive, -20, 5))


def draw_rows(rng: np.random.Generator, rows: int, positive: float) -> Draw:
    """Draw rows with labels and predictions, of which a share is positive."""
    true = expit(find_intercept(positive) + SPREAD * rng.normal(size=rows))
    y = (rng.random(rows) < true).astype(float)
    y_pred = true.astype(np.float32)[:, None]
    return Draw(Predictions(BINARY, y, y_pred, np.ones(rows)), true)


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
        truth = TrueScores(draw_rows(rng, MANY_ROWS, positive))
        values = []
        predicted = []
        for _ in range(draws):
            drawn = draw_rows(rng, rows, positive).rows
            if rule.cost:
                drawn = drawn._replace(costs=rule.cost_matrix((0, 1)))
            same_rows = drawn._replace(threshold=choose_threshold(rule, drawn)[0])
            cross_fitted = cross_fit(rule, drawn, np.arange(rows) % 10)
            true = truth.at(same_rows.threshold)
            each = (score(cross_fitted), score(same_rows), true)
            values.append(
                [[s.get(key, np.nan) for s in each] for key in ("precision", "recall")],
            )
            counts = [r.predicted_classes.sum() for r in (cross_fitted, same_rows)]
            predicted.append([*counts, counts[1]])
        where = f"{rows} rows, {positive:.0%} positive, {name}"
        per_draw = np.array(values)
        precision, recall = np.nanmean(per_draw, axis=0)
        weight = np.array(predicted)
        per_row = np.nansum(per_draw[:, 0] * weight, axis=0) / weight.sum(axis=0)
        for key, (now, before, true_score), limits in (
            ("recall", recall, (MAX_DIFFERENCE,)),
            ("precision per draw", precision, (MAX_DIFFERENCE,)),
            ("precision per row", per_row, (MAX_DIFFERENCE, MIN_DIFFERENCE_PER_ROW)),
        ):
            for limit in limits:
                check = at_least if limit < 0 else at_most
                yield check(f"{where}: {key}", now - true_score, limit)
            yield at_most(
                f"{where}: {key}, scored on the same rows",
                before - true_score,
            )


main = partial(simulate, __name__)

if __name__ == "__main__":
    main()
