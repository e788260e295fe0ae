"""Summaries of columns that merge, so that a table is described a part at a time."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Column, Kind, Schema
from tabular.core.errors import UserError
from tabular.table.cells import LARGEST, as_float64, is_missing
from tabular.table.database import row_hashes


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
    @np.errstate(over="ignore", invalid="ignore")  # of what `Profile.described` refuses
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


class Profile(NamedTuple):
    """Rows, a summary and some of the values of each column, and the rows of each class."""

    rows: int
    summaries: dict[str, Summary]
    distinct: dict[str, set[Any]]
    classes: Counter[str]

    @classmethod
    def from_table(cls, part: pa.Table, schema: Schema) -> Self:
        """Describe one part of a table."""
        columns = schema.columns.items()
        classes = [] if schema.task == "regression" else part[schema.target].value_counts()
        return cls(
            len(part),
            {name: Summary.from_column(part[name], column) for name, column in columns},
            {name: distinct_values(part[name], column) for name, column in columns},
            Counter({str(row["values"]): row["counts"].as_py() for row in classes}),
        )

    def merge(self, other: "Profile") -> "Profile":
        """Return the profile of both parts together."""
        return Profile(
            self.rows + other.rows,
            {
                name: summary.merge(other.summaries[name])
                for name, summary in self.summaries.items()
            },
            {
                name: values if len(values) >= MAX_DISTINCT else values | other.distinct[name]
                for name, values in self.distinct.items()
            },
            self.classes + other.classes,
        )

    def described(self, schema: Schema) -> dict[str, Any]:
        """Return the content of `metrics/profile.json`.

        Raises:
            UserError: A number is beyond `LARGEST`.
        """
        for name, summary in self.summaries.items():
            far = max(summary.min, summary.max, key=abs)
            if summary.count and LARGEST < abs(far) < np.inf:  # which is so of texts
                raise UserError(
                    f"column {name}: found {far:g}; expected numbers from {-LARGEST:g} to "
                    f"{LARGEST:g}: write the column in another unit, or, where this means that a "
                    "value is missing, list it in missing_values in data/schema.yaml"
                )
        return {
            "rows": self.rows,
            "columns": len(schema.columns),
            "column": {
                name: describe(self.summaries[name], self.distinct[name], column)
                | ({"read": False} if name in schema.ignore else {})
                for name, column in schema.columns.items()
            },
            "target": {
                name: {"rows": n, "share": n / self.rows} for name, n in self.classes.items()
            },
        }


def distinct_values(values: pa.ChunkedArray, column: Column) -> set[Any]:
    """The values of one part that are not missing, up to `MAX_DISTINCT`; of long texts hashes."""
    unique = values[: 5 * MAX_DISTINCT].unique()  # which most often are enough or few
    if len(unique) <= MAX_DISTINCT + 1 + len(column.sentinels):
        unique = values.unique()
    present = unique.filter(pc.invert(is_missing(unique, column)))[:MAX_DISTINCT]
    if column.feature_type == "text":
        return set(row_hashes([pa.chunked_array([present])]).tolist())
    return set(present.to_pylist())


def iso_datetime(seconds: float) -> str:
    """Seconds since 1970 began, UTC, as ISO 8601 writes it."""
    return f"{datetime(1970, 1, 1) + timedelta(seconds=round(seconds))}".removesuffix(" 00:00:00")


def describe(summary: Summary, distinct: set[Any], column: Column) -> dict[str, Any]:
    """One column; `distinct` ends at `MAX_DISTINCT`."""
    description: dict[str, Any] = {
        "kind": "binary" if len(distinct) == 2 else SHOWN_KINDS[column.kind],
        "missing": summary.missing,
        "distinct": min(len(distinct), MAX_DISTINCT),
    }
    if not summary.count:
        return description
    match column.feature_type:
        case "datetime":
            return description | {
                end: iso_datetime(getattr(summary, end)) for end in ("min", "max")
            }
        case "number":
            return description | {
                "mean": summary.mean,
                "standard_deviation": summary.standard_deviation,
                "min": summary.min,
                "max": summary.max,
            }
        case "category" | "text":
            return description
    assert_never(column.feature_type)
