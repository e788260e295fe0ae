"""Cells that fail a check, and the rows that are set aside for them: one format everywhere."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tabular.errors import shown

REJECTED = ("rejected_line", "rejected_reason")


class Failure(NamedTuple):
    """A cell that fails a check: its row counted from the first of its part, and why."""

    row: int
    column: str
    check: str
    found: str | None  # None where a whole row fails
    expected: str
    policy: str = "error"

    def __str__(self) -> str:
        value = "" if self.found is None else f"found {shown(self.found)}; "
        return f"{self.column}: {value}expected {self.expected}"


def rejected_schema(names: Iterable[str]) -> pa.Schema:
    """The columns of rows that were set aside: all of them as texts, then `REJECTED`."""
    return pa.schema([(name, pa.string()) for name in [*names, *REJECTED]])


def rejected_rows(
    texts: pa.Table, failures: Iterable[Failure], lines: Mapping[int, str]
) -> pa.Table:
    """The rows of a part that fail, ascending, each with where it stood and every reason.

    Args:
        texts: the part.
        failures: of its rows.
        lines: file and line of each row that fails, by its number in the part.
    """
    reasons: dict[int, list[str]] = {}
    for failure in failures:
        reasons.setdefault(failure.row, []).append(str(failure))
    rows = sorted(reasons)
    failed = texts.take(pa.array(rows, pa.int64()))
    columns = [pc.fill_null(column.cast(pa.string()), "") for column in failed.columns]
    added = [[lines[row] for row in rows], ["; ".join(reasons[row]) for row in rows]]
    return pa.table(
        [*columns, *(pa.array(values, pa.string()) for values in added)],
        schema=rejected_schema(texts.column_names),
    )
