"""What the values of columns look like: bins, summaries, and the profile of a table."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import Column, FeatureType, Schema
from keras_tabular.config.typed_yaml import Section
from keras_tabular.core.errors import UserError, truncate
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.cells import MAX_NUMBER, YEAR_1, YEAR_10000, as_float64
from keras_tabular.table.parquet import count_rows, read_parts

MISSING = "missing"
OTHERS = "others"
SECONDS_PER_DAY = 86_400
ROUNDED_DIGITS = (
    4,
    6,
)  # significant digits of edges; the first number that separates the values
MAX_EXACT_INTEGER = 1e15  # above, a float has no digits after the point


class Bins(NamedTuple):
    """Bins of a column of numbers, datetimes (seconds), texts (characters) or categories.

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
            inner[inner == distinct[0]] = distinct[
                1
            ]  # the lowest value then has its own bin
            edges = round_edges(np.unique(inner), distinct[0], column)
        return cls(
            column,
            edges,
            (),
            tuple(distinct.tolist()) if has_few_values else (),
        )

    def add_outside(self, values: pa.ChunkedArray) -> Self:
        """Return the bins of some values, and two more for values outside of their range."""
        if self.column.feature_type == "category" or not len(values.drop_null()):
            return self
        numbers = numeric_values(values, self.column)
        edges = np.r_[numbers.min(), self.edges, np.nextafter(numbers.max(), np.inf)]
        return self._replace(edges=edges, values=(), outside=True)

    def counts(self, values: pa.ChunkedArray) -> np.ndarray:
        """Count the rows in each bin: int64, shape (bins,)."""
        return np.bincount(self.codes(values), minlength=len(self.names))

    def codes(self, values: pa.ChunkedArray) -> np.ndarray:
        """Return the number of the bin of each value: int16, shape (rows,)."""
        missing = missing_mask(values)
        if self.column.feature_type == "category":
            indices = pc.index_in(
                values,
                value_set=pa.array(self.categories, pa.string()),
            )
            codes = (
                pc.fill_null(indices, len(self.categories)).to_numpy().astype(np.int16)
            )
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
        *_, last, _ = ends
        highest = format_edge(float(np.nextafter(self.edges[-1], -np.inf)), self.column)
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
    return (
        pc.is_in(values, value_set=allowed).to_numpy(zero_copy_only=False).astype(bool)
    )


def unknown_mask(values: pa.ChunkedArray, categories: list[str]) -> np.ndarray:
    """Return where a value is neither missing nor one of `categories`: bool, shape (rows,)."""
    return ~missing_mask(values) & ~is_among(values, pa.array(categories, pa.string()))


def most_frequent(values: pa.ChunkedArray) -> list[tuple[Any, int]]:
    """Return each value with its number of rows: by this number, then in alphabetical order."""
    counts = [
        (count["values"], count["counts"])
        for count in values.value_counts().to_pylist()
    ]
    return sorted(counts, key=lambda pair: (-pair[1], pair[0]))


def numeric_values(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    """Return the numbers, datetimes (seconds) or text lengths that are not missing: float64."""
    present = values.drop_null()
    if column.feature_type == "text":
        return pc.utf8_length(present).to_numpy().astype(np.float64)
    return np.asarray(as_float64(present, column).to_numpy(), np.float64)


def share_outside(
    train: pa.ChunkedArray,
    test: pa.ChunkedArray,
    column: Column,
) -> float:
    """Compute the share of test values outside the training range, or of unknown categories."""
    present = test.drop_null()
    if column.feature_type == "text" or not len(present):
        return 0.0
    if column.feature_type == "category":
        return 1 - float(is_among(present, train.unique()).mean())
    values, train_values = (numeric_values(each, column) for each in (present, train))
    low = train_values.min(initial=np.inf)
    high = train_values.max(initial=-np.inf)
    return float(np.mean((values < low) | (values > high)))


def round_edges(edges: np.ndarray, lowest: float, column: Column) -> np.ndarray:
    """Round edges to few digits or to the day, if the rounded edges also separate the values."""
    candidates = [
        np.array([float(f"{edge:.{n}g}") for edge in edges]) for n in ROUNDED_DIGITS
    ]
    if column.kind == "datetime":
        candidates = [edges // SECONDS_PER_DAY * SECONDS_PER_DAY]
    for rounded in map(np.unique, candidates):
        if len(rounded) == len(edges) and rounded[0] > lowest:
            return rounded
    return edges


def format_edge(value: float, column: Column) -> str:
    """Format a number with the digits that it has, or a datetime to the day or the second."""
    if column.kind == "datetime":
        timestamp = datetime.fromtimestamp(min(max(value, YEAR_1), YEAR_10000 - 1), UTC)
        is_day = not value % SECONDS_PER_DAY
        return f"{timestamp:%Y-%m-%d}" if is_day else f"{timestamp:%Y-%m-%d %H:%M:%S}"
    if value.is_integer() and abs(value) < MAX_EXACT_INTEGER:
        return str(int(value))
    short = f"{value:g}"
    return short if float(short) == value else str(value)


NUMBER_BINS = 10
CATEGORY_BINS = 20
BACKGROUND_SIZE = 16  # values of a column
MAX_P_VALUE = 0.01  # of a column that differs by more than chance
MIN_EXPECTED_ROWS = 3.0  # of each table in a bin of the chi-squared test


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
        own_bins = Bins.from_values(
            values,
            column,
            NUMBER_BINS,
            CATEGORY_BINS,
        ).add_outside(values)
        unknown = 0.0 if categories is None else unknown_mask(values, categories).mean()
        return cls(
            feature_type=column.feature_type,
            edges=tuple(own_bins.edges.tolist()),
            categories=own_bins.categories,
            counts=tuple(own_bins.counts(values).tolist()),
            background=(
                () if column.feature_type == "text" else _evenly_spaced(values, column)
            ),
            unknown=round(float(unknown), 6),
        )

    def bins(self, column: Column) -> Bins:
        """Return the bins of the column that was summarized."""
        return Bins(column, np.array(self.edges), self.categories, outside=True)


def _evenly_spaced(
    values: pa.ChunkedArray,
    column: Column,
) -> tuple[float | str | None, ...]:
    """Take values at equal distances from the sorted rows; missing values come last."""
    if column.is_string:
        counts = most_frequent(values.drop_null())
        ordered = [value for value, count in counts for _ in range(count)]
    else:
        ordered = np.sort(numeric_values(values, column)).tolist()
    rows = (np.arange(BACKGROUND_SIZE) + 0.5) / BACKGROUND_SIZE * len(values)
    return tuple(ordered[int(row)] if row < len(ordered) else None for row in rows)


def compare_counts(
    first: np.ndarray,
    second: np.ndarray,
    columns: int,
    group_size: float = 1.0,
) -> tuple[float, float]:
    """Compute how far two tables differ in a column, and how likely chance explains that.

    The distance is the share of the rows that would have to be in another bin for the
    tables to be equal (total variation): the sum of the shares that bins have lost, or
    of those that bins have gained, whichever is larger. Few rows differ more by chance,
    so that the variance of a difference is subtracted from its square. The p-value is
    that of two tests together:

    - A chi-squared test of the bins in which at least `MIN_EXPECTED_ROWS` rows are
      expected.
    - A binomial test of each other bin, such as missing values or a new category:
      whether it is too frequent in the second table.

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
    from scipy.special import betainc, chdtrc  # importing it takes 0.2 s

    counts = np.stack([first, second]) / group_size
    sizes = counts.sum(axis=1)
    changes = counts[0] / sizes[0] - counts[1] / sizes[1]
    pooled = counts.sum(axis=0) / sizes.sum()
    variance = pooled * (1 - pooled) * (1 / sizes).sum()
    moved = np.sqrt(np.maximum(np.square(changes) - variance, 0))
    distance = max(moved[changes > 0].sum(), moved[changes < 0].sum())
    shares = sizes / sizes.sum()
    is_frequent = counts.sum(axis=0) * shares.min() >= MIN_EXPECTED_ROWS
    observed = counts[:, is_frequent]
    rare = counts[:, ~is_frequent]
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / max(
        observed.sum(),
        1,
    )
    statistic = (np.square(observed - expected) / np.maximum(expected, 1e-9)).sum()
    chi_squared = chdtrc(max(observed.shape[1] - 1, 1), statistic)
    tails = betainc(rare[1], rare[0] + 1, shares[1])
    binomial = max(len(tails), 1) * np.nanmin([1.0, *tails])
    p_value = min(2 * columns * min(chi_squared, binomial), 1.0)
    return round(float(distance), 9), float(f"{p_value:.9g}")


MAX_DISTINCT = 10_000  # distinct values are not counted beyond


def describe_table(folder: Path, schema: Schema) -> dict[str, Any]:
    """Return the content of `metrics/profile.json`: rows, columns and the classes of the target.

    Raises:
        UserError: The absolute value of a number is larger than `MAX_NUMBER`.
    """
    rows = sum(count_rows(folder))
    columns = ordered_map(
        partial(_describe_column, folder=folder, schema=schema),
        schema.columns,
    )
    classes = Counter[str]()
    if schema.classes:
        for part in read_parts(folder, [schema.target]):
            classes.update(
                {
                    str(value): rows
                    for value, rows in most_frequent(part[0].drop_null())
                },
            )
    return {
        "rows": rows,
        "columns": len(schema.columns),
        "column": dict(zip(schema.columns, columns, strict=True)),
        "target": {
            value: {"rows": n, "share": n / rows} for value, n in classes.items()
        },
    }


def _describe_column(name: str, folder: Path, schema: Schema) -> dict[str, Any]:
    column = schema.columns[name]
    summary = Summary()
    distinct = set[Any]()
    for part in read_parts(folder, [name]):
        values = part[0]
        summary = summary.merge(Summary.from_column(values, column))
        if len(distinct) < MAX_DISTINCT:
            distinct.update(values.drop_null().unique()[:MAX_DISTINCT].to_pylist())
    largest = max(summary.min, summary.max, key=abs)
    if summary.count and MAX_NUMBER < abs(largest) < np.inf:  # infinite for texts
        problem = (
            f"expected numbers from {-MAX_NUMBER:g} to {MAX_NUMBER:g}, got {largest:g}"
        )
        advice = "If it means missing, list it in missing_values in data/schema.yaml."
        raise UserError(f"column {name}: {problem}. {advice}")
    kind = "string" if column.is_string else column.kind
    description: dict[str, Any] = {
        "kind": "binary" if kind == "boolean" or len(distinct) == 2 else kind,
        "missing": summary.missing,
        "distinct": min(len(distinct), MAX_DISTINCT),
    }
    if summary.count and column.kind == "datetime":
        description |= {
            "min": _iso_datetime(summary.min),
            "max": _iso_datetime(summary.max),
        }
    elif summary.count and column.feature_type == "number":
        keys = ("mean", "standard_deviation", "min", "max")
        description |= {key: getattr(summary, key) for key in keys}
    return description


def _iso_datetime(seconds: float) -> str:
    """Format seconds since 1970 in UTC."""
    return f"{datetime(1970, 1, 1) + timedelta(seconds=round(seconds))}".removesuffix(
        " 00:00:00",
    )


@dataclass(frozen=True)
class Summary:
    """Count, mean, variance and extremes of the values of a column, without missing values.

    Categories and texts have only counts.

    Attributes:
        count: Number of values that are not missing.
        missing: Number of missing values.
        mean: Mean of the values.
        squares: Sum of the squared differences from the mean.
        min: Smallest value.
        max: Largest value.
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
        return replace(
            cls.from_numbers(as_float64(present, column).to_numpy()),
            missing=missing,
        )

    @classmethod
    @np.errstate(
        over="ignore",
        invalid="ignore",
    )  # `describe_table` refuses such large numbers
    def from_numbers(cls, values: np.ndarray) -> Self:
        """Summarise float64 of shape (n,), at least one, none of them missing."""
        mean = values.mean()
        differences = values - mean
        np.square(differences, out=differences)
        return cls(
            count=len(values),
            mean=float(mean),
            squares=float(differences.sum()),
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
        return Summary(
            count=count,
            missing=self.missing + other.missing,
            mean=self.mean + step * share,
            squares=self.squares + other.squares + step * step * self.count * share,
            min=min(self.min, other.min),
            max=max(self.max, other.max),
        )

    @property
    def variance(self) -> float:
        """Variance of a population: the sum of squares divided by the count."""
        return self.squares / self.count if self.count else 0.0

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of a sample: the divisor is the count minus one, as in pandas."""
        return float((self.squares / max(self.count - 1, 1)) ** 0.5)
