"""Measure how often the statements of `make repeat` are true.

Each draw is a table whose target depends on five columns. Ten more columns are noise.
Two models are trained and scored on several splits of it: linear models scored by the
accuracy or by the squared error, or nearest neighbours scored by the accuracy. The rows
of a cluster are in one part of a split. In time, the test rows of the N repeats are the
N periods of the later half of the rows, and the models learn from the rows before.

- The interval *contains* the true difference of the two models, which is that of models
  trained on tables of this size, over new tables and rows. The first model does not
  read the noise. Of two equal models, each one reads half of it.
- Of two equal models, one is called *better* if its interval is above 0.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy.spatial.distance import cdist

from benchmarks.rows import HEAVY_TAILS, KINDS, Kind, Rows
from benchmarks.simulations import Measurement, Simulations
from keras_tabular.runs.repeat import half_width

COLUMNS = 5
NEIGHBOURS = 15
NUMBERS = (5, 10)
TEST_SIZE = 0.33
SIZES = (300, 1000)
MEASURES = ("linear, accuracy", "linear, MSE", "neighbours, accuracy")


def score_model(measure: str, x: np.ndarray, y: np.ndarray, test: np.ndarray) -> float:
    """Train a model on the rows that are not in `test`, and score it on the others.

    Args:
        measure: The name of the model and of the measure.
        x: Columns that the model reads; shape (rows, columns).
        y: Values of the target, or classes 0 or 1; shape (rows,).
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
    if measure == "linear, MSE":
        return -float(((predicted - y[test]) ** 2).mean())
    return float(((predicted > 0.5) == y[test]).mean())


def split_rows(drawn: Rows, number: int) -> list[np.ndarray]:
    """Return which rows are test rows (1), training rows (0) or unused (-1).

    Returns:
        An array of shape (rows,) for each of the splits.
    """
    rows = drawn.rows
    order = np.arange(rows)
    if drawn.kind.autocorrelation:
        size = rows // (2 * number)
        starts = rows - size * np.arange(1, number + 1)
        return [np.where(order >= start + size, -1, order >= start) for start in starts]
    unit = order if drawn.group is None else drawn.group
    units = unit.max() + 1
    n_test = round(TEST_SIZE * units)
    return [(drawn.rng.permutation(units) < n_test)[unit] * 1 for _ in range(number)]


def draw_scores(
    measure: str,
    kind: Kind,
    rows: int,
    number: int,
    draws: int,
) -> tuple[np.ndarray, float]:
    """Draw tables, and score four models on the splits of each one.

    The models read no noise, one half of it, the other half, and all of it.

    Returns:
        The scores, shape (draws, splits, 4), and the mean number of test rows divided
        by that of training rows.
    """
    rng = np.random.default_rng(rows)
    scores = np.empty((draws, number, 4))
    n_test = n_train = 0
    for draw in range(draws):
        drawn = Rows(rng, kind, rows)
        x = np.column_stack([drawn.draw() for _ in range(3 * COLUMNS)])
        errors = drawn.draw()
        if kind.quantile and measure == "linear, MSE":
            errors = kind.quantile(errors)
        y = x[:, :COLUMNS].sum(axis=1) + 2 * errors
        if measure != "linear, MSE":
            y = (y > 0).astype(np.float64)
        halves = x[:, : 2 * COLUMNS], np.delete(x, slice(COLUMNS, 2 * COLUMNS), axis=1)
        for split, mask in enumerate(split_rows(drawn, number)):
            is_used = mask >= 0
            test = mask[is_used] == 1
            n_test += test.sum()
            n_train += (~test).sum()
            for model, columns in enumerate((x[:, :COLUMNS], *halves, x)):
                score = score_model(measure, columns[is_used], y[is_used], test)
                scores[draw, split, model] = score
    return scores, n_test / n_train


def measure_repeats(
    name: str,
    draws: int,
    measures: Sequence[str] = MEASURES,
) -> Iterator[Measurement]:
    """Yield how often the interval of the difference of two models is right."""
    kind = KINDS[name]
    for measure, rows, number in product(measures, SIZES, NUMBERS):
        if rows not in kind.sizes or ("neighbours" in measure and rows > min(SIZES)):
            continue  # many neighbours take too long
        scores, test_share = draw_scores(measure, kind, rows, number, draws)
        changes = scores[..., 0] - scores[..., 3], scores[..., 1] - scores[..., 2]
        where = f"{name}, {measure}, {rows} rows, N={number}"
        for differences, truth in zip(changes, (changes[0].mean(), 0.0), strict=True):
            widths = [half_width(each.tolist(), test_share) for each in differences]
            means = differences.mean(axis=1)
            share = float((abs(means - truth) <= widths).mean())
            claim = "contains the true difference"
            limit = None if kind.quantile else 0.93
            yield Measurement(claim, kind.family, where, share, limit, True)
        share = float((means > widths).mean())
        claim = "one of two equal models is better"
        yield Measurement(claim, kind.family, where, share, 0.05)


def measure_errors(name: str, draws: int) -> Iterator[Measurement]:
    yield from measure_repeats(name, draws, ["linear, MSE"])


SIMULATIONS: Simulations = {
    measure_repeats: ("independent", "clusters", "Zipf", "AR 0.5", "AR 0.9", "AR 0.97"),
    measure_errors: HEAVY_TAILS,
}
