"""Checks of the rows and the columns of a table."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_tabular.config.schema import Column, Columns, Schema
from keras_tabular.config.sections import RowPolicy, Validate
from keras_tabular.core.errors import UserError, code_of_project, format_list
from keras_tabular.core.parallel import ordered_map
from keras_tabular.core.typed_yaml import expected_one_of
from keras_tabular.table.cells import as_float64
from keras_tabular.table.groups import equality_hashes
from keras_tabular.table.leaks import (
    MIN_LEAK_SHARE_TO_WARN,
    sample_rows,
    shares_explained,
)
from keras_tabular.table.profile import most_frequent

# Failed rows that a message shows.
MAX_EXAMPLES = 3

# Parts of a table: their files, or the parts themselves.
Parts = Sequence[Path] | Sequence[pa.Table]


@dataclass
class Check:
    """A check of a column or of the table, and the rows that have failed it so far.

    Attributes:
        expected: What is expected, as messages say it.
        policy: What follows if the check fails: error, drop or warn.
        advice: Sentence for the message.
        rows: Numbers of the failed rows in the table; empty if the check is about a
            whole column.
        column_rows: Number of the failed rows if the check is about a whole column.
        examples: Some of the values that failed.
        passed: Verdict if no row fails.
    """

    expected: str
    policy: str
    advice: str = ""
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    column_rows: int = 0
    examples: list[Any] = field(default_factory=list)
    passed: str = "pass"

    def add_rows(self, rows: np.ndarray, values: Iterable[Any] = ()) -> None:
        """Add rows that failed, and the values in the first of them."""
        self.rows = np.concatenate([self.rows, rows])
        self.examples = [*self.examples, *values][:MAX_EXAMPLES]

    @property
    def failed_rows(self) -> int:
        """Number of the rows that failed; all rows if a whole column failed."""
        return len(self.rows) or self.column_rows

    @property
    def verdict(self) -> str:
        """What follows from the check: its policy if a row failed."""
        return self.policy if self.failed_rows else self.passed


# Checks by column (or "table") and name of the check.
Checks = dict[tuple[str, str], Check]


class RowCheck(NamedTuple):
    """A check of some columns of each row that a project adds in `custom.py`.

    Attributes:
        name: Name of the check in messages and in `metrics/validation.json`.
        columns: Names of the columns that the check reads.
        fails: Takes a pandas data frame with these columns of some rows, in which
            missing values are null. Returns whether each row fails.
        expected: What is expected, as messages say it.
        policy: What follows if a row fails: error, drop or warn.
    """

    name: str
    columns: Sequence[str]
    fails: Callable[[Any], Any]
    expected: str
    policy: str = "error"


def check_table(
    parts: Parts,
    schema: Schema,
    policies: Validate,
    row_checks: Sequence[RowCheck] = (),
) -> tuple[int, Checks]:
    """Run all checks on a table.

    Args:
        row_checks: Checks that the project adds.

    Returns:
        The number of rows, and the checks.

    Raises:
        UserError: A check of the project is wrong, see `_run_row_checks`.
    """
    checks = declared_checks(schema, policies)
    check_part = partial(_check_part, schema=schema, parts=len(parts))
    results = list(ordered_map(check_part, parts))
    n_rows = 0
    for result in results:
        for failure, examples in result.failures:
            check = check_of_cell(checks, failure.column, failure.check)
            check.add_rows(n_rows + failure.rows, examples)
        n_rows += result.rows
    duplicates = _repeated_rows(_read_part(part, schema.columns) for part in parts)
    checks["table", "duplicate_rows"].add_rows(duplicates)
    for name, column in schema.columns.items():
        if column.unique:
            values = pa.concat_tables(_read_part(part, [name]) for part in parts)
            # Two missing values are not equal.
            present = np.flatnonzero(values[0].is_valid())
            repeated = _repeated_rows([values.drop_null()])
            checks[name, "unique"].add_rows(present[repeated])
    _check_empty_and_constant(checks, results, n_rows)
    _check_leaks(checks, results, n_rows, schema, policies)
    _check_classes(checks, results, schema, policies)
    return n_rows, checks | _run_row_checks(row_checks, schema, parts)


def declared_checks(schema: Schema, policies: Validate) -> Checks:
    """Return all checks that the schema asks for, before they have run."""
    advice = {
        "missing": "Set nullable: true in data/schema.yaml to allow missing values.",
        "leak": (
            f"Known before {schema.target}? Set known_before_target: true, or ignore"
            " it."
        ),
    }
    expected = {("table", "duplicate_rows"): "no two equal rows"}
    for column in schema.columns:
        for name, text in _expected_of_column(column, schema, policies).items():
            expected[column, name] = text
    return {
        (column, name): Check(text, getattr(policies, name), advice.get(name, ""))
        for (column, name), text in expected.items()
    }


def _expected_of_column(
    name: str,
    schema: Schema,
    policies: Validate,
) -> dict[str, str]:
    """Return what is expected of a column, by the name of the check."""
    column = schema.columns[name]
    expected = {"empty_column": "a value in some row"}
    if name == schema.target:
        expected["missing_target"] = "a value in every row"
    elif not column.nullable:
        expected["missing"] = "a value in every row"
    if column.min is not None or column.max is not None:
        expected["range"] = _describe_range(column)
    if column.values is not None:
        expected["values"] = f"one of {list(column.values)}"
    if column.unique:
        expected["unique"] = "no value twice"
    if name in schema.features:
        percent = 100 * min(policies.leak_threshold, MIN_LEAK_SHARE_TO_WARN)
        expected["constant_column"] = "different values"
        expected["leak"] = (
            f"less than {percent:g}% of {schema.target} explained by the column"
        )
    elif name == schema.target and schema.classes:
        expected["rare_class"] = (
            f"at least {policies.min_class_rows} rows of each class"
            f" {list(schema.classes)}"
        )
    return expected


def _describe_range(column: Column) -> str:
    if column.max is None:
        return f"at least {column.min:.15g}"
    if column.min is None:
        return f"at most {column.max:.15g}"
    return f"{column.min:.15g} to {column.max:.15g}"


def check_of_cell(checks: Checks, column: str, name: str) -> Check:
    """Return the check for a name that `failed_cells` yields."""
    return checks.get((column, name)) or checks[column, f"{name}_target"]


class FailedCells(NamedTuple):
    """Cells of a part that fail a check.

    Attributes:
        column: Name of the column.
        check: Name of the check.
        rows: Numbers of the rows in the part: int64, ascending, at least one.
    """

    column: str
    check: str
    rows: np.ndarray


def failed_cells(part: pa.Table, columns: Columns) -> Iterator[FailedCells]:
    """Find the cells of a part that fail `missing`, `range` or `values`."""
    for name, column in columns.items():
        for check_name, mask in _failure_masks(part[name], column).items():
            if pc.any(mask).as_py():
                rows = np.flatnonzero(pc.fill_null(mask, False))
                yield FailedCells(name, check_name, rows)


def _failure_masks(
    values: pa.ChunkedArray,
    column: Column,
) -> dict[str, pa.ChunkedArray]:
    """Return where the values of a column fail each check, by the name of the check."""
    masks = {}
    missing = pc.is_null(values)
    if not column.nullable:
        masks["missing"] = missing
    if column.min is not None or column.max is not None:
        numbers = as_float64(values, column)
        low = -np.inf if column.min is None else column.min
        high = np.inf if column.max is None else column.max
        masks["range"] = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
    if column.values is not None:
        declared = pa.array(column.values, values.type)
        is_declared = pc.is_in(values, declared)
        masks["values"] = pc.and_not(pc.invert(is_declared), missing)
    return masks


class _PartResult(NamedTuple):
    """Results of the checks of one part of a table.

    Attributes:
        rows: Number of rows.
        failures: Cells that fail a check, and the values in the first of them.
        sample: Some of the rows, to look for leaks.
        extremes: The smallest and the largest value of each column, and None if one is
            missing.
        class_rows: Number of rows of each class.
    """

    rows: int
    failures: list[tuple[FailedCells, list[Any]]]
    sample: pa.Table
    extremes: dict[str, set[Any]]
    class_rows: dict[Any, int]


def _check_part(
    part: Path | pa.Table,
    schema: Schema,
    parts: int,
) -> _PartResult:
    """Collect what the checks need from one of the parts of a table."""
    table = _read_part(part, schema.columns)
    failures = []
    for failure in failed_cells(table, schema.columns):
        examples = []
        if failure.check != "missing":
            first_rows = pa.array(failure.rows[:MAX_EXAMPLES])
            examples = table[failure.column].take(first_rows).to_pylist()
        failures.append((failure, examples))
    class_rows = {}
    if schema.classes:
        class_rows = dict(most_frequent(table[schema.target].drop_null()))
    extremes = {}
    for name in schema.columns:
        values = table[name]
        extremes[name] = {*pc.min_max(values).as_py().values()}
        if values.null_count:
            extremes[name].add(None)
    return _PartResult(
        len(table),
        failures,
        sample_rows(table, schema, parts),
        extremes,
        class_rows,
    )


def _read_part(part: Path | pa.Table, columns: Iterable[str]) -> pa.Table:
    names = list(columns)
    if isinstance(part, Path):
        return pq.read_table(part, columns=names)
    return part.select(names)


def _repeated_rows(parts: Iterable[pa.Table]) -> np.ndarray:
    """Find the rows of a table in parts that equal an earlier row: int64, ascending."""
    hashes = equality_hashes(parts)
    _, first_rows = np.unique(hashes, return_index=True)
    return np.delete(np.arange(len(hashes)), first_rows)


def _check_empty_and_constant(
    checks: Checks,
    results: list[_PartResult],
    n_rows: int,
) -> None:
    """Check for columns without values, and for features with a single value."""
    for name in results[0].extremes:
        extremes = set().union(*(result.extremes[name] for result in results))
        if extremes == {None}:
            checks[name, "empty_column"].column_rows = n_rows
        elif len(extremes) == 1 and (name, "constant_column") in checks:
            constant = checks[name, "constant_column"]
            constant.column_rows = n_rows
            constant.examples = list(extremes)


def _check_leaks(
    checks: Checks,
    results: list[_PartResult],
    n_rows: int,
    schema: Schema,
    policies: Validate,
) -> None:
    """Check for features that explain nearly all of the target by themselves."""
    sample = pa.concat_tables([result.sample for result in results])
    for name, shares in shares_explained(sample, schema).items():
        leak = checks[name, "leak"]
        if not shares:
            leak.passed = "not checked"
            continue
        if schema.columns[name].known_before_target:
            continue
        for words, share in shares.items():
            is_leak = share >= policies.leak_threshold and not words
            if is_leak or share >= MIN_LEAK_SHARE_TO_WARN:
                leak.column_rows = n_rows
                leak.examples = [f"{share:.2%}{words}"]
                leak.policy = policies.leak if is_leak else "warn"
                break


def _check_classes(
    checks: Checks,
    results: list[_PartResult],
    schema: Schema,
    policies: Validate,
) -> None:
    """Check for classes with few rows."""
    class_rows = Counter[Any]()
    for result in results:
        class_rows.update(result.class_rows)
    rare = {
        value: class_rows[value]
        for value in schema.classes
        if class_rows[value] < policies.min_class_rows
    }
    if rare:
        check = checks[schema.target, "rare_class"]
        check.column_rows = max(sum(rare.values()), 1)
        check.examples = [f"{count} rows of {value}" for value, count in rare.items()]


def _run_row_checks(
    row_checks: Sequence[RowCheck],
    schema: Schema,
    parts: Parts,
) -> Checks:
    """Run the checks that the project adds.

    Raises:
        UserError: A check reads a column that the schema does not declare, or has an
            unknown policy or a name that is already used.
        RuntimeError: A check raised an error.
    """
    checks: Checks = {}
    names = set(Validate.model_fields)
    for row_check in row_checks:
        _refuse_wrong_declaration(row_check, schema, names)
        names.add(row_check.name)
        check = Check(row_check.expected, row_check.policy)
        first_row = 0
        for part in parts:
            table = _read_part(part, row_check.columns)
            with code_of_project(f"custom.py: the check {row_check.name}"):
                fails = np.asarray(row_check.fails(table.to_pandas()), bool)
                rows = np.flatnonzero(np.broadcast_to(fails, len(table)))
            failed = table.take(pa.array(rows[:MAX_EXAMPLES]))
            examples = [
                " and ".join(map(str, cells.values())) for cells in failed.to_pylist()
            ]
            check.add_rows(first_row + rows, examples)
            first_row += len(table)
        checks[" and ".join(row_check.columns), row_check.name] = check
    return checks


def _refuse_wrong_declaration(
    row_check: RowCheck,
    schema: Schema,
    used_names: set[str],
) -> None:
    """Raise an error if a check of the project cannot run."""
    where = f"custom.py: {row_check.name}"
    undeclared = sorted(set(row_check.columns) - set(schema.columns))
    if undeclared:
        raise UserError(
            f"{where}: expected declared columns, got {', '.join(undeclared)}",
        )
    policies = get_args(RowPolicy)
    if row_check.policy not in policies:
        raise UserError(
            f"{where}: policy: {expected_one_of(row_check.policy, policies)}",
        )
    if row_check.name in used_names:
        raise UserError(f"{where}: Another check has this name. Rename this one.")


def rows_to_locate(checks: Checks) -> list[int]:
    """Return the rows that are set aside, and those that `describe_failures` shows."""
    rows = []
    for check in checks.values():
        n_rows = len(check.rows) if check.policy == "drop" else MAX_EXAMPLES
        rows.append(check.rows[:n_rows])
    return np.unique(np.concatenate(rows)).tolist()


def describe_failures(
    n_rows: int,
    checks: Checks,
    places: dict[int, str],
) -> dict[str, list[str]]:
    """Describe the failed checks, by policy.

    Args:
        n_rows: Number of rows of the table.
        places: File and line of each of `rows_to_locate`.
    """
    messages = defaultdict[str, list[str]](list)
    for (column, name), check in checks.items():
        if not check.failed_rows:
            continue
        message = (
            f"{column}: {check.failed_rows} of {n_rows} rows fail {name}: expected"
            f" {check.expected}"
        )
        if check.examples:
            message += f", got {format_list(map(str, check.examples))}"
        if len(check.rows):
            first_rows = check.rows[:MAX_EXAMPLES].tolist()
            message += f" ({'; '.join(places[row] for row in first_rows)})"
        advice = check.advice
        if check.policy == "error":
            advice += f" {_describe_choice(name, check)}"
        if advice:
            message += f". {advice.strip()}"
        messages[check.policy].append(message)
    return messages


def _describe_choice(name: str, check: Check) -> str:
    """Describe what one can set so that a check is no error."""
    key = f"the policy of {name} in custom.py"
    if name in Validate.model_fields:
        key = f"validate.{name} in params.yaml"
    if len(check.rows):
        return f"Set {key} to drop to set such rows aside, or to warn to keep them."
    return f"Set {key} to warn to continue."


def build_report(rows: int, checks: Checks) -> dict[str, Any]:
    """Return the content of `metrics/validation.json`: the verdict of every check.

    Args:
        rows: Number of rows of the table.
    """
    verdicts = {
        f"{column}.{name}": {"verdict": check.verdict, "failed_rows": check.failed_rows}
        for (column, name), check in checks.items()
    }
    return {"rows": rows, "checks": verdicts}
