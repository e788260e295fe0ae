"""A summary of each column of the training rows, with which other rows are compared."""

from typing import Self

import numpy as np
import pyarrow as pa

from keras_tabular.column_statistics import bins
from keras_tabular.column_statistics.bins import Bins
from keras_tabular.config.schema import Column, FeatureType
from keras_tabular.config.typed_yaml import Section

NUMBER_BINS, CATEGORY_BINS = 10, 20
BACKGROUND_SIZE = 16  # values of a column
MAX_P_VALUE = 0.01  # of a column that differs by more than chance
MIN_EXPECTED_ROWS = 3.0  # of each table in a bin of the chi-squared test


class ColumnSummary(Section, extra="ignore"):
    """Summary of a column in a sample of rows.

    Attributes:
        edges: Edges of the `Bins`; for texts, of their lengths.
        categories: Categories of the `Bins`.
        counts: Number of rows in each bin.
        background: Values as frequent as in the rows, None for a missing value. There are none for
            texts, each of which belongs to one row.
        unknown: Share of the rows whose category the model does not know.
    """

    feature_type: FeatureType
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    background: tuple[float | str | None, ...] = ()
    unknown: float = 0.0

    @classmethod
    def from_values(
        cls, values: pa.ChunkedArray, column: Column, categories: list[str] | None = None
    ) -> Self:
        """Summarize a column of at least one row.

        Args:
            categories: The categories that the model knows; None if it knows all of them.
        """
        own_bins = Bins.from_values(values, column, NUMBER_BINS, CATEGORY_BINS, outside=True)
        unknown = 0.0 if categories is None else bins.unknown_mask(values, categories).mean()
        return cls(
            feature_type=column.feature_type,
            edges=tuple(own_bins.edges.tolist()),
            categories=own_bins.categories,
            counts=tuple(own_bins.counts(values).tolist()),
            background=() if column.feature_type == "text" else _evenly_spaced(values, column),
            unknown=round(float(unknown), 6),
        )

    def bins(self, column: Column) -> Bins:
        """Return the bins of the column that was summarized."""
        return Bins(column, np.array(self.edges), self.categories, outside=True)


def _evenly_spaced(values: pa.ChunkedArray, column: Column) -> tuple[float | str | None, ...]:
    """Take values at equal distances from the sorted rows; missing values come last."""
    if column.is_string:
        counts = bins.most_frequent(values.drop_null())
        ordered = [value for value, count in counts for _ in range(count)]
    else:
        ordered = np.sort(bins.numeric_values(values, column)).tolist()
    rows = (np.arange(BACKGROUND_SIZE) + 0.5) / BACKGROUND_SIZE * len(values)
    return tuple(ordered[int(row)] if row < len(ordered) else None for row in rows)


def compare_counts(
    first: np.ndarray, second: np.ndarray, columns: int, group_size: float = 1.0
) -> tuple[float, float]:
    """Compute how far two tables differ in a column, and how likely chance explains that.

    The distance is the share of the rows that would have to be in another bin for the tables to be
    equal (total variation). The p-value is that of two tests together:

    - A chi-squared test of the bins in which at least `MIN_EXPECTED_ROWS` rows are expected.
    - A binomial test of each other bin, such as missing values or a new category: whether it is too
      frequent in the second table.

    Both tables have fewer independent rows if rows are in groups (Rao and Scott, "The analysis of
    categorical data from complex sample surveys", 1981).

    Args:
        first: Number of rows of one table in each bin, shape (bins,).
        second: Number of rows of the other table in each bin, shape (bins,).
        columns: Number of columns that are compared, for Bonferroni's correction.
        group_size: Number of rows that depend on each other: `groups.mean_group_size`.

    Returns:
        The distance, and the probability that rows of equal tables differ as much in any of the
        columns. The numbers are rounded, so that every CPU comes to the same decision.
    """
    from scipy.special import betainc, chdtrc  # importing it takes 0.2 s

    counts = np.stack([first, second]) / group_size
    sizes = counts.sum(axis=1)
    distance = np.abs(counts[0] / sizes[0] - counts[1] / sizes[1]).sum() / 2
    shares = sizes / sizes.sum()
    is_frequent = counts.sum(axis=0) * shares.min() >= MIN_EXPECTED_ROWS
    observed, rare = counts[:, is_frequent], counts[:, ~is_frequent]
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / max(observed.sum(), 1)
    statistic = (np.square(observed - expected) / np.maximum(expected, 1e-9)).sum()
    chi_squared = chdtrc(max(observed.shape[1] - 1, 1), statistic)
    tails = betainc(rare[1], rare[0] + 1, shares[1])
    binomial = max(len(tails), 1) * np.nanmin([1.0, *tails])
    p_value = min(2 * columns * min(chi_squared, binomial), 1.0)
    return round(float(distance), 9), float(f"{p_value:.9g}")
