"""The profile of a table, and summaries of columns that can be merged from part to part."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.cells import MAX_NUMBER, as_float64
from keras_tabular.table.parquet import count_rows, read_parts

MAX_DISTINCT = 10_000  # distinct values are not counted beyond


def describe_table(folder: Path, schema: Schema) -> dict[str, Any]:
    """Return the content of `metrics/profile.json`: rows, columns and the classes of the target.

    Raises:
        UserError: The absolute value of a number is larger than `MAX_NUMBER`.
    """
    rows = sum(count_rows(folder))
    columns = ordered_map(partial(_describe_column, folder=folder, schema=schema), schema.columns)
    classes = Counter[str]()
    if schema.classes:
        for part in read_parts(folder, [schema.target]):
            counts = part[0].drop_null().value_counts().to_pylist()
            classes.update({str(row["values"]): row["counts"] for row in counts})
    return {
        "rows": rows,
        "columns": len(schema.columns),
        "column": dict(zip(schema.columns, columns, strict=True)),
        "target": {value: {"rows": n, "share": n / rows} for value, n in classes.items()},
    }


def _describe_column(name: str, folder: Path, schema: Schema) -> dict[str, Any]:
    column, summary, distinct = schema.columns[name], Summary(), set[Any]()
    for part in read_parts(folder, [name]):
        values = part[0]
        summary = summary.merge(Summary.from_column(values, column))
        if len(distinct) < MAX_DISTINCT:
            distinct.update(values.drop_null().unique()[:MAX_DISTINCT].to_pylist())
    largest = max(summary.min, summary.max, key=abs)
    if summary.count and MAX_NUMBER < abs(largest) < np.inf:  # infinite for texts
        problem = f"expected numbers from {-MAX_NUMBER:g} to {MAX_NUMBER:g}, got {largest:g}"
        advice = "If it means missing, list it in missing_values in data/schema.yaml."
        raise UserError(f"column {name}: {problem}. {advice}")
    kind = "string" if column.is_string else column.kind
    description: dict[str, Any] = {
        "kind": "binary" if kind == "boolean" or len(distinct) == 2 else kind,
        "missing": summary.missing,
        "distinct": min(len(distinct), MAX_DISTINCT),
    }
    if summary.count and column.feature_type == "datetime":
        description |= {"min": _iso_datetime(summary.min), "max": _iso_datetime(summary.max)}
    elif summary.count and column.feature_type == "number":
        keys = ("mean", "standard_deviation", "min", "max")
        description |= {key: getattr(summary, key) for key in keys}
    return description | ({"read": False} if name in schema.ignore else {})


def _iso_datetime(seconds: float) -> str:
    """Format seconds since 1970 in UTC."""
    return f"{datetime(1970, 1, 1) + timedelta(seconds=round(seconds))}".removesuffix(" 00:00:00")


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
        present, missing = values.drop_null(), values.null_count
        if not len(present) or column.is_string:
            return cls(count=len(present), missing=missing)
        return replace(cls.from_numbers(as_float64(present, column).to_numpy()), missing=missing)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # `describe_table` refuses such large numbers
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

        Mean and squares: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for
        computing sample variances" (1979).
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
