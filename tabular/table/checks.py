"""What a table is checked for, a part at a time: declared columns, repeats, leaks, rare classes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tabular.engine import ordered_map
from tabular.errors import cut
from tabular.params.validate import Validate
from tabular.schema import Column, Schema
from tabular.table.cells import is_missing, numbers

EXAMPLES = 3
NO_ROWS = np.empty(0, np.int64)


@dataclass
class Check:
    """One check of a column or of the table: its policy, and what failed it so far.

    `rows` are the numbers of the failed rows in the table; a check of a whole column has none of
    them and fails in `column_rows`.
    """

    expected: str
    policy: str
    rows: np.ndarray = field(default_factory=lambda: NO_ROWS)
    column_rows: int = 0
    found: list[Any] = field(default_factory=list)

    def fail(self, rows: np.ndarray, found: Iterable[Any] = ()) -> None:
        """Add rows that failed, and what was found in the first of them."""
        self.rows = np.concatenate([self.rows, rows])
        self.found = [*self.found, *found][:EXAMPLES]

    @property
    def failed_rows(self) -> int:
        return len(self.rows) or self.column_rows

    @property
    def verdict(self) -> str:
        return self.policy if self.failed_rows else "pass"


Checks = dict[tuple[str, str], Check]


def declared_checks(schema: Schema, policies: Validate) -> Checks:
    """All checks that the schema asks for, by column (or "table") and name."""
    checks = {("table", "duplicate_rows"): Check("no two equal rows", policies.duplicate_rows)}
    for name, column in schema.columns.items():
        checks[name, "empty_column"] = Check("a value in some row", policies.empty_column)
        if not column.nullable:
            check = missing_check(name, schema)
            checks[name, check] = Check("a value in every row", getattr(policies, check))
        if column.min is not None or column.max is not None:
            checks[name, "range"] = Check(bounds(column.min, column.max), policies.range)
        if column.values is not None:
            checks[name, "values"] = Check(f"one of {list(column.values)}", policies.values)
        if column.unique:
            checks[name, "unique"] = Check("no value twice", policies.unique)
        if name in schema.features:
            checks[name, "constant_column"] = Check("different values", policies.constant_column)
            checks[name, "leak"] = Check(
                f"a column that does not tell {schema.target} by itself", policies.leak
            )
        elif name == schema.target and schema.task != "regression":
            needed = f"at least {policies.min_class_rows} rows of each class {list(schema.classes)}"
            checks[name, "rare_class"] = Check(needed, policies.rare_class)
    return checks


def missing_check(name: str, schema: Schema) -> str:
    """What the check of a column for gaps is called."""
    return "missing_target" if name == schema.target else "missing"


def bounds(low: float | None, high: float | None) -> str:
    """The range of a column in words, its numbers as the schema has them."""
    if high is None:
        return f"at least {low:.15g}"
    return f"at most {high:.15g}" if low is None else f"{low:.15g} to {high:.15g}"


def failed_cells(
    part: pa.Table, columns: dict[str, Column]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """The rows of a part, ascending from 0, that fail `missing`, `range` or `values` of a column.

    Yields:
        The column, the check and the rows, int64, of which there is one at least.
    """
    for name, column in columns.items():
        values = part[name]
        missing = is_missing(values, column)
        failed = {} if column.nullable else {"missing": missing}
        if column.min is not None or column.max is not None:
            as_numbers = numbers(values, column)
        if column.min is not None:
            failed["range"] = pc.less(as_numbers, column.min)
        if column.max is not None:
            above = pc.greater(as_numbers, column.max)
            failed["range"] = pc.or_(failed["range"], above) if "range" in failed else above
        if column.values is not None:
            failed["values"] = pc.invert(pc.is_in(values, pa.array(column.values, values.type)))
        for check, rows in failed.items():
            if check != "missing":
                rows = pc.and_not(rows, missing)
            if pc.any(rows).as_py():
                yield name, check, np.flatnonzero(pc.fill_null(rows, False))


class Repeats:
    """Finds rows whose value stood in an earlier row, by 64-bit hashes."""

    def __init__(self) -> None:
        self._hashes = bytearray()  # 8 bytes a row; it grows without a second copy
        self._rows = 0

    def add(self, hashes: np.ndarray, missing: np.ndarray | None) -> None:
        """Take the hashes of one part, uint64, (rows,). A missing value repeats nothing."""
        if missing is not None:
            rows = np.arange(self._rows, self._rows + len(hashes), dtype=np.uint64)
            hashes = np.where(missing, rows, hashes)
        self._hashes += hashes.tobytes()
        self._rows += len(hashes)

    def rows(self) -> np.ndarray:
        """The rows that repeat an earlier one, ascending; one of 16 shares of the hashes a time."""
        hashes = np.frombuffer(self._hashes, np.uint64)
        share = np.frombuffer(self._hashes, np.uint8)[::8] >> 4
        repeated = [NO_ROWS]
        for number in range(16):
            rows = np.flatnonzero(share == number)
            ordered = np.sort(hashes[rows])  # np.unique of all would take 30 times as long
            twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
            if len(twice):
                suspects = rows[np.isin(hashes[rows], twice)]
                _, first = np.unique(hashes[suspects], return_index=True)
                repeated.append(np.delete(suspects, first))
        return np.sort(np.concatenate(repeated))


class Leak:
    """Whether each value of a column stands for one value of the target, and the reverse."""

    def __init__(self, task: str) -> None:
        self.possible = True
        self._regression = task == "regression"
        self._pairs: set[tuple[Any, Any]] = set()

    def add(self, values: pd.Series, target: pd.Series) -> None:
        """Take the values of one part."""
        if not self.possible:
            return
        if self._regression:
            self.possible = bool(values.astype(object).equals(target.astype(object)))
            return
        for size in (1000, len(values)):  # nearly every column ends at the first few rows
            pairs = pd.DataFrame({"value": values[:size], "target": target[:size]})
            pairs = pairs.drop_duplicates().astype(object)
            self._pairs |= set(pairs.where(pairs.notna(), None).itertuples(index=False, name=None))
            ends = [set(end) for end in zip(*self._pairs, strict=True)]
            self.possible = all(len(end) == len(self._pairs) for end in ends)
            if not self.possible:
                return


class ColumnChecks:
    """What only all parts together tell: repeats, leaks, empty and constant columns, classes."""

    def __init__(self, checks: Checks, schema: Schema) -> None:
        self._schema = schema
        self._repeats = {k: Repeats() for k in checks if k[1] in ("unique", "duplicate_rows")}
        self._leaks = {name: Leak(schema.task) for name in schema.features}
        self._extremes: dict[str, set[Any]] = {name: set() for name in schema.columns}
        self._class_rows = Counter[Any]()

    def add(self, part: "Part") -> None:
        """Take one part."""
        frame = part.frame
        target = frame[self._schema.target]
        for key, repeats in self._repeats.items():
            repeats.add(*part.hashes[key])
        for name, leak in self._leaks.items():
            leak.add(frame[name], target)
        for name, values in frame.items():
            if len(self._extremes[name]) < 2:  # neither empty nor constant, and no more is asked
                present = values.dropna()
                self._extremes[name] |= {present.min(), present.max()} if len(present) else set()
                self._extremes[name] |= {None} if len(present) < len(values) else set()
        if self._schema.task != "regression":
            self._class_rows.update(target.value_counts().to_dict())

    def finish(self, checks: Checks, rows: int, min_class_rows: int) -> None:
        """Add to the checks what failed in a table of so many `rows`."""
        for key, repeats in self._repeats.items():
            checks[key].fail(repeats.rows())
        for name, values in self._extremes.items():
            failed = {
                "empty_column": not values - {None},
                "constant_column": len(values - {None}) == len(values) == 1,
                "leak": name in self._leaks and self._leaks[name].possible and len(values) > 1,
            }
            for failing in (checks.get((name, check)) for check, yes in failed.items() if yes):
                if failing:
                    failing.column_rows, failing.found = rows, sorted(values - {None})
        counts = {value: self._class_rows[value] for value in self._schema.classes}
        rare = {value: count for value, count in counts.items() if count < min_class_rows}
        if rare:
            check = checks[self._schema.target, "rare_class"]
            check.column_rows = max(sum(rare.values()), 1)
            check.found = [f"{count} rows of {value}" for value, count in rare.items()]


class Part(NamedTuple):
    """What one part of a table tells by itself.

    `frame` with an empty cell for each missing value; `failed` the column, the check, the rows and
    some of the values that failed it; `hashes` of the values that must not repeat, and where they
    are missing, by column (or "table") and check.
    """

    frame: pd.DataFrame
    failed: list[tuple[str, str, np.ndarray, list[Any]]]
    hashes: dict[tuple[str, str], tuple[np.ndarray, np.ndarray | None]]


def check_part(part: pa.Table, schema: Schema, checks: Iterable[tuple[str, str]]) -> Part:
    """All that `checks` ask of one part alone."""
    failed = []
    for name, check, rows in failed_cells(part, schema.columns):
        values = part[name].take(pa.array(rows[:EXAMPLES])).to_pylist()
        failed.append((name, check, rows, [] if check == "missing" else values))
    frame, hashes = as_frame(part, schema.columns), {}
    for name, check in checks:
        if check in ("unique", "duplicate_rows"):
            values = frame if check == "duplicate_rows" else frame[name]
            missing = values.isna().to_numpy() if check == "unique" else None
            found = pd.util.hash_pandas_object(values, index=False).to_numpy()
            hashes[name, check] = found, missing
    return Part(frame, failed, hashes)


def check_table(
    parts: Iterable[pa.Table], schema: Schema, policies: Validate
) -> tuple[int, Checks]:
    """All checks over all parts: the number of rows, and what each check found."""
    checks = declared_checks(schema, policies)
    columns = ColumnChecks(checks, schema)
    rows = 0
    for part in ordered_map(lambda part: check_part(part, schema, list(checks)), parts):
        for name, check, failed, found in part.failed:
            key = missing_check(name, schema) if check == "missing" else check
            checks[name, key].fail(rows + failed, found)
        columns.add(part)
        rows += len(part.frame)
    columns.finish(checks, rows, policies.min_class_rows)
    return rows, checks


def as_frame(part: pa.Table, columns: dict[str, Column]) -> pd.DataFrame:
    """The part for pandas, with an empty cell for each value that means missing."""
    present = {
        name: pc.if_else(is_missing(part[name], column), None, part[name])
        for name, column in columns.items()
    }
    types = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return pa.table(present).to_pandas(types_mapper=types.get)


def describe(rows: int, checks: Checks, lines: dict[int, str]) -> dict[str, list[str]]:
    """What failed, in words, by policy; `lines` are those of `rows_to_name`."""
    messages: dict[str, list[str]] = {"error": [], "drop": [], "warn": []}
    for (column, name), check in checks.items():
        if not check.failed_rows:
            continue
        where = "; ".join(lines[row] for row in check.rows[:EXAMPLES].tolist())
        found = ", ".join(cut(str(value)) for value in check.found)
        hint = "; nullable: true in data/schema.yaml allows gaps" if name == "missing" else ""
        if check.policy == "error":
            asked = f"validate.{name} in params.yaml"
            hint += f"; {asked}: " + (
                "drop sets such rows aside, warn keeps them" if len(check.rows) else "warn goes on"
            )
        messages[check.policy].append(
            f"{column}: {check.failed_rows} of {rows} rows fail {name}"
            f"{f': found {found}' if found else ''}; expected {check.expected}"
            f"{where and f' ({where})'}{hint}"
        )
    return messages


def rows_to_name(checks: Checks) -> set[int]:
    """The rows whose lines `describe` names, and those that are set aside."""
    named = [
        check.rows if check.policy == "drop" else check.rows[:EXAMPLES] for check in checks.values()
    ]
    return set(np.concatenate(named).tolist())
