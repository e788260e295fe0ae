"""Measure how often intervals contain the true value, and equal models differ.

Nothing is trained: the rows and two equally good models, which know different halves of
what is not common, are drawn by `benchmarks.rows`. Both explain 0.35 of the variance of
the target. Scores without an interval in most draws are left out.

- The *coverage* is the share of draws in which the interval contains the true score.
- Equal models *differ* if the interval of their paired difference does not contain 0.
  One of two further models of a regression is too low, and the other one is as much too
  high, so that their squared errors have the same mean, but other shapes.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from benchmarks.rows import (
    BINARY,
    CLASS_KINDS,
    DEPENDENT,
    KINDS,
    REGRESSION,
    VALUE_KINDS,
    Rows,
    true_scores,
)
from benchmarks.simulations import Measurement, Simulations
from keras_tabular.evaluation.uncertainty import score_and_resample
from keras_tabular.tasks.task import Binary, Regression

SHARE = 0.35
MANY_ROWS = 10_000  # with half as many draws
CLASS_METRICS = {
    "accuracy": "accuracy",
    "loss": "log loss, Brier score",
    "brier": "log loss, Brier score",
    "roc_auc": "ROC AUC, average precision",
    "average_precision": "ROC AUC, average precision",
    "recall": "recall, precision, F1",
    "precision": "recall, precision, F1",
    "f1": "recall, precision, F1",
    "balanced_accuracy": "balanced accuracy",
    "cost": "cost 20:1",
}
VALUE_METRICS = {
    "mae": "mean absolute error",
    "loss": "MSE, RMSE, R²",
    "rmse": "MSE, RMSE, R²",
    "r2": "MSE, RMSE, R²",
}
MIN_COVERAGE = {"independent": 0.91, "groups": 0.88, "time": 0.9}
MIN_COVERAGE_OF_RECALLS = 0.92
MAX_DIFFERENT = {"independent": 0.07, "groups": 0.07, "time": 0.07}


def measure_scores(
    name: str,
    draws: int,
    task: Binary | Regression,
    metrics: dict[str, str],
) -> Iterator[Measurement]:
    """Yield the coverage of each score, and how often equal models differ."""
    kind = KINDS[name]
    family = kind.family
    for rows in kind.sizes:
        rng = np.random.default_rng(rows)
        truth = true_scores(kind, rows, task, SHARE)
        inside = defaultdict[str, list[bool]](list)
        different = defaultdict[str, list[bool]](list)
        count = draws if rows < MANY_ROWS else max(draws // 2, 1)
        for _ in range(count):
            models = Rows(rng, kind, rows).draw_models(task, (SHARE, SHARE))
            first, second = map(score_and_resample, models)
            for scored in (first, second):
                for key, (low, high) in scored.intervals(metrics).items():
                    inside[key].append(low <= truth[key] <= high)
            for key, difference in first.differences(second, metrics).items():
                different[key].append(not difference.within_chance)
        for key, claim in metrics.items():
            where = f"{name}, {rows} rows, {key}"
            if len(inside[key]) > count:
                limit = MIN_COVERAGE.get(family)
                if key == "balanced_accuracy" and name not in DEPENDENT[1:]:
                    limit = MIN_COVERAGE_OF_RECALLS
                share = float(np.mean(inside[key]))
                yield Measurement(
                    f"coverage: {claim}",
                    family,
                    where,
                    share,
                    limit,
                    True,
                )
            if len(different[key]) > count / 2:
                limit = MAX_DIFFERENT.get(family)
                share = float(np.mean(different[key]))
                yield Measurement(f"differ: {claim}", family, where, share, limit)


def measure_classes(name: str, draws: int) -> Iterator[Measurement]:
    yield from measure_scores(name, draws, BINARY, CLASS_METRICS)


def measure_values(name: str, draws: int) -> Iterator[Measurement]:
    yield from measure_scores(name, draws, REGRESSION, VALUE_METRICS)


def measure_skewed_errors(name: str, draws: int) -> Iterator[Measurement]:
    """Yield how often a model that is too low differs from one that is too high."""
    kind = KINDS[name]
    for rows in kind.sizes:
        rng = np.random.default_rng(rows)
        different = 0
        for _ in range(draws):
            (model,) = Rows(rng, kind, rows).draw_models(REGRESSION, (SHARE,))
            low, high = (
                score_and_resample(model._replace(y_pred=model.y_pred + shift))
                for shift in (-0.3, 0.3)
            )
            different += not low.differences(high)["loss"].within_chance
        yield Measurement(
            "differ: too low or too high, MSE",
            kind.family,
            f"{name}, {rows} rows",
            different / draws,
            MAX_DIFFERENT.get(kind.family),
        )


SIMULATIONS: Simulations = {
    measure_classes: CLASS_KINDS,
    measure_values: VALUE_KINDS,
    measure_skewed_errors: VALUE_KINDS,
}
