"""CSV in, Parquet parts with the declared types and a profile of every column out."""

from argparse import ArgumentParser
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from tabular.errors import UserError
from tabular.files import atomic_write, write_json
from tabular.params.loading import load_params
from tabular.process import run
from tabular.schema import Column, Schema, load_schema
from tabular.table.cells import TEXTS, is_missing
from tabular.table.parquet import FILE_SHARE, arrow_schema, in_parts, prefetch, write_part
from tabular.table.source import read_table, source_files
from tabular.table.summary import Summary

MAX_DISTINCT = 10_000  # where counting distinct values stops


def distinct_values(values: pa.ChunkedArray, column: Column) -> set[Any]:
    """The values of one part that are not missing."""
    unique = values.unique()
    return set(unique.filter(pa.compute.invert(is_missing(unique, column))).to_pylist())


def count_values(values: pa.ChunkedArray) -> Counter[str]:
    """How many rows of one part hold each value."""
    return Counter(
        {str(pair["values"]): pair["counts"] for pair in values.value_counts().to_pylist()}
    )


def with_share(table: pa.Table, file: Path, schema: Schema) -> pa.Table:
    """The rows of a file with what they are for, where files of test rows are declared."""
    if not schema.test_files:
        return table
    share = "test" if file.name in schema.test_files else "train"
    return table.append_column(FILE_SHARE, pa.repeat(share, len(table)))


def moment(seconds: float) -> str:
    """Seconds since 1970 began, UTC, as ISO 8601 writes it."""
    return f"{datetime(1970, 1, 1) + timedelta(seconds=round(seconds))}".removesuffix(" 00:00:00")


def describe(summary: Summary, distinct: set[Any], column: Column) -> dict[str, Any]:
    """One column as the profile shows it; `distinct` ends at `MAX_DISTINCT`."""
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


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("ingested", type=Path, help="folder for the Parquet parts")
    parser.add_argument("profile", type=Path, help="JSON file for the profile")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("ingest", schema=schema)

    summaries = dict.fromkeys(schema.columns, Summary())
    distinct: dict[str, set[Any]] = {name: set() for name in schema.columns}
    classes: Counter[str] = Counter()
    rows = 0
    tables = (
        with_share(table, file, schema)
        for file in source_files(schema.source, schema.test_files)
        for table in read_table(file, schema)
    )
    with atomic_write(args.ingested) as folder:
        parts = in_parts(tables, arrow_schema(schema), params.ingest.rows_per_part)
        for number, part in enumerate(prefetch(parts)):
            write_part(folder, number, part)
            rows += len(part)
            if schema.task != "regression":
                classes += count_values(part[schema.target])
            for name, column in schema.columns.items():
                summaries[name] = summaries[name].merge(Summary.of(part[name], column))
                if len(distinct[name]) < MAX_DISTINCT:
                    distinct[name] |= distinct_values(part[name], column)
        if not rows:
            raise UserError(f"{schema.source}: found a header and no rows; expected some")

    profile = {
        "rows": rows,
        "columns": len(schema.columns),
        "column": {
            name: describe(summaries[name], distinct[name], column)
            for name, column in schema.columns.items()
        },
        "target": {name: {"rows": n, "share": n / rows} for name, n in classes.items()},
    }
    write_json(args.profile, profile)


if __name__ == "__main__":
    run(main)
