"""Measure how often the best of several equal models is called better than an equal baseline.

Somebody trains several variants of a model, scores each on the same test rows, and keeps the one
with the lowest loss on them. The gate then compares it with gradient boosting. All of them know the
same share of the target, so a verdict of "better" is luck. Nothing is trained: labels, and the
errors of all predictions, are drawn 1,000 times for each number of test rows.

- `other errors`: the errors of two variants are as different as those of a variant and of boosting.
- `similar errors`: 85% of the variance of the errors is common to all variants. The differences of
  two variants from boosting then have a correlation of 0.93. With six variants of a network on the
  diabetes table, and with five on that of concrete, it was between 0.93 and 1.00.

The figures in docs/experiments.md and in `keras_tabular.experiments.gate` are from this script.
The exit code is 1 if a limit is exceeded.

    python -m benchmarks.looks
"""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.special import ndtr

from benchmarks.intervals import Measurement, print_measurements
from benchmarks.verdicts import compute_verdict
from keras_tabular.config.sections import Gate
from keras_tabular.scoring import uncertainty

VARIANTS = (1, 5, 10, 20, 50)
LIMITS = {
    "other errors": (0.04, 0.12, 0.18, 0.25, 0.36),
    "similar errors": (0.04, 0.06, 0.08, 0.1, 0.13),
}
BEAT_BOOSTING = Gate(beat_baselines=("constant", "boosted"))
SIGNAL, ERROR = 0.4, 0.05  # variances, of a target with a variance of 1
MIN_ERRORS = 1.5  # standard errors; no verdict calls a smaller difference better
COMMON = {"other errors": 0.0, "similar errors": 0.85}  # share of the variance of the errors


def draw_variants(
    rng: np.random.Generator, task: str, rows: int, common: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw labels, the predictions of all variants, and those of an equal baseline.

    Returns:
        Arrays of shape (rows,), (variants, rows) and (rows,).
    """
    signal, noise = (rng.normal(0, s**0.5, rows) for s in (SIGNAL, 1 - SIGNAL))
    baseline_error, common_error = rng.normal(0, ERROR**0.5, (2, rows))
    own_errors = rng.normal(0, ERROR**0.5, (max(VARIANTS), rows))
    errors = common**0.5 * common_error + (1 - common) ** 0.5 * own_errors
    y, y_pred, y_baseline = signal + noise, signal + errors, signal + baseline_error
    if task == "regression":
        return y, y_pred, y_baseline
    scale = (1 - SIGNAL) ** 0.5
    return (y > 0).astype(float), ndtr(y_pred / scale), ndtr(y_baseline / scale)


def row_losses(task: str, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """Return the squared error or the log loss of each prediction, with the shape of `y_pred`."""
    return (y - y_pred) ** 2 if task == "regression" else -np.log(np.abs(1 - y - y_pred))


def count_lucky_verdicts(task: str, rows: int, common: float, draws: int) -> Counter[int]:
    """Count how often the best of the first N variants is called better, by N."""
    rng, better = np.random.default_rng(0), Counter[int]()
    middle, spread = (0.5, 0.5) if task == "binary" else (0.0, 1.0)
    for _ in range(draws):
        constant = rng.normal(middle, spread / (2 * rows) ** 0.5)
        y, y_pred, baseline = draw_variants(rng, task, rows, common)
        losses, verdicts = row_losses(task, y, y_pred), dict[int, str]()
        for count in VARIANTS:
            best = int(losses[:count].mean(axis=1).argmin())
            difference = losses[best] - row_losses(task, y, baseline)
            is_close = difference.mean() > -MIN_ERRORS * difference.std() / rows**0.5
            if best not in verdicts and not is_close:
                models = [y_pred[best], baseline, baseline]
                verdicts[best] = compute_verdict(task, y, models, constant, rules=BEAT_BOOSTING)
            better[count] += verdicts.get(best) == "pass"
    return better


def measure_looks(draws: int = 1000) -> Iterator[Measurement]:
    """Yield how often the best of N equal models is called better than an equal baseline."""
    for (kind, common), task in product(COMMON.items(), ("binary", "regression")):
        for rows in (250, 1000):
            better = count_lucky_verdicts(task, rows, common, draws)
            for count, limit in zip(VARIANTS, LIMITS[kind], strict=True):
                name = f"best of {count}, {kind}, {task}, {rows} rows: better"
                yield Measurement(name, better[count] / draws, limit, is_minimum=False)


def main() -> None:
    ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    uncertainty.DRAWS = 20  # only the interval of ROC AUC has no formula
    print_measurements(measure_looks())


if __name__ == "__main__":
    main()
