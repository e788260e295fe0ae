"""What a table holds, column by column, described a part at a time."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from tabular.schema import Column, Schema
from tabular.table.cells import TEXTS, is_missing
from tabular.table.shares import hashes
from tabular.table.summary import Summary

MAX_DISTINCT = 10_000  # where counting distinct values stops


class Profile(NamedTuple):
    """Rows, a summary and some of the values of each column, and the rows of each class."""

    rows: int
    summaries: dict[str, Summary]
    distinct: dict[str, set[Any]]
    classes: Counter[str]

    @classmethod
    def of(cls, part: pa.Table, schema: Schema) -> Self:
        """Of one part of a table."""
        columns = schema.columns.items()
        classes = [] if schema.task == "regression" else part[schema.target].value_counts()
        return cls(
            len(part),
            {name: Summary.of(part[name], column) for name, column in columns},
            {name: distinct_values(part[name], column) for name, column in columns},
            Counter({str(found["values"]): found["counts"].as_py() for found in classes}),
        )

    def merge(self, other: "Profile") -> "Profile":
        """Of both parts together."""
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
        """As `metrics/profile.json` shows it."""
        return {
            "rows": self.rows,
            "columns": len(schema.columns),
            "column": {
                name: describe(self.summaries[name], self.distinct[name], column)
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
    if column.kind == "text":
        return set(hashes([pa.chunked_array([present])], seed=0).tolist())
    return set(present.to_pylist())


def moment(seconds: float) -> str:
    """Seconds since 1970 began, UTC, as ISO 8601 writes it."""
    return f"{datetime(1970, 1, 1) + timedelta(seconds=round(seconds))}".removesuffix(" 00:00:00")


def describe(summary: Summary, distinct: set[Any], column: Column) -> dict[str, Any]:
    """One column; `distinct` ends at `MAX_DISTINCT`."""
    kind = {"boolean": "binary", "category": "string", "text": "string"}.get(
        column.kind, column.kind
    )
    known: dict[str, Any] = {
        "kind": "binary" if len(distinct) == 2 else kind,
        "missing": summary.missing,
        "distinct": min(len(distinct), MAX_DISTINCT),
    }
    if summary.count and column.kind == "datetime":
        known |= {end: moment(getattr(summary, end)) for end in ("min", "max")}
    elif summary.count and column.kind not in TEXTS:
        known |= {
            "mean": summary.mean,
            "standard_deviation": summary.standard_deviation,
            "min": summary.min,
            "max": summary.max,
        }
    return known
