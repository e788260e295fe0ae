"""The outcome of the checks of a table: a report, and the rows that are set aside."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.core.files import link
from keras_tabular.table.checks import Checks
from keras_tabular.table.parquet import write_part
from keras_tabular.table.rows import dropped_failures, rejected_rows


def build_report(rows: int, checks: Checks) -> dict[str, Any]:
    """Return the content of `metrics/validation.json`: the verdict of every check.

    Args:
        rows: Number of rows of the table.
    """
    return {
        "rows": rows,
        "failed_checks": sum(check.failed_rows > 0 for check in checks.values()),
        "checks": {
            f"{column}.{name}": {"verdict": check.verdict, "failed_rows": check.failed_rows}
            for (column, name), check in checks.items()
        },
    }


def set_aside(
    paths: list[Path], checks: Checks, lines: dict[int, str], validated: Path, rejected: Path
) -> None:
    """Write the rows that a check with the policy `drop` rejects, and the other rows.

    Args:
        paths: The parts of the table.
        lines: File and line of each row that is rejected, by its number in the table.
        validated: Folder for the other rows.
        rejected: Folder for the rejected rows; it gets a part without rows if there are none.
    """
    validated.mkdir()
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
    if not len(dropped):
        write_part(rejected, 0, rejected_rows(pq.read_schema(paths[0]).empty_table(), [], {}))
