"""Check every row against the declared columns; a check with the policy error ends the run."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, link, write_json
from keras_tabular.table.checks import (
    Checks,
    RowCheck,
    check_table,
    describe_failures,
    rows_to_locate,
)
from keras_tabular.table.parquet import hide_pandas, part_paths, write_part
from keras_tabular.table.rows import dropped_failures, rejected_rows
from keras_tabular.table.source import row_locator, source_files
from stages import run

# Your own checks of several columns of a row. See `keras-tabular docs own-parts` for an example.
CHECKS: list[RowCheck] = []


def set_aside(
    paths: list[Path], checks: Checks, lines: dict[int, str], validated: Path, rejected: Path
) -> None:
    """Write the rows that a check with the policy `drop` rejects, and the other rows."""
    rows_of_checks = [check.rows for check in checks.values() if check.policy == "drop"]
    dropped = np.unique(np.concatenate([np.empty(0, np.int64), *rows_of_checks]))
    first = 0
    for number, path in enumerate(paths):
        end = first + pq.read_metadata(path).num_rows
        rows = dropped[(dropped >= first) & (dropped < end)] - first
        if len(rows):
            part = pq.read_table(path)
            failures = dropped_failures(part, first, checks)
            part_lines = {row: lines[first + row] for row in rows.tolist()}
            write_part(rejected, number, rejected_rows(part, failures, part_lines))
            write_part(validated, number, part.filter(~np.isin(np.arange(len(part)), rows)))
        else:
            link(path, validated / path.name)
        first = end


def build_report(rows: int, checks: Checks) -> dict[str, Any]:
    """Return the content of `metrics/validation.json`: the verdict of every check."""
    return {
        "rows": rows,
        "failed_checks": sum(check.verdict != "pass" for check in checks.values()),
        "checks": {
            f"{column}.{name}": {"verdict": check.verdict, "failed_rows": check.failed_rows}
            for (column, name), check in checks.items()
        },
    }


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("ingested", type=Path, help="folder of Parquet parts to check")
    parser.add_argument("validated", type=Path, help="folder for the checked parts")
    parser.add_argument("rejected", type=Path, help="folder for the rows set aside")
    parser.add_argument("report", type=Path, help="JSON file for the verdict of every check")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("validate", schema=schema)

    hide_pandas()
    paths = part_paths(args.ingested)
    with atomic_write(args.validated) as validated, atomic_write(args.rejected) as rejected:
        validated.mkdir()
        rows, checks = check_table(paths, schema, params.validate, CHECKS)
        write_json(args.report, build_report(rows, checks))
        locate = row_locator(source_files(schema.source), schema)
        lines = {row: locate(row) for row in rows_to_locate(checks)}
        messages = describe_failures(rows, checks, lines)
        for policy in ("drop", "warn"):
            for message in messages[policy]:
                print(f"{policy}: {message}")
        if messages["error"]:
            raise UserError("\n".join(["The table does not pass its checks.", *messages["error"]]))
        set_aside(paths, checks, lines, validated, rejected)
        if not rejected.exists():
            write_part(rejected, 0, rejected_rows(pq.read_schema(paths[0]).empty_table(), [], {}))


if __name__ == "__main__":
    run(main)
