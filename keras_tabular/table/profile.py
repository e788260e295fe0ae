"""What the values of columns look like: bins, summaries, and the profile of a table."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import Column, FeatureType, Schema
from keras_tabular.core.errors import UserError, truncate
from keras_tabular.core.parallel import ordered_map
from keras_tabular.core.typed_yaml import Section
from keras_tabular.table.cells import MAX_NUMBER, as_float64
from keras_tabular.table.parquet import count_rows, read_parts

# Names of bins.
MISSING = "missing"
OTHERS = "others"
SECONDS_PER_DAY = 86_400
# Significant digits of edges: the first number of digits that separates the values.
ROUNDED_DIGITS = (4, 6)
# Bins and background values of the summary of a column.
NUMBER_BINS = 10
CATEGORY_BINS = 20
BACKGROUND_SIZE = 16
# Largest p-value of a column that differs by more than chance.
MAX_P_VALUE = 0.01
# Expected rows of each table in a bin of the chi-squared test.
MIN_EXPECTED_ROWS = 3.0
# Distinct values in a profile are not counted beyond this number.
MAX_DISTINCT = 10_000


class Bins(NamedTuple):
    """Bins of the values of a column: seconds of datetimes, and lengths of texts.

    Bin i contains the values from edge i - 1 up to, but not including, edge i. The last
    bin is for missing values. In a category column, the last but one is for all other
    categories.

    Attributes:
        edges: Edges in ascending order, shape (n,); empty for categories.
        categories: Categories that have a bin each.
        values: The only value of each bin, shape (n + 1,), if the column has few
            values.
        outside: Whether the first and the last bin are for values outside of the range.
            Then the first edge is the lowest value, and the last edge is just above the
            highest value.
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
    ) -> Self:
        """Build bins with equally many values each, or a bin for each of few values.

        Args:
            count: Number of bins; there may be fewer.
            categories: Number of the most frequent categories that get a bin each.

        Examples:
            >>> numbers = pa.chunked_array([[1.0, 2.0, 3.0, 4.0, None, None]])
            >>> bins = Bins.from_values(numbers, Column(kind="real"), 2, 2)
            >>> bins.names
            ['below 3', '3 or more', 'missing']
            >>> bins.codes(numbers).tolist()
            [0, 0, 1, 1, 2, 2]
            >>> words = pa.chunked_array([["b", "a", "b", "c", None]])
            >>> bins = Bins.from_values(words, Column(kind="category"), 2, 2)
            >>> bins.names
            ['b', 'a', 'others', 'missing']
            >>> bins.codes(words).tolist()
            [0, 1, 0, 2, 3]
        """
        if column.feature_type == "category":
            frequent = most_frequent(values.drop_null())[:categories]
            names = tuple(category for category, _ in frequent)
            return cls(column, np.empty(0), names)
        numbers = numeric_values(values, column)
        distinct = np.unique(numbers)
        if len(distinct) <= count:
            few_values = tuple(distinct.tolist())
            return cls(column, distinct[1:], (), few_values)
        edges = quantiles(numbers, count)[1:-1]
        # The lowest value has its own bin if it is frequent.
        edges[edges == distinct[0]] = distinct[1]
        edges = round_edges(np.unique(edges), distinct[0], column)
        return cls(column, edges, ())

    def counts(self, values: pa.ChunkedArray) -> np.ndarray:
        """Count the rows in each bin: int64, shape (bins,)."""
        return np.bincount(self.codes(values), minlength=len(self.names))

    def codes(self, values: pa.ChunkedArray) -> np.ndarray:
        """Return the number of the bin of each value: int16, shape (rows,)."""
        missing = missing_mask(values)
        if self.column.feature_type == "category":
            categories = pa.array(self.categories, "string")
            indices = pc.index_in(values, value_set=categories)
            indices = pc.fill_null(indices, len(categories))
            codes = indices.to_numpy().astype(np.int16)
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
            return [format_edge(value, self.column) for value in self.values]
        if not len(self.edges):
            return []
        ends = [format_edge(edge, self.column) for edge in self.edges]
        between = [f"{low} to below {high}" for low, high in pairwise(ends)]
        if not self.outside:
            return [f"below {ends[0]}", *between, f"{ends[-1]} or more"]
        highest_value = np.nextafter(self.edges[-1], -np.inf)
        highest = format_edge(float(highest_value), self.column)
        last_edge = ends[-2]
        top = highest if last_edge == highest else f"{last_edge} to {highest}"
        return [f"below {ends[0]}", *between[:-1], top, f"above {highest}"]


def quantiles(numbers: np.ndarray, count: int) -> np.ndarray:
    """Return the values that divide numbers into equal parts: shape (count + 1,).

    Examples:
        >>> quantiles(np.array([1.0, 5.0, 6.0, 7.0, 8.0]), 2)
        array([1., 6., 8.])
    """
    shares = np.linspace(0, 1, count + 1)
    return np.quantile(numbers, shares, method="nearest")


def missing_mask(values: pa.ChunkedArray) -> np.ndarray:
    """Return where a value is missing: bool, shape (rows,)."""
    return pc.is_null(values).to_numpy()


def share_outside(
    train: pa.ChunkedArray,
    test: pa.ChunkedArray,
    column: Column,
) -> float:
    """Compute the share of test values outside the range or categories of training.

    Examples:
        >>> numbers = pa.chunked_array([[1.0, 2.0]])
        >>> new_numbers = pa.chunked_array([[0.5, 1.5, 2.5, 1.5, None]])
        >>> share_outside(numbers, new_numbers, Column(kind="real"))
        0.5
        >>> no_number = pa.chunked_array([pa.nulls(3, "double")])
        >>> share_outside(numbers, no_number, Column(kind="real"))
        0.0
        >>> words = pa.chunked_array([["a", "b"]])
        >>> new_words = pa.chunked_array([["a", "c", None, "d", "b"]])
        >>> share_outside(words, new_words, Column(kind="category"))
        0.5
        >>> share_outside(words, new_words, Column(kind="text"))
        0.0
    """
    present = test.drop_null()
    if column.feature_type == "text" or not len(present):
        return 0.0
    if column.feature_type == "category":
        return 1 - float(is_among(present, train.unique()).mean())
    train_numbers = numeric_values(train, column)
    low = train_numbers.min(initial=np.inf)
    high = train_numbers.max(initial=-np.inf)
    numbers = numeric_values(present, column)
    is_outside = (numbers < low) | (numbers > high)
    return float(is_outside.mean())


def is_among(values: pa.ChunkedArray, allowed: pa.Array) -> np.ndarray:
    """Return where a value is one of `allowed`: bool, shape (rows,)."""
    return pc.is_in(values, value_set=allowed).to_numpy()


def unknown_mask(values: pa.ChunkedArray, categories: list[str]) -> np.ndarray:
    """Return where a value is not missing and not a category: bool, shape (rows,)."""
    is_known = is_among(values, pa.array(categories, "string"))
    return ~missing_mask(values) & ~is_known


def most_frequent(values: pa.ChunkedArray) -> list[tuple[Any, int]]:
    """Return each value and its number of rows, by this number and then by value."""
    counts = values.value_counts().to_pylist()
    counts.sort(key=lambda count: (-count["counts"], count["values"]))
    return [(count["values"], count["counts"]) for count in counts]


def numeric_values(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Return the present numbers, datetimes (seconds) or lengths of texts: float64."""
    present = values.drop_null()
    if column.feature_type == "text":
        return pc.utf8_length(present).to_numpy().astype(np.float64)
    return as_float64(present, column).to_numpy()


def round_edges(
    edges: np.ndarray,
    lowest: float,
    column: Column,
) -> np.ndarray:
    """Round edges to few digits or to the day, if they still separate the values."""
    candidates = [
        np.array([float(f"{edge:.{digits}g}") for edge in edges])
        for digits in ROUNDED_DIGITS
    ]
    if column.kind == "datetime":
        candidates = [edges // SECONDS_PER_DAY * SECONDS_PER_DAY]
    for candidate in candidates:
        rounded = np.unique(candidate)
        if len(rounded) == len(edges) and rounded[0] > lowest:
            return rounded
    return edges


def format_edge(value: float, column: Column) -> str:
    """Format a number with its digits, or a datetime to the day or the second."""
    if column.kind == "datetime":
        return _iso_datetime(value // 1)
    return str(value + 0).removesuffix(".0")  # 0 instead of -0


class ColumnSummary(Section, extra="ignore"):
    """Summary of a column in a sample of rows.

    Attributes:
        edges: Edges of the `Bins`; for texts, of their lengths.
        categories: Categories of the `Bins`.
        counts: Number of rows in each bin.
        background: Values as frequent as in the rows, None for a missing value. There
            are none for texts, each of which belongs to one row.
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
        cls,
        values: pa.ChunkedArray,
        column: Column,
        categories: list[str] | None = None,
    ) -> Self:
        """Summarize a column of at least one row.

        Args:
            categories: The categories that the model knows; None if it knows all of
                them.
        """
        bins = Bins.from_values(values, column, NUMBER_BINS, CATEGORY_BINS)
        if column.feature_type != "category" and len(values.drop_null()):
            numbers = numeric_values(values, column)
            above_highest = np.nextafter(numbers.max(), np.inf)
            edges = np.r_[numbers.min(), bins.edges, above_highest]
            bins = bins._replace(edges=edges, values=(), outside=True)
        unknown = 0.0
        if categories is not None:
            unknown = float(unknown_mask(values, categories).mean())
        is_text = column.feature_type == "text"
        return cls(
            feature_type=column.feature_type,
            edges=bins.edges.tolist(),
            categories=bins.categories,
            counts=bins.counts(values).tolist(),
            background=() if is_text else _evenly_spaced(values, column),
            unknown=round(unknown, 6),
        )

    def bins(self, column: Column) -> Bins:
        """Return the bins of the column that was summarized.

        Examples:
            >>> column = Column(kind="real")
            >>> numbers = pa.chunked_array([[1.5, 2.0, 2.0, 7.0]])
            >>> bins = ColumnSummary.from_values(numbers, column).bins(column)
            >>> bins.names[:3]
            ['below 1.5', '1.5 to below 2', '2 to below 7']
            >>> bins.names[3:]
            ['7', 'above 7', 'missing']
            >>> bins.counts(pa.chunked_array([[0, 1.5, 7, 7.1, None, 9]])).tolist()
            [1, 1, 0, 1, 2, 1]
        """
        return Bins(column, np.array(self.edges), self.categories, outside=True)


def _evenly_spaced(
    values: pa.ChunkedArray,
    column: Column,
) -> tuple[float | str | None, ...]:
    """Take values at equal distances from the sorted rows; missing values come last."""
    if column.is_string:
        ordered = []
        for value, count in most_frequent(values.drop_null()):
            ordered += [value] * count
    else:
        ordered = np.sort(numeric_values(values, column)).tolist()
    ordered += [None] * values.null_count
    rows = (np.arange(BACKGROUND_SIZE) + 0.5) / BACKGROUND_SIZE * len(values)
    return tuple(ordered[int(row)] for row in rows)


def compare_counts(
    first: np.ndarray,
    second: np.ndarray,
    columns: int,
    group_size: float = 1.0,
) -> tuple[float, float]:
    """Compute how far two tables differ in a column, and if chance explains that.

    The distance is the total variation, the share of rows in another bin. The p-value
    is that of two tests together: a chi-squared test of the bins in which at least
    `MIN_EXPECTED_ROWS` rows are expected, and a binomial test of the other bins, such
    as missing values or a new category.

    Both tables have fewer independent rows if rows are in groups (Rao and Scott, "The
    analysis of categorical data from complex sample surveys", 1981).

    Args:
        first: Number of rows of one table in each bin, shape (bins,).
        second: Number of rows of the other table in each bin, shape (bins,).
        columns: Number of columns that are compared, for Bonferroni's correction.
        group_size: Number of rows that depend on each other: `groups.mean_group_size`.

    Returns:
        The distance, and the probability that rows of equal tables differ as much in
        any of the columns. The numbers are rounded, so that every CPU comes to the same
        decision.
    """
    counts = np.stack([first, second]) / group_size  # (2, bins)
    sizes = counts.sum(axis=1)
    table_shares = sizes / sizes.sum()
    min_expected = counts.sum(axis=0) * table_shares.min()
    is_frequent = min_expected >= MIN_EXPECTED_ROWS
    p_of_frequent = chi_squared_p_value(counts[:, is_frequent])
    p_of_rare = binomial_p_value(counts[:, ~is_frequent], table_shares[1])
    # Two tests of each column.
    p_value = min(2 * columns * min(p_of_frequent, p_of_rare), 1.0)
    first_shares, second_shares = counts / sizes[:, None]
    distance = float(np.abs(first_shares - second_shares).sum() / 2)
    return round(distance, 9), float(f"{p_value:.9g}")


def chi_squared_p_value(counts: np.ndarray) -> float:
    """Compute the p-value of the chi-squared test of homogeneity, 1 without bins.

    Args:
        counts: Number of rows of each table in each bin, shape (2, bins).

    Examples:
        >>> round(chi_squared_p_value(np.array([[10, 20], [20, 10]])), 4)
        0.0098
    """
    from scipy.special import chdtrc  # importing it takes 0.2 s

    rows = counts.sum(axis=1)
    bins = counts.sum(axis=0)
    expected = np.outer(rows, bins) / max(counts.sum(), 1)
    squares = np.square(counts - expected)
    statistic = (squares / np.maximum(expected, 1e-9)).sum()
    degrees_of_freedom = max(len(bins) - 1, 1)
    return float(chdtrc(degrees_of_freedom, statistic))


def binomial_p_value(counts: np.ndarray, share: float) -> float:
    """Compute the p-value of binomial tests for too many rows in the second table.

    Bonferroni's correction for the number of bins is included, so that the result may
    be above 1.

    Args:
        counts: Number of rows of each table in each bin, shape (2, bins).
        share: Share of the second table in the rows of both.

    Examples:
        >>> binomial_p_value(np.array([[0], [3]]), share=0.5)
        0.125
    """
    from scipy.special import betainc

    first, second = counts
    tails = betainc(second, first + 1, share)
    smallest = np.nanmin([1.0, *tails])
    return float(max(len(tails), 1) * smallest)


def describe_table(folder: Path, schema: Schema) -> dict[str, Any]:
    """Return the content of `metrics/profile.json`.

    Raises:
        UserError: The absolute value of a number is larger than `MAX_NUMBER`.
    """
    rows = sum(count_rows(folder))
    describe = partial(_describe_column, folder=folder, schema=schema)
    descriptions = ordered_map(describe, schema.columns)
    classes = {}
    if schema.classes:
        target = pa.concat_tables(read_parts(folder, [schema.target]))
        for value, count in most_frequent(target[0].drop_null()):
            classes[str(value)] = {"rows": count, "share": count / rows}
    return {
        "rows": rows,
        "columns": len(schema.columns),
        "column": dict(zip(schema.columns, descriptions, strict=True)),
        "target": classes,
    }


def _describe_column(
    name: str,
    folder: Path,
    schema: Schema,
) -> dict[str, Any]:
    column = schema.columns[name]
    summary = Summary()
    distinct = set[Any]()
    for part in read_parts(folder, [name]):
        values = part[0]
        summary = summary.merge(Summary.from_column(values, column))
        if len(distinct) < MAX_DISTINCT:
            new_values = values.drop_null().unique()[:MAX_DISTINCT]
            distinct.update(new_values.to_pylist())
    largest = max(summary.min, summary.max, key=abs)
    if summary.count and MAX_NUMBER < abs(largest) < np.inf:  # infinite for texts
        raise UserError(
            f"column {name}: expected numbers from {-MAX_NUMBER:g} to {MAX_NUMBER:g},"
            f" got {largest:g}. If it means missing, list it in missing_values in"
            " data/schema.yaml.",
        )
    kind: str = "string" if column.is_string else column.kind
    if kind == "boolean" or len(distinct) == 2:
        kind = "binary"
    description: dict[str, Any] = {
        "kind": kind,
        "missing": summary.missing,
        "distinct": min(len(distinct), MAX_DISTINCT),
    }
    if not summary.count:
        return description
    if column.kind == "datetime":
        description["min"] = _iso_datetime(summary.min)
        description["max"] = _iso_datetime(summary.max)
    elif column.feature_type == "number":
        description |= {
            "mean": summary.mean,
            "standard_deviation": summary.standard_deviation,
            "min": summary.min,
            "max": summary.max,
        }
    return description


def _iso_datetime(seconds: float) -> str:
    """Format seconds since 1970 in UTC."""
    since_1970 = timedelta(seconds=round(seconds))
    return str(datetime(1970, 1, 1) + since_1970).removesuffix(" 00:00:00")


@dataclass(frozen=True)
class Summary:
    """Count, mean, variance and extremes of the values of a column.

    Missing values are only counted. Categories and texts have only counts.

    Attributes:
        count: Number of values that are not missing.
        squares: Sum of the squared differences from the mean.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0
    min: float = np.inf
    max: float = -np.inf

    @classmethod
    def from_column(cls, values: pa.ChunkedArray, column: Column) -> Self:
        """Summarise one part of a column."""
        present = values.drop_null()
        missing = values.null_count
        if not len(present) or column.is_string:
            return cls(count=len(present), missing=missing)
        numbers = numeric_values(values, column)
        return replace(cls.from_numbers(numbers), missing=missing)

    # An overflow needs no warning: `describe_table` refuses such large numbers.
    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def from_numbers(cls, values: np.ndarray) -> Self:
        """Summarise float64 of shape (n,), at least one, none of them missing."""
        mean = values.mean()
        squares = np.square(values - mean)
        return cls(
            count=len(values),
            mean=float(mean),
            squares=float(squares.sum()),
            min=float(values.min()),
            max=float(values.max()),
        )

    def merge(self, other: "Summary") -> "Summary":
        """Return the summary of both parts together.

        Mean and squares: Chan, Golub, LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances" (1979).
        """
        count = self.count + other.count
        share = other.count / count if count else 0.0
        step = other.mean - self.mean
        squares = self.squares + other.squares + step * step * self.count * share
        return Summary(
            count=count,
            missing=self.missing + other.missing,
            mean=self.mean + step * share,
            squares=squares,
            min=min(self.min, other.min),
            max=max(self.max, other.max),
        )

    @property
    def variance(self) -> float:
        """Variance of a population: the sum of squares divided by the count."""
        return self.squares / self.count if self.count else 0.0

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of a sample, with the divisor count minus one."""
        divisor = max(self.count - 1, 1)
        return float((self.squares / divisor) ** 0.5)
