"""Bootstrap draws of rows: which rows are drawn, and how often."""

from collections.abc import Iterator

import numpy as np

from keras_tabular.table.groups import rarest_classes

MAX_DRAWN_ROWS = 10_000  # of a regression; a class has fewer, see `rows_to_draw`
MIN_DRAWN_ROWS = 30  # of each class
MAX_WEIGHTS = 2**21  # in memory at a time


def rows_to_draw(classes: np.ndarray, group: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows that are drawn: all rows, or a sample if there are many.

    A sample has the first groups of each class, so that a rare class is complete. Each group
    belongs to its rarest class, and without groups every row is a group. If the groups are so large
    that the sample still has many rows, only every n-th row is drawn.

    Returns:
        The indices of the rows, and how many rows each one represents; both of shape (drawn,).
    """
    rows = len(classes)
    group = np.arange(rows) if group is None else np.unique(group, return_inverse=True)[1]
    rarest, _ = rarest_classes(classes, group)
    strata = [np.flatnonzero(rarest == k) for k in np.unique(rarest)]
    # All classes are scored in every row, so the work grows with the square of their number.
    limit = max(MAX_DRAWN_ROWS // len(strata) ** 2, MIN_DRAWN_ROWS)
    if rows <= limit * len(strata):
        return np.arange(rows), np.ones(rows)
    sizes, copies = np.bincount(group), np.zeros(len(rarest))
    for groups in strata:
        ends = np.cumsum(sizes[groups])
        first = groups[: max(int(np.searchsorted(ends, limit, side="right")), MIN_DRAWN_ROWS)]
        copies[first] = len(groups) / len(first)
    drawn = np.flatnonzero(copies[group])
    if (step := len(drawn) // (limit * len(strata))) > 1:
        by_group_and_class = drawn[np.lexsort((classes[drawn], group[drawn]))]
        drawn = np.sort(by_group_and_class[::step])
    return drawn, copies[group[drawn]]


def resampling_weights(
    copies: np.ndarray, draws: int, group: np.ndarray | None
) -> Iterator[np.ndarray]:
    """Yield how often each row is drawn, for some of the draws at a time.

    The counts follow a Poisson distribution, as in draws from many rows. A row that represents
    others is drawn as often as all of these, and rows of a group are drawn together.

    Args:
        copies: Number of rows that each row represents, shape (rows,).
        draws: Number of draws.
        group: Number of the group of each row, shape (rows,); None if the rows are independent.

    Yields:
        float64, shape (some draws, rows).
    """
    rng, draws_at_a_time = np.random.default_rng(0), max(MAX_WEIGHTS // len(copies), 1)
    if group is not None:
        _, first_rows, group = np.unique(group, return_index=True, return_inverse=True)
        copies = copies[first_rows]
    for start in range(0, draws, draws_at_a_time):
        shape = (min(draws_at_a_time, draws - start), len(copies))
        counts = rng.poisson(copies, shape).astype(np.float64)
        yield counts if group is None else counts[:, group]
