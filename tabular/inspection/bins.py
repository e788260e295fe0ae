"""A column in few bins: ranges of numbers, moments or lengths, categories, and gaps."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Column
from tabular.core.errors import truncate
from tabular.table.cells import YEAR_1, YEAR_10000, as_float64, is_missing

MISSING, OTHERS = "missing", "others"
DAY = 86_400  # seconds


class Bins(NamedTuple):
    """The bins of a column of numbers, moments (seconds) or texts (characters), or of categories.

    Bin i is from edge i - 1 on, below edge i. The last bins are other categories, and gaps.
    """

    column: Column
    edges: np.ndarray  # (n,), sorted; none of categories
    categories: tuple[str, ...]  # a bin each
    values: tuple[float, ...] = ()  # (n + 1,), where each bin has one alone
    outside: bool = False  # the outer edges are the lowest value and just above the highest

    @classmethod
    def of(
        cls, values: pa.ChunkedArray, column: Column, count: int, *, outside: bool = False
    ) -> Self:
        """Some `count` bins of about as many of these values each; of few values one for each."""
        if column.feature_type == "category":
            found = most_frequent(drop_missing(values, column))
            return cls(column, np.empty(0), tuple(value for value, _ in found[:count]))
        sizes = np.sort(numeric_values(values, column))
        if not len(sizes):
            return cls(column, np.empty(0), ())
        different = np.unique(sizes)
        alone: tuple[float, ...] = ()
        if len(different) <= count:
            edges, alone = different[1:], tuple(different.tolist())
        else:
            places = np.linspace(0, 1, count + 1)[1:-1]
            quantiles = np.unique(np.quantile(sizes, places, method="nearest"))
            if quantiles[0] == sizes[0]:  # which is then a bin of its own
                quantiles[0] = different[1]
            edges = round_edges(np.unique(quantiles), sizes[0], column)
        if outside:
            edges, alone = np.r_[sizes[0], edges, np.nextafter(sizes[-1], np.inf)], ()
        return cls(column, edges, (), alone, outside)

    def counts(self, values: pa.ChunkedArray) -> np.ndarray:
        """How many rows are in each bin: float64, (bins,)."""
        return np.bincount(self.codes(values), minlength=len(self.names)).astype(np.float64)

    def codes(self, values: pa.ChunkedArray) -> np.ndarray:
        """The bin of each value: int16, (rows,)."""
        missing = missing_mask(values, self.column)
        if self.column.feature_type == "category":
            places = pc.index_in(values, value_set=pa.array(self.categories, pa.string()))
            codes = pc.fill_null(places, len(self.categories)).to_numpy().astype(np.int16)
        else:
            codes = np.zeros(len(missing), np.int16)
            sizes = numeric_values(values, self.column)
            codes[~missing] = np.searchsorted(self.edges, sizes, side="right")
        codes[missing] = len(self.names) - 1
        return codes

    @property
    def names(self) -> list[str]:
        """What each bin holds, in words."""
        if self.column.feature_type == "category":
            return [*map(truncate, self.categories), OTHERS, MISSING]
        unit = " characters" if self.column.feature_type == "text" else ""
        ranges = [f"{text}{unit}" for text in self._ranges()]
        return [*(ranges or ["any value"]), MISSING]

    def _ranges(self) -> list[str]:
        """What each bin of numbers, moments or lengths holds; empty where no value has a size."""
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


def missing_mask(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Where a value is missing: bool, (rows,)."""
    return is_missing(values, column).to_numpy(zero_copy_only=False).astype(bool)


def is_among(values: pa.ChunkedArray, known: pa.Array) -> np.ndarray:
    """Where a value is one of these: bool, (rows,)."""
    return pc.is_in(values, value_set=known).to_numpy(zero_copy_only=False).astype(bool)


def most_frequent(values: pa.ChunkedArray) -> list[tuple[Any, int]]:
    """Each different value and how many rows have it, the most frequent one first."""
    found = ((of["values"], of["counts"]) for of in values.value_counts().to_pylist())
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))


def drop_missing(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """The values that are not missing."""
    return values.filter(pc.invert(is_missing(values, column)))


def numeric_values(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Numbers as they are, moments in seconds, texts by their length: float64, (present,).

    Of those that are not missing.
    """
    present = drop_missing(values, column)
    if column.feature_type == "text":
        return pc.utf8_length(present).to_numpy().astype(np.float64)
    return np.asarray(as_float64(present, column).to_numpy(), np.float64)


def round_edges(edges: np.ndarray, lowest: float, column: Column) -> np.ndarray:
    """The edges in as few digits, or to the day, as part the values as well."""
    if column.feature_type == "datetime":
        days = np.unique(edges // DAY * DAY)
        return days if len(days) == len(edges) and days[0] > lowest else edges
    for digits in (4, 6):
        rounded = np.unique([float(f"{edge:.{digits}g}") for edge in edges])
        if len(rounded) == len(edges) and rounded[0] > lowest:
            return rounded
    return edges


def format_value(value: float, column: Column) -> str:
    """A number in its own digits, or a moment to the day or the second."""
    if column.feature_type == "datetime":
        moment = datetime.fromtimestamp(min(max(value, YEAR_1), YEAR_10000 - 1), UTC)
        return f"{moment:%Y-%m-%d}" if not value % DAY else f"{moment:%Y-%m-%d %H:%M:%S}"
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    short = f"{value:g}"
    return short if float(short) == value else str(value)
