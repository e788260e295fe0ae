"""Measure how often the statements of `make repeat` are true, on simulated tables of known truth.

Each draw is a table of 100 to 1,000 rows whose two classes depend on five columns. Ten more columns
are noise. Two models are trained and scored on 20 random splits of it: a linear model scored by
accuracy or by the Brier score, or nearest neighbours scored by accuracy. The names of the lines
say what is measured for the first N splits:

- `contains`: the interval contains the true difference of the two models, which is that of models
  trained on tables of this size, over new tables and rows. The first model does not read the noise.
- `contains, equal`: the same for two equal models, each with half of the noise.
- `better`: of two equal models, the first one is called significantly better.
- `lucky or unlucky`: one more split is called lucky or unlucky.
- `best of 10 is lucky`: the best of ten more splits is called lucky. It has no limit.

The figures in docs/experiments.md are from this script. The exit code is 1 if a limit is missed.

    python -m benchmarks.repeats
"""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import expit

from benchmarks.intervals import Measurement
from keras_tabular.experiments.repeat import half_width

COLUMNS, NEIGHBOURS, MAX_SPLITS, CHOSEN = 5, 15, 20, 10
NUMBERS = (5, 10, 20)
MIN_COVERAGE, MAX_BETTER, MAX_LUCK = 0.93, 0.05, 0.07


def score_model(measure: str, x: np.ndarray, y: np.ndarray, test: np.ndarray) -> float:
    """Train a model on the rows that are not in `test`, and score it on the others.

    Args:
        measure: The name of the model and of the measure.
        x: Columns that the model reads; shape (rows, columns).
        y: Classes 0 or 1; shape (rows,).
        test: Whether each row is a test row; shape (rows,).
    """
    if measure == "neighbours, accuracy":
        distances = cdist(x[test], x[~test])
        nearest = np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        predicted = y[~test][nearest].mean(axis=1)
    else:
        x = np.column_stack([np.ones(len(x)), x])
        weights, *_ = np.linalg.lstsq(x[~test], y[~test], rcond=None)
        predicted = x[test] @ weights
    if measure == "linear, Brier score":
        return -float(((predicted - y[test]) ** 2).mean())
    return float(((predicted > 0.5) == y[test]).mean())


def draw_scores(measure: str, rows: int, test_size: float, draws: int) -> np.ndarray:
    """Score models on random splits of random tables.

    Returns:
        Scores of a model without noise, with half of the noise, with the other half and with all of
        it; shape (draws, splits, 4).
    """
    rng = np.random.default_rng(rows)
    scores = np.empty((draws, MAX_SPLITS + CHOSEN, 4))
    for draw in range(draws):
        x = rng.normal(size=(rows, 3 * COLUMNS))
        y = (rng.random(rows) < expit(x[:, :COLUMNS].sum(axis=1))).astype(np.float64)
        halves = x[:, : 2 * COLUMNS], np.delete(x, slice(COLUMNS, 2 * COLUMNS), axis=1)
        for split in range(MAX_SPLITS + CHOSEN):
            test = rng.permutation(rows) < round(test_size * rows)
            for number, columns in enumerate((x[:, :COLUMNS], *halves, x)):
                scores[draw, split, number] = score_model(measure, columns, y, test)
    return scores


def measure_repeats(measure: str, rows: int, test_size: float, draws: int) -> Iterator[Measurement]:
    """Measure all shares for one model, size of the table and share of the test rows."""
    scores = draw_scores(measure, rows, test_size, draws)
    better, equal = scores[..., 0] - scores[..., 3], scores[..., 1] - scores[..., 2]
    truth, test_share = better.mean(), test_size / (1 - test_size)
    for number in NUMBERS:
        name = f"{measure}, {rows} rows, test_size {test_size}, N={number}"
        inside, inside_equal, called_better, extreme, lucky = (np.empty(draws) for _ in range(5))
        for draw in range(draws):
            for differences, true, is_inside in (
                (better, truth, inside),
                (equal, 0.0, inside_equal),
            ):
                values = differences[draw, :number].tolist()
                error = half_width(values, 1 / number + test_share)
                is_inside[draw] = abs(np.mean(values) - true) <= error
            called_better[draw] = np.mean(values) > error
            values, others = scores[draw, :number, 0].tolist(), scores[draw, MAX_SPLITS:, 0]
            error = half_width(values, 1 + 1 / number)
            extreme[draw] = abs(others[0] - np.mean(values)) > error
            lucky[draw] = others.max() - np.mean(values) > error
        yield Measurement(f"{name}: contains", inside.mean(), MIN_COVERAGE, True)
        yield Measurement(f"{name}: contains, equal", inside_equal.mean(), MIN_COVERAGE, True)
        yield Measurement(f"{name}: better", called_better.mean(), MAX_BETTER, False)
        yield Measurement(f"{name}: lucky or unlucky", extreme.mean(), MAX_LUCK, False)
        yield Measurement(f"{name}: best of 10 is lucky", lucky.mean(), 1.0, False)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=400, help="tables of each kind")
    args = parser.parse_args()
    measures = ("linear, accuracy", "linear, Brier score", "neighbours, accuracy")
    is_kept = True
    for measure, rows, test_size in product(measures, (100, 300, 1000), (0.1, 0.33)):
        for measurement in measure_repeats(measure, rows, test_size, args.draws):
            is_kept &= measurement.is_kept
            limit = f"{'at least' if measurement.is_minimum else 'at most'} {measurement.limit}"
            print(f"{measurement.name}: {measurement.share:.3f} ({limit})", flush=True)
    sys.exit(not is_kept)


if __name__ == "__main__":
    main()
