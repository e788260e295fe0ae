"""Checks of a table, a part at a time: declared columns, equal rows, leaks, rare classes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.sections import RowPolicy, Validate
from keras_tabular.core.errors import UserError, truncate
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.cells import as_float64, is_missing
from keras_tabular.table.database import first_equal_rows, row_hashes
from keras_tabular.table.leaks import sample_rows, shares_explained

EXAMPLES = 3


@dataclass
class Check:
    """One check of a column or of the table, and the rows that failed it so far.

    Attributes:
        expected: What is expected, as messages say it.
        policy: What follows if it fails: error, drop or warn.
        rows: Numbers of the failed rows in the table; none if the check is about a whole column.
        column_rows: Number of the failed rows if it is.
        found: Some of the values that failed it.
        share: Share of the target that the column explains, if the check is for leaks.
    """

    expected: str
    policy: str
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    column_rows: int = 0
    found: list[Any] = field(default_factory=list)
    share: float = 0.0

    def fail(self, rows: np.ndarray, values: Iterable[Any] = ()) -> None:
        """Add rows that failed, and what was found in the first of them."""
        self.rows = np.concatenate([self.rows, rows])
        self.found = [*self.found, *values][:EXAMPLES]

    @property
    def failed_rows(self) -> int:
        return len(self.rows) or self.column_rows

    @property
    def verdict(self) -> str:
        return self.policy if self.failed_rows else "pass"


Checks = dict[tuple[str, str], Check]


class RowCheck(NamedTuple):
    """A check that a project adds in `stages/validate.py`. It looks at some columns of each row.

    Attributes:
        name: Name of the check in messages and in `metrics/validation.json`.
        columns: Names of the columns that it reads.
        fails: Takes a pandas data frame with these columns of some rows, in which missing values
            are null. Returns for each row whether it fails.
        expected: What is expected, as messages say it.
        policy: What follows if it fails: error, drop or warn.
    """

    name: str
    columns: Sequence[str]
    fails: Callable[[Any], Any]
    expected: str
    policy: str = "error"


def declared_checks(schema: Schema, policies: Validate) -> Checks:
    """Return all checks that the schema asks for, by column (or "table") and name."""
    checks = {("table", "duplicate_rows"): Check("no two equal rows", policies.duplicate_rows)}
    for name, column in schema.columns.items():
        checks[name, "empty_column"] = Check("a value in some row", policies.empty_column)
        if not column.nullable:
            check = "missing_target" if name == schema.target else "missing"
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
                f"less than {100 * policies.leak_threshold:g}% (validate.leak_threshold); "
                f"if {name} is not known when {schema.target} is to be predicted, ignore it",
                policies.leak,
            )
        elif name == schema.target and schema.task != "regression":
            needed = f"at least {policies.min_class_rows} rows of each class {list(schema.classes)}"
            checks[name, "rare_class"] = Check(needed, policies.rare_class)
    return checks


def check_of_cell(checks: Checks, name: str, check: str) -> Check:
    """Return the check of a column that `failed_cells` names."""
    return checks.get((name, check)) or checks[name, f"{check}_target"]


def bounds(low: float | None, high: float | None) -> str:
    """Describe the range of a column, with the numbers of the schema."""
    if high is None:
        return f"at least {low:.15g}"
    return f"at most {high:.15g}" if low is None else f"{low:.15g} to {high:.15g}"


def failed_cells(
    part: pa.Table, columns: Mapping[str, Column]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Find the rows of a part, ascending from 0, that fail `missing`, `range` or `values`.

    Yields:
        The column, the check and the rows, int64, of which there is one at least.
    """
    for name, column in columns.items():
        values = part[name]
        missing = is_missing(values, column)
        failed = {} if column.nullable else {"missing": missing}
        if column.min is not None or column.max is not None:
            as_numbers = as_float64(values, column)
            failed["range"] = pc.or_(
                pc.less(as_numbers, -np.inf if column.min is None else column.min),
                pc.greater(as_numbers, np.inf if column.max is None else column.max),
            )
        if column.values is not None:
            failed["values"] = pc.invert(pc.is_in(values, pa.array(column.values, values.type)))
        for check, rows in failed.items():
            if check != "missing":
                rows = pc.and_not(rows, missing)
            if pc.any(rows).as_py():
                yield name, check, np.flatnonzero(pc.fill_null(rows, False))


class PartResult(NamedTuple):
    """Results of the checks of one part of a table.

    Attributes:
        rows: Number of rows.
        failed: The column, the check, the rows, and the values in the first of them.
        sample: Some of the rows, to look for leaks.
        extremes: The smallest and the largest value of each column, and None if one is missing.
        class_rows: Number of rows of each class.
    """

    rows: int
    failed: list[tuple[str, str, np.ndarray, list[Any]]]
    sample: pa.Table
    extremes: dict[str, set[Any]]
    class_rows: Counter[Any]


def check_part(part: Path | pa.Table, schema: Schema, parts: int) -> PartResult:
    """Collect what the checks need of one of the parts of a table, or its file."""
    part = read_columns(part, list(schema.columns))
    failed = []
    for name, check, rows in failed_cells(part, schema.columns):
        values = part[name].take(pa.array(rows[:EXAMPLES])).to_pylist()
        failed.append((name, check, rows, [] if check == "missing" else values))
    present = without_missing(part, schema.columns)
    classes = [] if schema.task == "regression" else present[schema.target].value_counts()
    return PartResult(
        len(part),
        failed,
        sample_rows(present, parts),
        {name: extremes(present[name]) for name in schema.columns},
        Counter({row["values"].as_py(): row["counts"].as_py() for row in classes}),
    )


def read_columns(part: Path | pa.Table, names: list[str]) -> pa.Table:
    """Return some columns of a part of a table, or of its file."""
    return pq.read_table(part, columns=names) if isinstance(part, Path) else part.select(names)


def without_missing(part: pa.Table, columns: Mapping[str, Column]) -> pa.Table:
    """Return `columns` of a part, with null for each value that means missing."""
    present = {}
    for name, column in columns.items():
        missing = is_missing(part[name], column) if column.sentinels else None
        some = missing is not None and pc.any(missing).as_py()
        present[name] = pc.if_else(missing, None, part[name]) if some else part[name]
    return pa.table(present)


def extremes(values: pa.ChunkedArray) -> set[Any]:
    """Return the least and the largest value, and None if one is missing."""
    ends = {None} if values.null_count else set()
    if len(values) > values.null_count:
        ends |= set(pc.min_max(values).as_py().values())
    return ends


def repeated_rows(parts: Iterable[pa.Table]) -> np.ndarray:
    """Find the rows of a table in parts that equal an earlier one: int64, ascending."""
    first = first_equal_rows(row_hashes(parts))
    return (
        np.empty(0, np.int64) if first is None else np.flatnonzero(first != np.arange(len(first)))
    )


def run_row_checks(
    row_checks: Sequence[RowCheck],
    schema: Schema,
    read: Callable[[Mapping[str, Column]], Iterable[pa.Table]],
) -> Checks:
    """Run the checks of the project over all parts.

    Args:
        read: Reads some columns of the parts, with null for each value that means missing.

    Raises:
        UserError: A check reads a column that the schema does not declare, it has an unknown
            policy, or its name is used already.
    """
    checks: Checks = {}
    names = {*Validate.model_fields}
    for check in row_checks:
        where = f"stages/validate.py: {check.name}"
        if unknown := sorted({*check.columns} - {*schema.columns}):
            raise UserError(f"{where}: no column {', '.join(unknown)}")
        if check.policy not in get_args(RowPolicy):
            policies = ", ".join(get_args(RowPolicy))
            raise UserError(f"{where}: policy: found {check.policy}; expected {policies}")
        if check.name in names:
            raise UserError(f"{where}: there is another check of this name; rename this one")
        names.add(check.name)
        result, first = Check(check.expected, check.policy), 0
        for part in read({name: schema.columns[name] for name in check.columns}):
            fails = np.asarray(check.fails(part.to_pandas()), bool)
            rows = np.flatnonzero(np.broadcast_to(fails, len(part)))
            examples = part.take(pa.array(rows[:EXAMPLES])).to_pylist()
            result.fail(first + rows, [" and ".join(map(str, row.values())) for row in examples])
            first += len(part)
        checks[" and ".join(check.columns), check.name] = result
    return checks


def check_table(
    parts: Sequence[Path] | Sequence[pa.Table],
    schema: Schema,
    policies: Validate,
    row_checks: Sequence[RowCheck] = (),
) -> tuple[int, Checks]:
    """Run all checks, with those of the project, and return the number of rows and the checks."""

    def present(columns: Mapping[str, Column]) -> Iterator[pa.Table]:
        for part in parts:
            yield without_missing(read_columns(part, list(columns)), columns)

    checks = declared_checks(schema, policies)
    results = list(ordered_map(partial(check_part, schema=schema, parts=len(parts)), parts))
    rows = 0
    for result in results:
        for name, failing, failed, values in result.failed:
            check_of_cell(checks, name, failing).fail(rows + failed, values)
        rows += result.rows
    ends_of_columns = {
        name: set[Any]().union(*(result.extremes[name] for result in results))
        for name in schema.columns
    }
    for (name, check_name), one in checks.items():
        ends = ends_of_columns.get(name, set())
        if check_name == "duplicate_rows":
            one.fail(repeated_rows(present(schema.columns)))
        elif check_name == "unique":
            values = pa.concat_tables(present({name: schema.columns[name]}))
            valid = np.flatnonzero(values[0].is_valid())  # two missing values are not equal
            one.fail(valid[repeated_rows([values.drop_null()])])
        elif check_name == "empty_column" and not ends - {None}:
            one.column_rows = rows
        elif check_name == "constant_column" and len(ends - {None}) == len(ends) == 1:
            one.column_rows, one.found = rows, list(ends)
    checks |= run_row_checks(row_checks, schema, present)
    sample = pa.concat_tables([result.sample for result in results])
    for name, share in shares_explained(sample, schema).items():
        leak = checks[name, "leak"]
        leak.share = share
        if share >= policies.leak_threshold:
            leak.column_rows, leak.found = rows, [f"{share:.2%} of {schema.target} explained"]
    class_rows = sum((result.class_rows for result in results), Counter[Any]())
    rare = {v: class_rows[v] for v in schema.classes if class_rows[v] < policies.min_class_rows}
    if rare:
        one = checks[schema.target, "rare_class"]
        one.column_rows = max(sum(rare.values()), 1)
        one.found = [f"{n} rows of {value}" for value, n in rare.items()]
    return rows, checks


def describe_failures(rows: int, checks: Checks, lines: dict[int, str]) -> dict[str, list[str]]:
    """Describe what failed, by policy; `lines` are the places of `rows_to_locate`."""
    messages: dict[str, list[str]] = {"error": [], "drop": [], "warn": []}
    for (column, name), check in checks.items():
        if not check.failed_rows:
            continue
        where = "; ".join(lines[row] for row in check.rows[:EXAMPLES].tolist())
        values = ", ".join(truncate(str(value)) for value in check.found)
        hint = "; nullable: true in data/schema.yaml allows gaps" if name == "missing" else ""
        if check.policy == "error":
            key = f"validate.{name} in params.yaml"
            if name not in Validate.model_fields:
                key = f"the policy of {name} in stages/validate.py"
            hint += f"; {key}: " + (
                "drop sets such rows aside, warn keeps them" if len(check.rows) else "warn goes on"
            )
        messages[check.policy].append(
            f"{column}: {check.failed_rows} of {rows} rows fail {name}"
            f"{f': found {values}' if values else ''}; expected {check.expected}"
            f"{where and f' ({where})'}{hint}"
        )
    return messages


def rows_to_locate(checks: Checks) -> set[int]:
    """Return the rows whose places `describe` names, and those that are set aside."""
    named = [
        check.rows if check.policy == "drop" else check.rows[:EXAMPLES] for check in checks.values()
    ]
    return set(np.concatenate(named).tolist())
