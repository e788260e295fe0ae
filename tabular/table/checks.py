"""What a table is checked for, a part at a time: declared columns, repeats, leaks, rare classes."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabular.config.schema import Column, Schema
from tabular.config.sections import Validate
from tabular.core.engine import ordered_map
from tabular.core.errors import truncate
from tabular.table.arrays import NO_ROWS, repeated_rows, row_hashes, write_hashes
from tabular.table.cells import as_float64, is_missing
from tabular.table.leaks import sample_rows, shares_explained

EXAMPLES = 3


@dataclass
class Check:
    """One check of a column or of the table: its policy, and what failed it so far.

    `rows` are the numbers of the failed rows in the table; a check of a whole column has none of
    them and fails in `column_rows`. `share` is the share of the target that a column explains.
    """

    expected: str
    policy: str
    rows: np.ndarray = field(default_factory=lambda: NO_ROWS)
    column_rows: int = 0
    found: list[Any] = field(default_factory=list)
    share: float = 0.0

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
                f"less than {100 * policies.leak_threshold:g}% (validate.leak_threshold); "
                f"if {name} is not known when {schema.target} is to be predicted, ignore it",
                policies.leak,
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
    part: pa.Table, columns: Mapping[str, Column]
) -> Iterator[tuple[str, str, np.ndarray]]:
    """The rows of a part, ascending from 0, that fail `missing`, `range` or `values` of a column.

    Yields:
        The column, the check and the rows, int64, of which there is one at least.
    """
    for name, column in columns.items():
        values = part[name]
        missing = is_missing(values, column)
        failed = {} if column.nullable else {"missing": missing}
        if not is_in_range(values, column):
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


def is_in_range(values: pa.ChunkedArray, column: Column) -> bool:
    """Whether all values, those that mean missing too, are in the range of the column, if any."""
    if column.min is None and column.max is None:
        return True
    ends = pc.min_max(values).as_py()
    return ends["min"] is None or (
        (column.min is None or ends["min"] >= column.min)
        and (column.max is None or ends["max"] <= column.max)
    )


class PartResult(NamedTuple):
    """What one part of a table tells by itself.

    `failed` the column, the check, the rows and some of the values that failed it; `hashed` what
    `write_hashes` returned for each check; `sample` some of the rows, to look for leaks;
    `extremes` those of each column; `class_rows` the rows of each class.
    """

    rows: int
    failed: list[tuple[str, str, np.ndarray, list[Any]]]
    hashed: dict[tuple[str, str], np.ndarray]
    sample: pa.Table
    extremes: dict[str, set[Any]]
    class_rows: Counter[Any]


def check_part(
    numbered: tuple[int, Path | pa.Table],
    schema: Schema,
    checks: Collection[tuple[str, str]],
    scratch: Path,
    parts: int,
) -> PartResult:
    """All that `checks` ask of one of the parts, a table or its file; hashes go to `scratch`."""
    number, part = numbered
    if isinstance(part, Path):
        part = pq.read_table(part)
    failed = []
    for name, check, rows in failed_cells(part, schema.columns):
        values = part[name].take(pa.array(rows[:EXAMPLES])).to_pylist()
        failed.append((name, check, rows, [] if check == "missing" else values))
    present = without_missing(part, schema.columns)
    target = present[schema.target]
    hashed = {}
    for place, key in enumerate(checks):
        if key[1] in ("unique", "duplicate_rows"):
            columns = present.columns if key[1] == "duplicate_rows" else [present[key[0]]]
            missing = pc.is_null(columns[0]).to_numpy() if key[1] == "unique" else None
            found = row_hashes(columns)
            hashed[key] = write_hashes(scratch / str(place), number, found, missing)
    classes = [] if schema.task == "regression" else target.value_counts().to_pylist()
    return PartResult(
        len(part),
        failed,
        hashed,
        sample_rows(present, parts),
        {name: extremes(present[name]) for name in schema.columns},
        Counter({found["values"]: found["counts"] for found in classes}),
    )


def without_missing(part: pa.Table, columns: dict[str, Column]) -> pa.Table:
    """The part with null for each value that means missing."""
    present = {}
    for name, column in columns.items():
        missing = is_missing(part[name], column) if column.sentinels else None
        some = missing is not None and pc.any(missing).as_py()
        present[name] = pc.if_else(missing, None, part[name]) if some else part[name]
    return pa.table(present)


def extremes(values: pa.ChunkedArray) -> set[Any]:
    """The least and the largest value, and None where one is missing."""
    ends = {None} if values.null_count else set()
    if len(values) > values.null_count:
        ends |= set(pc.min_max(values).as_py().values())
    return ends


def check_table(
    parts: Sequence[Path] | Sequence[pa.Table], schema: Schema, policies: Validate, scratch: Path
) -> tuple[int, Checks]:
    """All checks over all parts: the number of rows, and what each check found.

    Args:
        scratch: a folder for hashes, 16 bytes a row of the table and of each unique column.
    """
    checks = declared_checks(schema, policies)
    check = partial(
        check_part, schema=schema, checks=list(checks), scratch=scratch, parts=len(parts)
    )
    sizes: list[int] = []
    samples = list[pa.Table]()
    ends: dict[str, set[Any]] = {name: set() for name in schema.columns}
    hashed = defaultdict(list)
    class_rows = Counter[Any]()
    rows = 0
    for part in ordered_map(check, enumerate(parts)):
        for name, failing, failed, found in part.failed:
            key = missing_check(name, schema) if failing == "missing" else failing
            checks[name, key].fail(rows + failed, found)
        samples.append(part.sample)
        for name in schema.columns:
            if len(ends[name]) < 2:  # neither empty nor constant, and no more is asked
                ends[name] |= part.extremes[name]
        for repeating, of_part in part.hashed.items():
            hashed[repeating].append(of_part)
        class_rows.update(part.class_rows)
        rows += part.rows
        sizes.append(part.rows)
    for place, repeating in enumerate(checks):
        if repeating in hashed:
            checks[repeating].fail(repeated_rows(scratch / str(place), hashed[repeating], sizes))
    for name, values in ends.items():
        failed_checks = {
            "empty_column": not values - {None},
            "constant_column": len(values - {None}) == len(values) == 1,
        }
        for one in (checks.get((name, key)) for key, yes in failed_checks.items() if yes):
            if one:
                one.column_rows, one.found = rows, sorted(values - {None})
    if samples:
        _check_leaks(checks, pa.concat_tables(samples), rows, schema, policies.leak_threshold)
    rare = {v: class_rows[v] for v in schema.classes if class_rows[v] < policies.min_class_rows}
    if rare:
        one = checks[schema.target, "rare_class"]
        one.column_rows = max(sum(rare.values()), 1)
        one.found = [f"{n} rows of {value}" for value, n in rare.items()]
    return rows, checks


def _check_leaks(
    checks: Checks, sample: pa.Table, rows: int, schema: Schema, threshold: float
) -> None:
    """Fail the columns of a sample that explain a larger share of the target than allowed."""
    for name, share in shares_explained(sample, schema).items():
        leak = checks[name, "leak"]
        leak.share = share
        if share >= threshold:
            leak.column_rows, leak.found = rows, [f"{share:.2%} of {schema.target} explained"]


def describe(rows: int, checks: Checks, lines: dict[int, str]) -> dict[str, list[str]]:
    """What failed, in words, by policy; `lines` are those of `rows_to_name`."""
    messages: dict[str, list[str]] = {"error": [], "drop": [], "warn": []}
    for (column, name), check in checks.items():
        if not check.failed_rows:
            continue
        where = "; ".join(lines[row] for row in check.rows[:EXAMPLES].tolist())
        found = ", ".join(truncate(str(value)) for value in check.found)
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
