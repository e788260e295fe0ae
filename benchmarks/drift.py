"""Measure how often `drift` gives a false alarm, what it finds, and how right its accuracies are.

Nothing is trained: the rows of each bin and the probabilities of a model are drawn. There are three
simulations:

- `nights`: how often new rows without drift give an alarm in any of 5, 30 or 100 columns, in 400
  nights for each number of new rows, also with rows in groups of ten that are equal. There are
  5,000 training rows, or 500. The columns are numbers with and without missing values, and
  categories, of which the table has 2, 5, 20 or 60.
- `drift`: how often a column among 30 is found to have drifted, in 1,000 draws: by a shift of half
  a standard deviation, a category whose share doubles from 20 %, or 12 % of missing values where
  there were none.
- `expected accuracy`: how often the interval of the expected accuracy contains the accuracy of new
  rows, in 1,000 draws. The logits of the model are too large or too small by a random factor of
  about 1.35. Its temperature is chosen on 500 training rows, and there are 250 test rows. Groups
  have ten rows, of which half of the noise is common. The accuracy is about 0.67, 0.9 or 0.99.

The figures in docs/serving.md and docs/expected-scores.md are from this script. The exit code is
1 if a limit is exceeded.

    python -m benchmarks.drift
"""

from argparse import ArgumentParser
from collections.abc import Iterator
from itertools import chain, cycle, islice, product
from typing import NamedTuple

import numpy as np
from scipy.special import expit, ndtr, ndtri

from benchmarks.intervals import BINARY, Measurement, print_measurements
from keras_tabular.column_statistics.summary import MAX_P_VALUE, NUMBER_BINS, compare_counts
from keras_tabular.config.sections import Drift
from keras_tabular.evaluation.calibration import choose_temperature, scale_by_temperature
from keras_tabular.evaluation.result import compare_with_expected
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.prediction.expected_score import summarize
from keras_tabular.scoring.evaluation import Evaluation
from keras_tabular.scoring.scores import Predictions
from keras_tabular.scoring.uncertainty import ScoredPredictions, deciding_rows

ROWS = (50, 100, 300, 1000)
GROUP_SIZE = 10
# Kinds of columns: the share of missing values of a number, or the shares of categories.
NUMBER, GAPS = 0.0, 0.03
RANKS = np.arange(1, 61)
CATEGORIES = [np.array([0.9, 0.1]), 1 / RANKS[:5], 1 / RANKS[:20], RANKS**-1.5]
KINDS: list[float | np.ndarray] = [NUMBER, GAPS, *CATEGORIES]
Counts = tuple[np.ndarray, np.ndarray]
CALIBRATION_ROWS, TEST_ROWS = 500, 250


def draw_training(rng: np.random.Generator, kind: float | np.ndarray, rows: int) -> Counts:
    """Draw the number of training rows in each bin, and the true shares of the bins.

    The bins of a number are tenths of the training values, and the values beyond them.
    """
    if isinstance(kind, np.ndarray):
        shares = kind / kind.sum()
        shares = np.r_[shares[:20], shares[20:].sum(), 0.0]
        return rng.multinomial(rows, shares), shares
    missing = rng.binomial(rows, kind)
    tenth = (rows - missing) / NUMBER_BINS
    # The true shares between the values of a sample have a Dirichlet distribution.
    shares = rng.dirichlet([1.0, *[tenth] * NUMBER_BINS, 1.0])
    counts = [0, *[tenth] * NUMBER_BINS, 0, missing]
    return np.array(counts), np.r_[shares * (1 - kind), kind]


def has_moved(train: np.ndarray, new: np.ndarray, columns: int, group_size: float = 1.0) -> bool:
    """Return the verdict of `drift` on one of some columns."""
    distance, p_value = compare_counts(train, new, columns, group_size)
    return distance > Drift().distance and p_value < MAX_P_VALUE


def measure_false_alarms(draws: int = 400) -> Iterator[Measurement]:
    for group_size, training_rows, rows in product((1, GROUP_SIZE), (500, 5000), ROWS):
        for columns in (5, 30, 100):
            rng, alarms = np.random.default_rng(0), 0
            for _ in range(draws):
                moved = False
                for kind in islice(cycle(KINDS), columns):
                    train, shares = draw_training(rng, kind, training_rows // group_size)
                    new = rng.multinomial(rows // group_size, shares)
                    counts = train * group_size, new * group_size
                    moved = moved or has_moved(*counts, columns, group_size)
                alarms += moved
            groups = ", groups of ten" if group_size > 1 else ""
            name = f"nights, {columns} columns, {training_rows}/{rows} rows{groups}"
            yield Measurement(name, alarms / draws, 0.05, is_minimum=False)


def shift_number(shares: np.ndarray) -> np.ndarray:
    """Return the shares of the bins after a normal value has grown by half of its deviation."""
    edges = np.clip(np.cumsum(shares[:-1]), 0, 1)
    return np.r_[np.diff(ndtr(ndtri(edges) - 0.5), prepend=0.0), 0.0]


def double_category(shares: np.ndarray) -> np.ndarray:
    """Return the shares after that of the second of five categories has doubled."""
    doubled = shares * (1 - 2 * shares[1]) / (1 - shares[1])
    doubled[1] = 2 * shares[1]
    return doubled


def lose_values(shares: np.ndarray) -> np.ndarray:
    """Return the shares of the bins after 12 % of the values are missing."""
    return np.r_[shares[:-1] * 0.88, 0.12]


def measure_power(draws: int = 1000) -> Iterator[Measurement]:
    five = np.array([0.4, 0.2, 0.2, 0.1, 0.1])
    changes = (
        ("half a deviation", NUMBER, shift_number),
        ("share doubles", five, double_category),
        ("12 % missing", NUMBER, lose_values),
    )
    for (name, kind, change), group_size, rows in product(changes, (1, GROUP_SIZE), ROWS):
        rng, count = np.random.default_rng(0), 0
        for _ in range(draws):
            train, shares = draw_training(rng, kind, 5000 // group_size)
            new = rng.multinomial(rows // group_size, change(shares))
            count += has_moved(train * group_size, new * group_size, 30, group_size)
        groups = ", groups of ten" if group_size > 1 else ""
        least = 0.9 if rows >= 300 and group_size == 1 else 0.0
        yield Measurement(f"drift, {name}, {rows} rows{groups}", count / draws, least, True)


class Model(NamedTuple):
    """A model whose logits are wrong by a factor, and the rows that it predicts.

    Attributes:
        signal: Deviation of the true logits that the columns tell.
        group_size: Number of rows with a common part of the noise; 1 for independent rows.
    """

    rng: np.random.Generator
    signal: float
    group_size: int
    factor: float
    temperature: float = 1.0

    def predict(self, rows: int) -> Predictions:
        """Draw labelled rows, and predict them."""
        group = np.arange(rows) // self.group_size
        logits = self.rng.normal(size=rows) * self.signal
        common, of_row = self.rng.normal(size=(2, rows))
        noise = (common[group] + of_row) * 0.5**0.5
        y = (expit(logits) > ndtr(noise)).astype(float)
        y_pred = scale_by_temperature(expit(self.factor * logits)[:, None], self.temperature)
        is_grouped = self.group_size > 1
        return Predictions(BINARY, y, y_pred, np.ones(rows), group=group if is_grouped else None)


def evaluate(rows: Predictions) -> Evaluation:
    """Return what an evaluation says of the expected accuracy of some rows."""
    row_values = {"accuracy": rows.row_scores}
    values = {"accuracy": float(rows.row_scores.mean())}
    scored = ScoredPredictions(rows, values, row_values, {}, deciding_rows(rows))
    error = compare_with_expected(scored, ModelMetadata())
    return Evaluation(primary_metrics=("accuracy",), scores=(), expected_accuracy_error=error)


def measure_expected_accuracy(draws: int = 1000) -> Iterator[Measurement]:
    sizes = (250, 2000, 20_000)
    for signal, group_size in product((1.0, 6.0, 60.0), (1, GROUP_SIZE)):
        rng, inside = np.random.default_rng(0), dict.fromkeys(sizes, 0)
        for _ in range(draws):
            model = Model(rng, signal, group_size, factor=np.exp(rng.normal(0, 0.3)))
            fold = np.arange(CALIBRATION_ROWS) // GROUP_SIZE % 10
            chosen = choose_temperature(model.predict(CALIBRATION_ROWS), fold)
            model = model._replace(temperature=chosen["temperature"])
            evaluation = evaluate(model.predict(TEST_ROWS))
            for rows in sizes:
                new = model.predict(rows)
                expected = BINARY.expected_scores(new.y_pred, 0.5, None)
                score = summarize([expected], rows, group_size, evaluation)
                low, high = score.interval or (0.0, 1.0)
                inside[rows] += low <= new.row_scores.mean() <= high
        for rows, count in inside.items():
            groups = ", groups of ten" if group_size > 1 else ""
            name = f"expected accuracy, signal {signal:g}, {rows} rows{groups}"
            yield Measurement(name, count / draws, 0.93, is_minimum=True)


def main() -> None:
    ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    print_measurements(chain(measure_false_alarms(), measure_power(), measure_expected_accuracy()))


if __name__ == "__main__":
    main()
