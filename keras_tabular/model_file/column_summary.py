"""A summary of each column of the training rows, with which other rows are compared."""

from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.typed_yaml import Section
from keras_tabular.model_file.bins import (
    Bins,
    drop_missing,
    most_frequent,
    numeric_values,
    unknown_mask,
)

NUMBER_BINS, CATEGORY_BINS = 10, 20
BACKGROUND_SIZE = 16  # values of a column
DRAWS, DEVIATIONS = 100, 4.0  # draws of two equal tables; a larger distance is not chance


class ColumnSummary(Section, extra="ignore"):
    """Summary of a column of some rows.

    Attributes:
        edges, categories: The bins, see `Bins`; of a text, bins of its length.
        counts: Number of rows in each bin.
        background: Some values, each as frequent as in the rows, None for a missing value. A text
            has none, since it belongs to one row.
        unknown: Share of the rows whose category the model does not know.
    """

    feature_type: Literal["number", "datetime", "category", "text"]
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
        is_category = column.feature_type == "category"
        count = CATEGORY_BINS if is_category else NUMBER_BINS
        bins = Bins.from_values(values, column, count, outside=True)
        unknown = 0.0 if categories is None else unknown_mask(values, categories, column).mean()
        return cls(
            feature_type=column.feature_type,
            edges=tuple(bins.edges.tolist()),
            categories=bins.categories,
            counts=tuple(bins.counts(values).tolist()),
            background=() if column.feature_type == "text" else _background(values, column),
            unknown=round(float(unknown), 6),
        )

    def bins(self, column: Column) -> Bins:
        """Return the bins of the column that was summarized."""
        return Bins(column, np.array(self.edges), self.categories, outside=True)


def summarize_columns(
    rows: pa.Table, schema: Schema, categories: Mapping[str, list[str]]
) -> dict[str, ColumnSummary]:
    """Summarize each column that the model reads.

    Args:
        categories: The categories that the model knows, for the columns where it knows only some.
    """
    return {
        name: ColumnSummary.from_values(rows[name], column, categories.get(name))
        for name, column in schema.features.items()
    }


def _background(values: pa.ChunkedArray, column: Column) -> tuple[float | str | None, ...]:
    """Take values at equal distances from the sorted rows; missing values come last."""
    if column.is_string:
        counts = most_frequent(drop_missing(values, column))
        ordered = [value for value, count in counts for _ in range(count)]
    else:
        ordered = np.sort(numeric_values(values, column)).tolist()
    rows = (np.arange(BACKGROUND_SIZE) + 0.5) / BACKGROUND_SIZE * len(values)
    return tuple(ordered[int(row)] if row < len(ordered) else None for row in rows)


def total_variation(
    first: np.ndarray, second: np.ndarray, group_size: float = 1.0
) -> tuple[float, float]:
    """Compute how far two tables are apart in a column, and how far chance moves equal tables.

    The distance is the share of the rows that would have to be in another bin for the tables to be
    alike (total variation).

    Args:
        first, second: Number of rows of each table in each bin, (bins,).
        group_size: Number of rows that depend on each other, see `groups.mean_group_size`.
    """
    sizes = [round(counts.sum()) for counts in (first, second)]
    if not all(sizes):
        return 0.0, 0.0

    rng, shares = np.random.default_rng(0), (first + second) / (first + second).sum()
    independent = [max(round(size / group_size), 1) for size in sizes]
    drawn = [rng.multinomial(size, shares, DRAWS) / size for size in independent]
    by_chance = np.abs(drawn[0] - drawn[1]).sum(axis=1) / 2
    distance = np.abs(first / sizes[0] - second / sizes[1]).sum() / 2
    return float(distance), float(by_chance.mean() + DEVIATIONS * by_chance.std())
