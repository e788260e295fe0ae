"""Every row checked against the declared columns; the table goes on when no check says error."""

import shutil
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.checks import Checks, check_table, describe
from stages.lib.params import load_params
from stages.lib.source import line_numbers, source_files
from stages.lib.stage import UserError, run, whole, write_json
from stages.lib.table import ahead, part_paths, read_parts, write_part


def dropped_rows(checks: Checks) -> dict[int, str]:
    """The rows that a check with the policy `drop` sets aside, ascending, with the reasons."""
    reasons: dict[int, list[str]] = {}
    for (column, name), check in checks.items():
        if check.policy == "drop":
            for row in check.rows.tolist():
                reasons.setdefault(row, []).append(f"{column}: {name}")
    return {row: "; ".join(reasons[row]) for row in sorted(reasons)}


def divide(
    part: pa.Table, first: int, reasons: dict[int, str], lines: dict[int, str]
) -> tuple[pa.Table, pa.Table]:
    """The rows of a part that go on, and those set aside with `rejected_line` and `_reason`.

    `first` is the place of the part's first row in the table.
    """
    rows = [row for row in range(first, first + len(part)) if row in reasons]
    kept = np.ones(len(part), bool)
    kept[np.array(rows, np.int64) - first] = False
    aside = part.filter(pa.array(~kept))
    aside = aside.append_column("rejected_line", pa.array([lines[r] for r in rows], pa.string()))
    aside = aside.append_column(
        "rejected_reason", pa.array([reasons[r] for r in rows], pa.string())
    )
    return part.filter(pa.array(kept)), aside


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder that holds the CSV files, for lines")
    parser.add_argument("ingested", type=Path, help="folder of Parquet parts to check")
    parser.add_argument("validated", type=Path, help="folder for the checked parts")
    parser.add_argument("rejected", type=Path, help="folder for the rows set aside")
    parser.add_argument("report", type=Path, help="JSON file for the verdict of every check")
    args = parser.parse_args()
    params = load_params()
    files = source_files(params.data.source, args.folder)

    rows, checks = check_table(ahead(read_parts(args.ingested)), params.data, params.validate_)
    report = {
        "rows": rows,
        "failed_checks": sum(check.verdict != "pass" for check in checks.values()),
        "checks": {
            f"{column}.{name}": {"verdict": check.verdict, "failed_rows": check.failed_rows}
            for (column, name), check in checks.items()
        },
    }
    write_json(args.report, report)
    messages = describe(rows, checks, files, params.data)
    for policy in ("drop", "warn"):
        for message in messages[policy]:
            print(f"{policy}: {message}")
    if messages["error"]:
        raise UserError("\n".join(["the table does not pass its checks", *messages["error"]]))

    reasons = dropped_rows(checks)
    lines = line_numbers(files, params.data, reasons) if reasons else {}
    first = 0
    with whole(args.validated) as validated, whole(args.rejected) as rejected:
        validated.mkdir()
        for number, path in enumerate(part_paths(args.ingested)):
            rows_here = pq.read_metadata(path).num_rows
            if any(first <= row < first + rows_here for row in reasons):
                kept, aside = divide(pq.read_table(path), first, reasons, lines)
                write_part(validated, number, kept)
                write_part(rejected, number, aside)
            else:
                shutil.copyfile(path, validated / path.name)
            first += rows_here
        if not rejected.exists():
            nothing = pq.read_schema(path).empty_table()
            write_part(rejected, 0, divide(nothing, 0, {}, {})[1])


if __name__ == "__main__":
    run(main)
