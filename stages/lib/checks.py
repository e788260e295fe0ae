"""What a table is checked for, a part at a time: declared columns, repeats, leaks, rare classes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc

from stages.lib.params import Column, Data, Validate
from stages.lib.source import line_numbers
from stages.lib.table import is_missing

PANDAS_TYPES = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
EXAMPLES = 3
NO_ROWS = np.empty(0, np.int64)


@dataclass
class Check:
    """One check of a column or of the table: its policy, and what failed it so far.

    `rows` are the places of the failed rows in the ingested table; a check of a whole column has
    none of them and fails in `whole_rows`.
    """

    expected: str
    policy: str
    rows: np.ndarray = field(default_factory=lambda: NO_ROWS)
    whole_rows: int = 0
    found: list[Any] = field(default_factory=list)

    def fail(self, rows: Iterable[int], found: Iterable[Any]) -> None:
        """Add rows that failed, and what was found in them."""
        self.rows = np.concatenate([self.rows, np.fromiter(rows, np.int64)])
        self.found = [*self.found, *found][:EXAMPLES]

    @property
    def failed_rows(self) -> int:
        return len(self.rows) or self.whole_rows

    @property
    def verdict(self) -> str:
        return self.policy if self.failed_rows else "pass"


Checks = dict[tuple[str, str], Check]


def checks_of(data: Data, policies: Validate) -> Checks:
    """All checks that the declaration asks for, by column (or "table") and name."""
    checks = {("table", "duplicate_rows"): Check("no two equal rows", policies.duplicate_rows)}
    for name, column in data.columns.items():
        checks[name, "empty_column"] = Check("a value in some row", policies.empty_column)
        if not column.nullable:
            checks[name, "missing"] = Check("a value in every row", policies.missing)
        if column.min is not None or column.max is not None:
            checks[name, "range"] = Check(bounds(column.min, column.max), policies.range)
        if column.values is not None:
            checks[name, "values"] = Check(f"one of {list(column.values)}", policies.values)
        if column.unique:
            checks[name, "unique"] = Check("no value twice", policies.unique)
        if name != data.target:
            checks[name, "constant_column"] = Check("different values", policies.constant_column)
            checks[name, "leak"] = Check(
                f"a column that does not tell {data.target} by itself", policies.leak
            )
        elif data.task != "regression":
            needed = f"at least {policies.min_class_rows} rows of each class {list(data.classes)}"
            checks[name, "rare_class"] = Check(needed, policies.rare_class)
    return checks


def bounds(low: float | None, high: float | None) -> str:
    """The range of a column in words, its numbers as `params.yaml` has them."""
    if high is None:
        return f"at least {low:.15g}"
    return f"at most {high:.15g}" if low is None else f"{low:.15g} to {high:.15g}"


def pandera_schema(columns: dict[str, Column]) -> pandera.DataFrameSchema:
    """Declared columns for pandera; the `error` of a pandera check is the name of ours."""

    def checks(column: Column) -> list[pandera.Check]:
        return [
            *([pandera.Check.ge(column.min, error="range")] if column.min is not None else []),
            *([pandera.Check.le(column.max, error="range")] if column.max is not None else []),
            *([pandera.Check.isin(column.values, error="values")] if column.values else []),
        ]

    return pandera.DataFrameSchema(
        {
            name: pandera.Column(checks=checks(column), nullable=column.nullable)
            for name, column in columns.items()
        }
    )


def as_frame(part: pa.Table, columns: dict[str, Column]) -> pd.DataFrame:
    """The part for pandas, with an empty cell for each value that means missing."""
    present = {
        name: pc.if_else(is_missing(part[name], column), None, part[name])
        for name, column in columns.items()
    }
    return pa.table(present).to_pandas(types_mapper=PANDAS_TYPES.get)


def failed_cells(frame: pd.DataFrame, schema: pandera.DataFrameSchema) -> pd.DataFrame:
    """The cells that fail a check: `column`, `check`, `failure_case` and the row's `index`."""
    try:
        schema.validate(frame, lazy=True, inplace=True)  # or it copies; no check changes a value
    except pandera.errors.SchemaErrors as error:
        return error.failure_cases.replace({"check": {"not_nullable": "missing"}})
    return pd.DataFrame(columns=["column", "check", "failure_case", "index"])


class Repeats:
    """Finds rows whose value stood in an earlier row, by 64-bit hashes."""

    def __init__(self) -> None:
        self._hashes = bytearray()  # 8 bytes a row; it grows without a second copy
        self._rows = 0

    def add(self, values: pd.DataFrame | pd.Series) -> None:
        """Take the values of one part. An empty cell of a column repeats nothing."""
        hashes = pd.util.hash_pandas_object(values, index=False).to_numpy()
        if isinstance(values, pd.Series):
            rows = np.arange(self._rows, self._rows + len(values), dtype=np.uint64)
            hashes = np.where(values.isna(), rows, hashes)
        self._hashes += hashes.tobytes()
        self._rows += len(values)

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
        self._pairs: dict[Any, Any] = {}

    def add(self, values: pd.Series, target: pd.Series) -> None:
        if not self.possible:
            return
        if self._regression:
            self.possible = bool(values.astype(object).equals(target.astype(object)))
            return
        for size in (1000, len(values)):  # nearly every column ends at the first few rows
            pairs = pd.DataFrame({"value": values[:size], "target": target[:size]})
            for value, label in pairs.drop_duplicates().itertuples(index=False):
                label = None if pd.isna(label) else label
                value = None if pd.isna(value) else value
                self.possible &= self._pairs.setdefault(value, label) == label
            self.possible &= len(set(self._pairs.values())) == len(self._pairs)
            if not self.possible:
                return


def check_table(parts: Iterable[pa.Table], data: Data, policies: Validate) -> tuple[int, Checks]:
    """All checks over all parts: the number of rows, and what each check found."""
    checks = checks_of(data, policies)
    schema = pandera_schema(data.columns)
    repeats = {key: Repeats() for key in checks if key[1] in ("unique", "duplicate_rows")}
    leaks = {name: Leak(data.task) for name in data.features}
    extremes: dict[str, set[Any]] = {name: set() for name in data.columns}
    class_rows = Counter[Any]()
    rows = 0
    for part in parts:
        frame = as_frame(part, data.columns)
        for key, cases in failed_cells(frame, schema).groupby(["column", "check"]):
            checks[key].fail(rows + cases["index"].astype(int), cases["failure_case"])
        for (name, of), repeat in repeats.items():
            repeat.add(frame if of == "duplicate_rows" else frame[name])
        for name, leak in leaks.items():
            leak.add(frame[name], frame[data.target])
        for name, values in frame.items():
            if len(extremes[name]) > 1:
                continue  # neither empty nor constant, and no more is asked
            present = values.dropna()
            extremes[name] |= {present.min(), present.max()} if len(present) else set()
        if data.task != "regression":
            class_rows.update(frame[data.target].value_counts().to_dict())
        rows += len(part)

    for key, repeat in repeats.items():
        checks[key].fail(repeat.rows(), [])
    for name, values in extremes.items():
        failed = {
            "empty_column": not values,
            "constant_column": len(values) == 1,
            "leak": name in leaks and leaks[name].possible and len(values) > 1,
        }
        for key, wrong in failed.items():
            if wrong and (name, key) in checks:
                checks[name, key].whole_rows = rows
                checks[name, key].found = sorted(values)
    rare = [value for value in data.classes if class_rows[value] < policies.min_class_rows]
    if rare:
        check = checks[data.target, "rare_class"]
        check.whole_rows = max(sum(class_rows[value] for value in rare), 1)
        check.found = [f"{class_rows[value]} rows of {value}" for value in rare]
    return rows, checks


def in_words(value: Any) -> str:
    """A found value; pandera turns whole numbers into floats where columns are mixed."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def describe(rows: int, checks: Checks, files: list[Path], data: Data) -> dict[str, list[str]]:
    """What failed, in words with line numbers, by policy."""
    first = {row for check in checks.values() for row in check.rows[:EXAMPLES].tolist()}
    lines = line_numbers(files, data, first) if first else {}
    messages: dict[str, list[str]] = {"error": [], "drop": [], "warn": []}
    for (column, name), check in checks.items():
        if not check.failed_rows:
            continue
        where = "; ".join(lines[row] for row in check.rows[:EXAMPLES].tolist())
        found = ", ".join(map(in_words, check.found))
        messages[check.policy].append(
            f"{column}: {check.failed_rows} of {rows} rows fail {name}"
            f"{f': found {found}' if found else ''}; expected {check.expected}"
            f"{where and f' ({where})'}"
        )
    return messages
