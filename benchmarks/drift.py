"""Measure how often `drift` gives a false alarm, and what it finds.

Nothing is trained: the rows of each bin are drawn. There are two simulations:

- `nights`: how often new rows without drift give an alarm in any of 5, 30 or 100
  columns, in 400 nights for each number of new rows, also with rows in groups of ten
  that are equal. There are 5,000 training rows, or 500. The columns are numbers with
  and without missing values, and categories, of which the table has 2, 5, 20 or 60.
- `drift`: how often a column among 30 is found to have drifted, in 1,000 draws: by a
  shift of half a standard deviation, a category whose share doubles from 20 %, 12 % of
  missing values where there were none, or a shift whose true distance is below the
  limit.

The figures in benchmarks/EVIDENCE.md are from this script. The exit code is 1 if a
limit is exceeded.

    python -m benchmarks.drift
"""

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice, product

import numpy as np
from scipy.special import ndtr, ndtri

from benchmarks.simulations import Measurement, at_least, at_most, simulate
from keras_tabular.config.sections import Drift
from keras_tabular.table.profile import MAX_P_VALUE, NUMBER_BINS, compare_counts

ROWS = (50, 100, 300, 1000)
SMALL = "a distance of 0.076"  # less than the limit
GROUP_SIZE = 10
# Kinds of columns: the share of missing values of a number, or the shares of
# categories.
NUMBER = 0.0
GAPS = 0.03
RANKS = np.arange(1, 61)
CATEGORIES = [np.array([0.9, 0.1]), 1 / RANKS[:5], 1 / RANKS[:20], RANKS**-1.5]
KINDS: list[float | np.ndarray] = [NUMBER, GAPS, *CATEGORIES]
Counts = tuple[np.ndarray, np.ndarray]


def draw_training(
    rng: np.random.Generator,
    kind: float | np.ndarray,
    rows: int,
) -> Counts:
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


def has_moved(
    train: np.ndarray,
    new: np.ndarray,
    columns: int,
    group_size: float = 1.0,
) -> bool:
    """Return the verdict of `drift` on one of some columns."""
    distance, p_value = compare_counts(train, new, columns, group_size)
    return distance > Drift().distance and p_value < MAX_P_VALUE


def measure_false_alarms(draws: int = 400) -> Iterator[Measurement]:
    for group_size, training_rows, rows in product((1, GROUP_SIZE), (500, 5000), ROWS):
        for columns in (5, 30, 100):
            rng = np.random.default_rng(0)
            alarms = 0
            for _ in range(draws):
                moved = False
                for kind in islice(cycle(KINDS), columns):
                    train, shares = draw_training(
                        rng,
                        kind,
                        training_rows // group_size,
                    )
                    new = rng.multinomial(rows // group_size, shares)
                    counts = train * group_size, new * group_size
                    moved = moved or has_moved(*counts, columns, group_size)
                alarms += moved
            groups = ", groups of ten" if group_size > 1 else ""
            name = f"nights, {columns} columns, {training_rows}/{rows} rows{groups}"
            yield at_most(name, alarms / draws, 0.05)


def shift_number(shares: np.ndarray, deviations: float = 0.5) -> np.ndarray:
    """Return the shares of the bins after a normal value has grown."""
    edges = np.clip(np.cumsum(shares[:-1]), 0, 1)
    return np.r_[np.diff(ndtr(ndtri(edges) - deviations), prepend=0.0), 0.0]


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
        (SMALL, NUMBER, partial(shift_number, deviations=0.19)),
    )
    for (name, kind, change), group_size, rows in product(
        changes,
        (1, GROUP_SIZE),
        ROWS,
    ):
        rng = np.random.default_rng(0)
        count = 0
        for _ in range(draws):
            train, shares = draw_training(rng, kind, 5000 // group_size)
            new = rng.multinomial(rows // group_size, change(shares))
            count += has_moved(train * group_size, new * group_size, 30, group_size)
        groups = ", groups of ten" if group_size > 1 else ""
        title = f"drift, {name}, {rows} rows{groups}"
        share = count / draws
        least = 0.9 if rows >= 300 and group_size == 1 else 0.0
        yield (
            at_most(title, share, 0.1)
            if name == SMALL
            else at_least(title, share, least)
        )


main = partial(simulate, __name__)

if __name__ == "__main__":
    main()
