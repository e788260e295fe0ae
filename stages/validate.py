"""Every row checked against the declared columns; a check with the policy error ends the run."""

from argparse import ArgumentParser
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabular.engine import ordered_map
from tabular.errors import UserError
from tabular.files import atomic_write, link, write_json
from tabular.params.loading import load_params
from tabular.process import run
from tabular.schema import load_schema
from tabular.table.checks import Checks, check_table, describe, rows_to_name
from tabular.table.parquet import part_paths, without_pandas, write_part
from tabular.table.rejects import Failure, rejected_rows
from tabular.table.source import row_names, source_files


class Drop(NamedTuple):
    """The rows of a part to set aside: where each one stood, by its number in it, and why.

    `failed`: for each check of a column what is expected and the rows that fail it, ascending.
    """

    number: int
    path: Path
    lines: dict[int, str]
    failed: dict[tuple[str, str], tuple[str, np.ndarray]]


def drops(paths: list[Path], checks: Checks, lines: dict[int, str]) -> Iterator[Drop]:
    """What is to be set aside of each part of which a row fails a check with the policy `drop`."""
    first = 0
    for number, path in enumerate(paths):
        length = pq.read_metadata(path).num_rows
        failed = {}
        for key, check in checks.items():
            start, end = np.searchsorted(check.rows, [first, first + length])
            if check.policy == "drop" and start < end:
                failed[key] = check.expected, check.rows[start:end] - first
        if failed:
            rows = np.unique(np.concatenate([rows for _, rows in failed.values()])).tolist()
            yield Drop(number, path, {row: lines[first + row] for row in rows}, failed)
        first += length


def dropped_cells(
    part: pa.Table, failed: dict[tuple[str, str], tuple[str, np.ndarray]]
) -> list[Failure]:
    """The cells of a part that fail, see `Drop`."""
    failures = []
    for (column, name), (expected, rows) in failed.items():
        cells = pa.nulls(len(rows), pa.string())
        if name != "duplicate_rows":
            cells = pc.fill_null(part[column].take(pa.array(rows)).cast(pa.string()), "")
        failures += [
            Failure(row, column, name, cell, expected)
            for row, cell in zip(rows.tolist(), cells.to_pylist(), strict=True)
        ]
    return failures


def set_aside(drop: Drop, validated: Path, rejected: Path) -> None:
    """Write a part without some of its rows, and these."""
    part = pq.read_table(drop.path)
    kept = np.ones(len(part), bool)
    kept[list(drop.lines)] = False
    write_part(validated, drop.number, part.filter(pa.array(kept)))
    failures = dropped_cells(part, drop.failed)
    write_part(rejected, drop.number, rejected_rows(part, failures, drop.lines))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--ingested", type=Path, required=True, help="folder of Parquet parts to check")
    add("--validated", type=Path, required=True, help="folder for the checked parts")
    add("--rejected", type=Path, required=True, help="folder for the rows set aside")
    add("--report", type=Path, required=True, help="JSON file for the verdict of every check")
    args = parser.parse_args()
    without_pandas()
    schema = load_schema()
    params = load_params("validate", schema=schema)

    paths = part_paths(args.ingested)
    with atomic_write(args.validated) as validated, atomic_write(args.rejected) as rejected:
        validated.mkdir()
        scratch = validated / ".hashes.partial"  # which atomic_write removes
        rows, checks = check_table(paths, schema, params.validate, scratch)
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
        dropping = list(drops(paths, checks, lines))
        for path in sorted({*paths} - {drop.path for drop in dropping}):
            link(path, validated / path.name)
        write = partial(set_aside, validated=validated, rejected=rejected)
        for _ in ordered_map(write, dropping):
            pass
        if not rejected.exists():
            write_part(rejected, 0, rejected_rows(pq.read_schema(paths[0]).empty_table(), [], {}))


if __name__ == "__main__":
    run(main)
