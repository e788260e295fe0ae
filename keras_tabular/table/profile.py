"""Summaries of columns, which merge from part to part of a table."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import Column, Kind, Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.cells import LARGEST, as_float64, is_missing
from keras_tabular.table.parquet import count_rows, read_parts


@dataclass(frozen=True)
class Summary:
    """Count, moments and extremes of the values of one column that are not missing.

    A category or a text has a count alone.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0  # sum of squared differences from the mean
    min: float = np.inf
    max: float = -np.inf

    @classmethod
    def from_column(cls, values: pa.ChunkedArray, column: Column) -> Self:
        """Summarise one part of a column."""
        gaps = is_missing(values, column)
        present = values.filter(pc.invert(gaps)) if pc.any(gaps).as_py() else values
        missing = len(values) - len(present)
        if not len(present) or column.is_string:
            return cls(count=len(present), missing=missing)
        return replace(cls.from_numbers(as_float64(present, column).to_numpy()), missing=missing)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # of numbers that `describe_column` refuses
    def from_numbers(cls, values: np.ndarray) -> Self:
        """Summarise float64 of shape (n,), one at least, none of them missing."""
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


MAX_DISTINCT = 10_000  # where counting distinct values stops
SHOWN_KINDS: dict[Kind, str] = {
    **{"real": "real", "integer": "integer", "datetime": "datetime", "boolean": "binary"},
    **{"category": "string", "text": "string"},
}


def describe_table(folder: Path, schema: Schema) -> dict[str, Any]:
    """Return the content of `metrics/profile.json`: rows, columns, classes of the target.

    Raises:
        UserError: A number is beyond `LARGEST`.
    """
    rows = sum(count_rows(folder))
    columns = ordered_map(partial(describe_column, folder=folder, schema=schema), schema.columns)
    classes = Counter[str]()
    if schema.task != "regression":
        for part in read_parts(folder, [schema.target]):
            counts = part[0].value_counts()
            classes.update({str(row["values"]): row["counts"].as_py() for row in counts})
    return {
        "rows": rows,
        "columns": len(schema.columns),
        "column": dict(zip(schema.columns, columns, strict=True)),
        "target": {value: {"rows": n, "share": n / rows} for value, n in classes.items()},
    }


def describe_column(name: str, folder: Path, schema: Schema) -> dict[str, Any]:
    """Describe one column of a table, see `describe_table`."""
    column, summary, distinct = schema.columns[name], Summary(), set[Any]()
    for part in read_parts(folder, [name]):
        summary = summary.merge(Summary.from_column(part[0], column))
        if len(distinct) < MAX_DISTINCT:
            distinct |= distinct_values(part[0], column)
    largest = max(summary.min, summary.max, key=abs)
    if summary.count and LARGEST < abs(largest) < np.inf:  # infinite for texts
        raise UserError(
            f"column {name}: found {largest:g}; expected numbers from {-LARGEST:g} to "
            f"{LARGEST:g}: write the column in another unit, or, where this means that a "
            "value is missing, list it in missing_values in data/schema.yaml"
        )
    description: dict[str, Any] = {
        "kind": "binary" if len(distinct) == 2 else SHOWN_KINDS[column.kind],
        "missing": summary.missing,
        "distinct": min(len(distinct), MAX_DISTINCT),
    }
    if summary.count and column.feature_type == "datetime":
        description |= {"min": iso_datetime(summary.min), "max": iso_datetime(summary.max)}
    elif summary.count and column.feature_type == "number":
        description |= {
            "mean": summary.mean,
            "standard_deviation": summary.standard_deviation,
            "min": summary.min,
            "max": summary.max,
        }
    return description | ({"read": False} if name in schema.ignore else {})


def distinct_values(values: pa.ChunkedArray, column: Column) -> set[Any]:
    """Return the values of one part that are not missing, up to `MAX_DISTINCT`."""
    unique = values[: 5 * MAX_DISTINCT].unique()  # which most often are enough or few
    if len(unique) <= MAX_DISTINCT + 1 + len(column.sentinels):
        unique = values.unique()
    return set(unique.filter(pc.invert(is_missing(unique, column)))[:MAX_DISTINCT].to_pylist())


def iso_datetime(seconds: float) -> str:
    """Write seconds since 1970 began, UTC, as ISO 8601 does."""
    return f"{datetime(1970, 1, 1) + timedelta(seconds=round(seconds))}".removesuffix(" 00:00:00")
