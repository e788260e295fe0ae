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
DRAWS = 100  # of two tables that differ by chance alone
MAX_DEVIATIONS = 4.0  # of their distances from the mean distance; more is not chance


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
        kind = column.feature_type
        own_bins = Bins.from_values(values, column, NUMBER_BINS, CATEGORY_BINS, outside=True)
        unknown = 0.0 if categories is None else bins.unknown_mask(values, categories).mean()
        return cls(
            feature_type=kind,
            edges=tuple(own_bins.edges.tolist()),
            categories=own_bins.categories,
            counts=tuple(own_bins.counts(values).tolist()),
            background=() if kind == "text" else _evenly_spaced(values, column),
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


def total_variation(
    first: np.ndarray, second: np.ndarray, group_size: float = 1.0
) -> tuple[float, float]:
    """Compute the distance between two tables in a column, and the distance that chance explains.

    The distance is the share of the rows that would have to be in another bin for the tables to be
    equal (total variation).

    Args:
        first: Number of rows of one table in each bin, shape (bins,).
        second: Number of rows of the other table in each bin, shape (bins,).
        group_size: Number of rows that depend on each other: `groups.mean_group_size`.
    """
    sizes = [round(counts.sum()) for counts in (first, second)]
    if not all(sizes):
        return 0.0, 0.0
    rng, shares = np.random.default_rng(0), (first + second) / (first + second).sum()
    independent = [max(round(size / group_size), 1) for size in sizes]
    drawn = [rng.multinomial(size, shares, DRAWS) / size for size in independent]
    by_chance = np.abs(drawn[0] - drawn[1]).sum(axis=1) / 2
    distance = np.abs(first / sizes[0] - second / sizes[1]).sum() / 2
    return float(distance), float(by_chance.mean() + MAX_DEVIATIONS * by_chance.std())
