"""Measure whether the scores that are shown for a threshold are those of new rows.

Nothing is trained: `benchmarks.rows` draws out-of-fold rows in ten folds, with
calibrated probabilities. The folds are whole groups, or periods. The bias is the
precision or the recall that is shown, minus that of very many rows at the chosen
threshold. The recall is a mean over the draws; the precision is that of all rows that
are predicted as positive in any draw. Both are measured for cross-fitted thresholds,
and for a threshold that is scored on the same rows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.rows import BINARY, CLASS_KINDS, KINDS, MANY_ROWS, Kind, Rows
from benchmarks.simulations import Measurement, Simulations
from keras_tabular.config.sections import Costs, ThresholdRule
from keras_tabular.evaluation.calibration import choose_threshold, cross_fit
from keras_tabular.evaluation.scores import score

SIZES = (300, 1000)
SHARE = 0.4  # of the variance that the model knows
FOLDS = 10
MAX_BIAS = 0.03
RULES = {
    "precision 0.9": ThresholdRule(precision=0.9),
    "recall 0.9": ThresholdRule(recall=0.9),
    "best f1": ThresholdRule(best="f1"),
    "cost 5:1": ThresholdRule(cost=Costs(false_negative=5, false_positive=1)),
}


class TrueScores:
    """Precision and recall of very many rows by threshold."""

    def __init__(self, kind: Kind, rows: int) -> None:
        positives = kind.positives * MANY_ROWS // rows
        alone = Kind("", zeros=kind.zeros, positives=positives)
        many = Rows(np.random.default_rng(1), alone, MANY_ROWS)
        (drawn,) = many.draw_models(BINARY, (SHARE,))
        order = np.argsort(drawn.y_pred[:, 0])
        self.probability = drawn.y_pred[order, 0]
        # The probabilities are calibrated.
        self.hits = np.append(self.probability[::-1].cumsum()[::-1], 0)

    def at(self, threshold: Any) -> tuple[float, float]:
        """Return the precision and the recall at a threshold."""
        first = np.searchsorted(self.probability, threshold)
        above = len(self.probability) - first
        precision = self.hits[first] / above if above else np.nan
        return precision, self.hits[first] / self.hits[0]


def measure_bias(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how much too good the scores are that are shown for each rule."""
    kind = KINDS[name]
    for rows in SIZES:
        if rows not in kind.sizes:
            continue
        truth = TrueScores(kind, rows)
        rng = np.random.default_rng(rows)
        drawn = [Rows(rng, kind, rows) for _ in range(draws)]
        models = [each.draw_models(BINARY, (SHARE,))[0] for each in drawn]
        for rule_name, rule in RULES.items():
            costs = rule.cost_matrix((0, 1)) if rule.cost else None
            values = []  # precision and recall that are shown, and the true ones
            predicted = []  # number of rows predicted as positive
            for each, model in zip(drawn, models, strict=True):
                rated = model._replace(costs=costs)
                unit = np.arange(rows) if each.group is None else each.group
                fold = unit % FOLDS
                chosen = rated._replace(threshold=choose_threshold(rule, rated)[0])
                rated_rows = (cross_fit(rule, rated, fold), chosen)
                counts = [each.predicted_classes.sum() for each in rated_rows]
                predicted.append(counts)
                scores = [score(each) for each in rated_rows]
                pairs = [
                    (s.get("precision", np.nan), s.get("recall", np.nan))
                    for s in scores
                ]
                values.append([*pairs, truth.at(chosen.threshold)])
            by_draw = np.array(values)  # (draws, 3, 2)
            weight = np.array(predicted)[:, [0, 1, 1]]
            precision = np.nansum(by_draw[..., 0] * weight, axis=0) / weight.sum(axis=0)
            recall = np.nanmean(by_draw[..., 1], axis=0)
            where = f"{name}, {rows} rows, {rule_name}"
            for metric, (now, same, true) in (
                ("precision", precision),
                ("recall", recall),
            ):
                claim = f"{metric} is too high"
                limit = None if kind.family == "short time" else MAX_BIAS
                yield Measurement(claim, kind.family, where, now - true, limit)
                claim = f"{metric} is too high, scored on the same rows"
                yield Measurement(claim, kind.family, where, same - true)


SIMULATIONS: Simulations = {measure_bias: CLASS_KINDS}
