"""Measure how often the statements of `make repeat` are true, on simulated tables.

Each draw is a table of 100 to 1,000 rows whose two classes depend on five columns. Ten
more columns are noise. Two models are trained and scored on 20 random splits of it: a
linear model scored by accuracy or by the Brier score, or nearest neighbours scored by
accuracy. The names of the lines say what is measured for the first N splits:

- `contains`: the interval contains the true difference of the two models, which is that
  of models trained on tables of this size, over new tables and rows. The first model
  does not read the noise.
- `contains, equal`: the same for two equal models, each with half of the noise.
- `better`: of two equal models, the first one is called significantly better.

With `periods`, the test rows of the N repeats are the N periods of the later half of
the rows, as with `split.by: time`, and the models learn from the rows before. The rows
are independent.

The figures in benchmarks/EVIDENCE.md are from this script. The exit code is 1 if a
limit is missed.

    python -m benchmarks.repeats
"""

from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import expit

from benchmarks.simulations import Measurement, at_least, at_most, simulate
from keras_tabular.runs.repeat import half_width

COLUMNS = 5
NEIGHBOURS = 15
NUMBERS = (5, 10, 20)
MEASURES = ("linear, accuracy", "linear, Brier score", "neighbours, accuracy")
MIN_COVERAGE = 0.93
MAX_BETTER = 0.05


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


def draw_scores(
    measure: str,
    rows: int,
    masks: list[np.ndarray],
    draws: int,
) -> np.ndarray:
    """Score models on splits of random tables.

    Args:
        masks: Whether each row is a test row, by split: 1, and 0 for training; others
            are unused.

    Returns:
        Scores of a model without noise, with half of the noise, with the other half and
        with all of it; shape (draws, splits, 4).
    """
    rng = np.random.default_rng(rows)
    scores = np.empty((draws, len(masks), 4))
    for draw in range(draws):
        x = rng.normal(size=(rows, 3 * COLUMNS))
        y = (rng.random(rows) < expit(x[:, :COLUMNS].sum(axis=1))).astype(np.float64)
        halves = x[:, : 2 * COLUMNS], np.delete(x, slice(COLUMNS, 2 * COLUMNS), axis=1)
        for split, mask in enumerate(masks):
            in_split = mask >= 0
            for number, columns in enumerate((x[:, :COLUMNS], *halves, x)):
                score = score_model(
                    measure,
                    columns[in_split],
                    y[in_split],
                    mask[in_split] == 1,
                )
                scores[draw, split, number] = score
    return scores


def compare_models(
    scores: np.ndarray,
    name: str,
    test_share: float,
) -> Iterator[Measurement]:
    """Measure how often the interval of the difference is right.

    Args:
        scores: Result of `draw_scores`; shape (draws, N, 4).
        name: The simulation.
        test_share: Number of test rows divided by the number of training rows.
    """
    changes = scores[..., 0] - scores[..., 3], scores[..., 1] - scores[..., 2]
    truths = (float(changes[0].mean()), 0.0)
    suffixes = ("contains", "contains, equal")
    for differences, truth, suffix in zip(changes, truths, suffixes, strict=True):
        errors = np.array(
            [half_width(values.tolist(), test_share) for values in differences],
        )
        means = differences.mean(axis=1)
        inside = (abs(means - truth) <= errors).mean()
        yield at_least(f"{name}: {suffix}", float(inside), MIN_COVERAGE)
    yield at_most(f"{name}: better", float((means > errors).mean()), MAX_BETTER)


def repeat_splits(
    measure: str,
    rows: int,
    test_size: float,
    draws: int,
) -> Iterator[Measurement]:
    """Measure all shares for random splits."""
    rng = np.random.default_rng(0)
    n_test = round(test_size * rows)
    splits = [(rng.permutation(rows) < n_test).astype(int) for _ in range(max(NUMBERS))]
    scores = draw_scores(measure, rows, splits, draws)
    for number in NUMBERS:
        name = f"{measure}, {rows} rows, test_size {test_size}, N={number}"
        yield from compare_models(scores[:, :number], name, n_test / (rows - n_test))


def repeat_periods(
    measure: str,
    rows: int,
    number: int,
    draws: int,
) -> Iterator[Measurement]:
    """Measure how often the interval of the difference is right for periods."""
    size = rows // (2 * number)
    order = np.arange(rows)
    starts = rows - size * np.arange(1, number + 1)
    masks = [np.where(order >= start + size, -1, order >= start) for start in starts]
    scores = draw_scores(measure, rows, masks, draws)
    name = f"{measure}, {rows} rows, periods, N={number}"
    yield from compare_models(scores, name, number * size / sum(starts))


def measure_repeats(draws: int = 400) -> Iterator[Measurement]:
    for measure, rows, number in product(MEASURES, (300, 1000), (5, 10)):
        yield from repeat_periods(measure, rows, number, draws)
    for measure, rows, test_size in product(MEASURES, (100, 300, 1000), (0.1, 0.33)):
        if (measure, rows) != ("neighbours, accuracy", 1000):  # it would take longest
            yield from repeat_splits(measure, rows, test_size, draws)


main = partial(simulate, __name__)

if __name__ == "__main__":
    main()
