"""Bins of a column: ranges of numbers, dates or text lengths, categories, missing values."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import Column
from keras_tabular.core.errors import truncate
from keras_tabular.table.cells import YEAR_1, YEAR_10000, as_float64

MISSING, OTHERS = "missing", "others"
SECONDS_PER_DAY = 86_400
ROUNDED_DIGITS = 4, 6  # significant digits of edges; the first number that separates the values
MAX_EXACT_INTEGER = 1e15  # above, a float has no digits after the point


class Bins(NamedTuple):
    """Bins of a column of numbers, datetimes (seconds), texts (characters) or categories.

    Bin i contains the values from edge i - 1 up to, but not including, edge i. The last bin is for
    missing values. In a category column, the last but one is for all other categories.

    Attributes:
        edges: Edges in ascending order, shape (n,); empty for categories.
        categories: Categories that have a bin each.
        values: The only value of each bin, shape (n + 1,), if the column has few values.
        outside: Whether the first and the last bin are for values outside of the range. Then the
            first edge is the lowest value, and the last edge is just above the highest value.
    """

    column: Column
    edges: np.ndarray
    categories: tuple[str, ...]
    values: tuple[float, ...] = ()
    outside: bool = False

    @classmethod
    def from_values(
        cls,
        values: pa.ChunkedArray,
        column: Column,
        count: int,
        categories: int,
        *,
        outside: bool = False,
    ) -> Self:
        """Build about `count` bins with equally many values, or a bin for each of few values.

        Args:
            categories: Number of the most frequent categories that get a bin each.
        """
        if column.feature_type == "category":
            frequent = most_frequent(values.drop_null())[:categories]
            return cls(column, np.empty(0), tuple(category for category, _ in frequent))
        numbers = numeric_values(values, column)
        if not len(numbers):
            return cls(column, np.empty(0), ())
        distinct = np.unique(numbers)
        has_few_values = len(distinct) <= count
        edges = distinct[1:]
        if not has_few_values:
            inner = quantiles(numbers, count)[1:-1]
            inner[inner == distinct[0]] = distinct[1]  # the lowest value then has its own bin
            edges = round_edges(np.unique(inner), distinct[0], column)
        if outside:
            edges = np.r_[distinct[0], edges, np.nextafter(distinct[-1], np.inf)]
            return cls(column, edges, (), outside=True)
        return cls(column, edges, (), tuple(distinct.tolist()) if has_few_values else ())

    def counts(self, values: pa.ChunkedArray) -> np.ndarray:
        """Count the rows in each bin: int64, shape (bins,)."""
        return np.bincount(self.codes(values), minlength=len(self.names))

    def codes(self, values: pa.ChunkedArray) -> np.ndarray:
        """Return the number of the bin of each value: int16, shape (rows,)."""
        missing = missing_mask(values)
        if self.column.feature_type == "category":
            indices = pc.index_in(values, value_set=pa.array(self.categories, pa.string()))
            codes = pc.fill_null(indices, len(self.categories)).to_numpy().astype(np.int16)
        else:
            codes = np.zeros(len(missing), np.int16)
            numbers = numeric_values(values, self.column)
            codes[~missing] = np.searchsorted(self.edges, numbers, side="right")
        codes[missing] = len(self.names) - 1
        return codes

    @property
    def names(self) -> list[str]:
        """Name of each bin, such as "1 to below 2"."""
        if self.column.feature_type == "category":
            return [*map(truncate, self.categories), OTHERS, MISSING]
        unit = " characters" if self.column.feature_type == "text" else ""
        ranges = [f"{text}{unit}" for text in self._ranges()]
        return [*(ranges or ["any value"]), MISSING]

    def _ranges(self) -> list[str]:
        if self.column.kind == "boolean" and self.values:
            return [str(bool(value)).lower() for value in self.values]
        if self.values:
            return [format_value(value, self.column) for value in self.values]
        if not len(self.edges):
            return []
        ends = [format_value(edge, self.column) for edge in self.edges]
        between = [f"{low} to below {high}" for low, high in pairwise(ends)]
        if not self.outside:
            return [f"below {ends[0]}", *between, f"{ends[-1]} or more"]
        *_, last, _ = ends
        highest = format_value(float(np.nextafter(self.edges[-1], -np.inf)), self.column)
        top = last if last == highest else f"{last} to {highest}"
        return [f"below {ends[0]}", *between[:-1], top, f"above {highest}"]


def quantiles(numbers: np.ndarray, count: int) -> np.ndarray:
    """Return the values that divide numbers into `count` equal parts: shape (count + 1,)."""
    return np.quantile(numbers, np.linspace(0, 1, count + 1), method="nearest")


def missing_mask(values: pa.ChunkedArray) -> np.ndarray:
    """Return where a value is missing: bool, shape (rows,)."""
    return pc.is_null(values).to_numpy(zero_copy_only=False)


def is_among(values: pa.ChunkedArray, allowed: pa.Array) -> np.ndarray:
    """Return where a value is one of `allowed`: bool, shape (rows,)."""
    return pc.is_in(values, value_set=allowed).to_numpy(zero_copy_only=False).astype(bool)


def unknown_mask(values: pa.ChunkedArray, categories: list[str]) -> np.ndarray:
    """Return where a value is neither missing nor one of `categories`: bool, shape (rows,)."""
    return ~missing_mask(values) & ~is_among(values, pa.array(categories, pa.string()))


def most_frequent(values: pa.ChunkedArray) -> list[tuple[Any, int]]:
    """Return each value with its number of rows: by this number, then in alphabetical order."""
    counts = [(count["values"], count["counts"]) for count in values.value_counts().to_pylist()]
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))


def numeric_values(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Return the numbers, datetimes (seconds) or text lengths that are not missing: float64."""
    present = values.drop_null()
    if column.feature_type == "text":
        return pc.utf8_length(present).to_numpy().astype(np.float64)
    return np.asarray(as_float64(present, column).to_numpy(), np.float64)


def share_outside(train: pa.ChunkedArray, test: pa.ChunkedArray, column: Column) -> float:
    """Compute the share of test values outside the training range, or of unknown categories."""
    present = test.drop_null()
    if column.feature_type == "text" or not len(present):
        return 0.0
    if column.feature_type == "category":
        return 1 - float(is_among(present, train.unique()).mean())
    values, train_values = (numeric_values(each, column) for each in (present, train))
    low, high = train_values.min(initial=np.inf), train_values.max(initial=-np.inf)
    return float(np.mean((values < low) | (values > high)))


def round_edges(edges: np.ndarray, lowest: float, column: Column) -> np.ndarray:
    """Round edges to few digits or to the day, if the rounded edges also separate the values."""
    candidates = [np.array([float(f"{edge:.{n}g}") for edge in edges]) for n in ROUNDED_DIGITS]
    if column.feature_type == "datetime":
        candidates = [edges // SECONDS_PER_DAY * SECONDS_PER_DAY]
    for rounded in map(np.unique, candidates):
        if len(rounded) == len(edges) and rounded[0] > lowest:
            return rounded
    return edges


def format_value(value: float, column: Column) -> str:
    """Format a number with the digits that it has, or a datetime to the day or the second."""
    if column.feature_type == "datetime":
        timestamp = datetime.fromtimestamp(min(max(value, YEAR_1), YEAR_10000 - 1), UTC)
        is_day = not value % SECONDS_PER_DAY
        return f"{timestamp:%Y-%m-%d}" if is_day else f"{timestamp:%Y-%m-%d %H:%M:%S}"
    if value.is_integer() and abs(value) < MAX_EXACT_INTEGER:
        return str(int(value))
    short = f"{value:g}"
    return short if float(short) == value else str(value)
