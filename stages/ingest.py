"""CSV in, Parquet parts with the declared types and a profile of every column out."""

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tabular.engine import ordered_map
from tabular.errors import UserError
from tabular.files import atomic_write, write_json
from tabular.params.loading import load_params
from tabular.process import run
from tabular.schema import Column, Schema, load_schema
from tabular.table.cells import TEXTS, is_missing
from tabular.table.parquet import FILE_SHARE, without_pandas, write_part
from tabular.table.shares import hashes
from tabular.table.source import Piece, column_names, pieces, read_piece, source_files
from tabular.table.summary import Summary

MAX_DISTINCT = 10_000  # where counting distinct values stops


class Profile(NamedTuple):
    """What a part holds: rows, a summary and some of the values of each column, and classes."""

    rows: int
    summaries: dict[str, Summary]
    distinct: dict[str, set[Any]]
    classes: Counter[str]


def profile_of(part: pa.Table, schema: Schema) -> Profile:
    regression = schema.task == "regression"
    return Profile(
        len(part),
        {name: Summary.of(part[name], column) for name, column in schema.columns.items()},
        {name: distinct_values(part[name], column) for name, column in schema.columns.items()},
        Counter() if regression else count_values(part[schema.target]),
    )


def distinct_values(values: pa.ChunkedArray, column: Column) -> set[Any]:
    """The values of one part that are not missing, up to `MAX_DISTINCT`; of long texts hashes."""
    unique = values[: 5 * MAX_DISTINCT].unique()  # which most often are enough or few
    if len(unique) <= MAX_DISTINCT:
        unique = values.unique()
    present = unique.filter(pa.compute.invert(is_missing(unique, column)))[:MAX_DISTINCT]
    if column.kind == "text":
        return set(hashes([pa.chunked_array([present])], seed=0).tolist())
    return set(present.to_pylist())


def count_values(values: pa.ChunkedArray) -> Counter[str]:
    """How many rows of one part hold each value."""
    return Counter(
        {str(pair["values"]): pair["counts"] for pair in values.value_counts().to_pylist()}
    )


def parts_of(files: list[Path], schema: Schema, size: int) -> Iterator[list[Piece]]:
    """The rows of all files as parts of `size` rows, the last one shorter: pieces of files."""
    part: list[Piece] = []
    left = size
    for file in files:
        names = column_names(file, schema, schema.columns)
        for piece in pieces(file, schema, names, size, left):
            part.append(piece)
            left -= piece.rows
            if not left:
                yield part
                part, left = [], size
    if part:
        yield part


def ingest_part(numbered: tuple[int, list[Piece]], folder: Path, schema: Schema) -> Profile:
    """Read a part, write it as Parquet, and say what it holds."""
    number, part = numbered
    tables = []
    for piece in part:
        table = read_piece(piece, schema)
        if schema.test_files:
            share = "test" if piece.file.name in schema.test_files else "train"
            table = table.append_column(FILE_SHARE, pa.repeat(share, len(table)))
        tables.append(table)
    table = pa.concat_tables(tables)
    write_part(folder, number, table)
    return profile_of(table, schema)


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
    without_pandas()
    schema = load_schema()
    params = load_params("ingest", schema=schema)

    summaries = dict.fromkeys(schema.columns, Summary())
    distinct: dict[str, set[Any]] = {name: set() for name in schema.columns}
    classes: Counter[str] = Counter()
    rows = 0
    files = source_files(schema.source, schema.test_files)
    with atomic_write(args.ingested) as folder:
        parts = parts_of(files, schema, params.ingest.rows_per_part)
        ingest = partial(ingest_part, folder=folder, schema=schema)
        for of_part in ordered_map(ingest, enumerate(parts)):
            rows += of_part.rows
            classes += of_part.classes
            for name in schema.columns:
                summaries[name] = summaries[name].merge(of_part.summaries[name])
                if len(distinct[name]) < MAX_DISTINCT:
                    distinct[name] |= of_part.distinct[name]
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
