"""Every row checked against the declared columns; a check with the policy error ends the run."""

import shutil
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabular.errors import UserError
from tabular.files import atomic_write, write_json
from tabular.params.loading import load_params
from tabular.process import run
from tabular.schema import load_schema
from tabular.table.checks import Checks, check_table, describe, rows_to_name
from tabular.table.parquet import part_paths, read_parts, write_part
from tabular.table.rejects import Failure, rejected_rows
from tabular.table.source import row_names, source_files


def dropped_cells(part: pa.Table, first: int, checks: Checks) -> list[Failure]:
    """What the checks with the policy `drop` found in a part, whose first row is row `first`."""
    failures = []
    for (column, name), check in checks.items():
        if check.policy == "drop":
            start, end = np.searchsorted(check.rows, [first, first + len(part)])
            rows = pa.array(check.rows[start:end] - first)
            cells = pa.nulls(len(rows), pa.string())
            if name != "duplicate_rows":
                cells = pc.fill_null(part[column].take(rows).cast(pa.string()), "")
            failures += [
                Failure(row, column, name, cell, check.expected)
                for row, cell in zip(rows.to_pylist(), cells.to_pylist(), strict=True)
            ]
    return failures


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--ingested", type=Path, required=True, help="folder of Parquet parts to check")
    add("--validated", type=Path, required=True, help="folder for the checked parts")
    add("--rejected", type=Path, required=True, help="folder for the rows set aside")
    add("--report", type=Path, required=True, help="JSON file for the verdict of every check")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("validate", schema=schema)

    rows, checks = check_table(read_parts(args.ingested), schema, params.validate)
    report = {
        "rows": rows,
        "failed_checks": sum(check.verdict != "pass" for check in checks.values()),
        "checks": {
            f"{column}.{name}": {"verdict": check.verdict, "failed_rows": check.failed_rows}
            for (column, name), check in checks.items()
        },
    }
    write_json(args.report, report)
    lines = {}
    if named := rows_to_name(checks):
        lines = row_names(source_files(schema.source), schema, named)
    messages = describe(rows, checks, lines)
    for policy in ("drop", "warn"):
        for message in messages[policy]:
            print(f"{policy}: {message}")
    if messages["error"]:
        raise UserError("\n".join(["the table does not pass its checks", *messages["error"]]))

    dropped = np.array([], np.int64)
    for check in checks.values():
        if check.policy == "drop":
            dropped = np.union1d(dropped, check.rows)
    first = 0
    with atomic_write(args.validated) as validated, atomic_write(args.rejected) as rejected:
        validated.mkdir()
        for number, path in enumerate(part_paths(args.ingested)):
            length = pq.read_metadata(path).num_rows
            start, end = np.searchsorted(dropped, [first, first + length])
            if start < end:
                part = pq.read_table(path)
                numbers = dropped[start:end] - first
                kept = np.ones(length, bool)
                kept[numbers] = False
                write_part(validated, number, part.filter(pa.array(kept)))
                named_here = {row: lines[first + row] for row in numbers.tolist()}
                failures = dropped_cells(part, first, checks)
                write_part(rejected, number, rejected_rows(part, failures, named_here))
            else:
                shutil.copyfile(path, validated / path.name)
            first += length
        if not rejected.exists():
            write_part(rejected, 0, rejected_rows(pq.read_schema(path).empty_table(), [], {}))


if __name__ == "__main__":
    run(main)
