"""A column in few bins: ranges of numbers, moments or lengths, categories, and gaps."""

from datetime import UTC, date, datetime
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.schema import Column
from tabular.table.cells import is_missing, numbers

MISSING, OTHERS = "missing", "others"


class Bins(NamedTuple):
    """The bins of a column.

    `edges` (n,), sorted, of a column of numbers, moments (seconds) or texts (characters): bin i is
    from edge i - 1 on, below edge i. `categories` of another one, a bin each. The last bins are
    other categories, and gaps.
    """

    column: Column
    edges: np.ndarray
    categories: tuple[str, ...]

    @classmethod
    def of(cls, values: pa.ChunkedArray, column: Column, count: int) -> Self:
        """So many bins, at most, of about as many of these values each."""
        if column.kind == "category":
            found = present(values, column).value_counts().to_pylist()
            found.sort(key=lambda pair: (-pair["counts"], pair["values"]))
            return cls(column, np.empty(0), tuple(pair["values"] for pair in found[:count]))
        sizes = np.sort(measured(present(values, column), column))
        if not len(sizes):
            return cls(column, np.empty(0), ())
        quantiles = np.quantile(sizes, np.linspace(0, 1, count + 1)[1:-1], method="nearest")
        # As they are shown, so that what is said of a bin is what it holds.
        edges = np.unique([shown_edge(value, column) for value in quantiles])
        return cls(column, edges[(edges > sizes[0]) & (edges <= sizes[-1])], ())

    def codes(self, values: pa.ChunkedArray) -> np.ndarray:
        """The bin of each value: int64, (rows,)."""
        gaps = is_missing(values, self.column).to_numpy(zero_copy_only=False).astype(bool)
        if self.column.kind == "category":
            places = pc.index_in(values, value_set=pa.array(self.categories, pa.string()))
            codes = pc.fill_null(places, len(self.categories)).to_numpy().astype(np.int64)
        else:
            codes = np.zeros(len(gaps), np.int64)
            sizes = measured(values.filter(pa.array(~gaps)), self.column)
            codes[~gaps] = np.searchsorted(self.edges, sizes, side="right")
        codes[gaps] = len(self.names) - 1
        return codes

    @property
    def names(self) -> list[str]:
        """What each bin holds, in words."""
        if self.column.kind == "category":
            return [*self.categories, OTHERS, MISSING]
        unit = " characters" if self.column.kind == "text" else ""
        ends = [words(edge, self.column) for edge in self.edges]
        if self.column.kind == "boolean" and len(ends) == 1:
            return ["false", "true", MISSING]
        if not ends:
            return ["any value", MISSING]
        between = [f"{low} to below {high}" for low, high in pairwise(ends)]
        ranges = [f"below {ends[0]}", *between, f"{ends[-1]} or more"]
        return [*(f"{text}{unit}" for text in ranges), MISSING]


def present(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """The values that are not missing."""
    return values.filter(pc.invert(is_missing(values, column)))


def measured(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Numbers as they are, moments in seconds, texts by their length: float64, (rows,)."""
    if column.kind == "text":
        return pc.utf8_length(values).to_numpy().astype(np.float64)
    return np.asarray(numbers(values, column).to_numpy(), np.float64)


def shown_edge(value: float, column: Column) -> float:
    """An edge with four digits; of moments the day that began before."""
    if column.kind == "datetime":
        return value // 86_400 * 86_400
    return float(f"{value:.4g}")


def words(value: float, column: Column) -> str:
    """A number as it is shown, or the day of a moment."""
    if column.kind == "datetime":
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}"
    return f"{value:,.4g}" if abs(value) >= 10_000 and value < 1e6 else f"{value:.4g}"


def seconds(value: float | date) -> float:
    """A bound of a slice as its column measures it."""
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return float(value)
