"""Checks of rows and columns, and columns that leak the target."""

from collections import Counter
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
from keras_tabular.config.typed_yaml import expected_one_of
from keras_tabular.core.errors import UserError, code_of_project, format_list
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.cells import as_float64
from keras_tabular.table.groups import equality_hashes
from keras_tabular.table.profile import most_frequent

MAX_SAMPLE_ROWS = 20_000
MAX_SAMPLE_CELLS = 4_000_000
MIN_ROWS = 20
MIN_ERRORS = 10  # a column may avoid fewer errors by chance
MAX_SHARED_VALUES = (
    20  # so few, or such frequent, values are each learnt from and predicted
)
REPRESENTED = "__rows__"  # column of a sample
MIN_PRESENT = 0.5  # share of the rows that have a value


def sample_rows(part: pa.Table, schema: Schema, parts: int) -> pa.Table:
    """Return evenly spaced rows of each class of a part, few enough that all `parts` fit.

    The last column is the number of rows that each row represents.
    """
    limit = min(MAX_SAMPLE_ROWS, MAX_SAMPLE_CELLS // part.num_columns) // parts + 1
    codes = np.zeros(len(part))
    represented = np.zeros(len(part))
    if schema.classes:
        codes = _codes(part[schema.target]).to_numpy(zero_copy_only=False)
    classes = np.unique(codes[~np.isnan(codes)])
    for code in classes:
        rows = np.flatnonzero(codes == code)
        step = -(-len(rows) * len(classes) // limit)
        represented[rows[::step]] = step
    part = part.append_column(REPRESENTED, pa.array(represented))
    return part.filter(pa.array(represented > 0))


def shares_explained(sample: pa.Table, schema: Schema) -> dict[str, float | None]:
    """Compute how much of the target each feature explains by itself.

    Args:
        sample: Rows of the table, from `sample_rows`.

    Returns:
        By column, a share of at most 1: of the variance of the target's ranks, or of
        the errors of predicting the most frequent class. None if it is not checked: for
        texts, and if there are too few rows or errors.
    """
    shares: dict[str, float | None] = dict.fromkeys(schema.features)
    sample = sample.filter(sample[schema.target].is_valid())
    sample = sample[: MAX_SAMPLE_CELLS // max(len(schema.classes), 1)]
    if len(sample) < MIN_ROWS:
        return shares
    if not schema.classes:
        numbers = as_float64(sample[schema.target], schema.columns[schema.target])
        y = pc.rank_quantile(numbers).to_numpy()[:, None]
    else:
        codes = _codes(sample[schema.target]).to_numpy()
        y = np.eye(codes.max() + 1)[codes]
    weight = sample[REPRESENTED].to_numpy()
    for name, column in schema.features.items():
        if column.feature_type == "text":
            continue
        is_category = column.feature_type == "category"
        numbers = (
            _codes(sample[name]) if is_category else as_float64(sample[name], column)
        )
        values = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)
        shares[name] = _share_explained(values, y, weight, ordered=not is_category)
    return shares


def _codes(values: pa.ChunkedArray) -> pa.Array:
    """Return the number of each different value, null where a value is missing."""
    return values.combine_chunks().dictionary_encode().indices


def _share_explained(
    values: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    ordered: bool,
) -> float | None:
    """Compute how much of the target one column explains, see `shares_explained`.

    Args:
        values: Float64, shape (rows,); NaN where a value is missing, which is treated
            as a value.
        y: Ranks of the target, shape (rows, 1), or one-hot classes, shape (rows,
            classes).
        weight: Number of rows of the table that each row represents, shape (rows,).
        ordered: Whether values that are close to each other may have a similar target.
    """
    distinct, codes, rows = np.unique(values, return_inverse=True, return_counts=True)
    is_shared = np.isnan(distinct) | (rows * MAX_SHARED_VALUES > len(values))
    by_value = ordered & (len(distinct) > MAX_SHARED_VALUES) & ~is_shared[codes]
    shuffled = np.random.default_rng(0).permutation(
        len(values),
    )  # the order may have a pattern
    half = np.where(by_value, codes, shuffled) % 2
    key, key_in_other_half = (
        codes + len(distinct) * number for number in (half, 1 - half)
    )
    order = np.argsort(key, kind="stable")
    weighted = np.column_stack([y, np.ones(len(y))]) * weight[:, None]
    sums = np.vstack([np.zeros(weighted.shape[1]), weighted[order].cumsum(axis=0)])
    first, last = (
        np.searchsorted(key[order], key_in_other_half, s) for s in ("left", "right")
    )
    if ordered:  # the nearest number replaces one that the other half does not have
        ends = np.concatenate([[-np.inf], values[order], [np.inf]])
        is_right = np.abs(ends[last + 1] - values) < np.abs(values - ends[first])
        unseen = first == last
        first = first - (unseen & ~is_right)
        last = last + (unseen & is_right)
    constant = np.average(y, axis=0, weights=weight)
    total = (
        sums[last] - sums[first] + 1e-9 * np.append(constant, 1)
    )  # the constant if unseen
    predicted = total[:, :-1] / total[:, -1:]
    if y.shape[1] > 1:
        wrong, avoidable = (
            weight[each.argmax(axis=-1) != y.argmax(axis=1)]
            for each in (predicted, constant)
        )
        return (
            float(1 - wrong.sum() / avoidable.sum())
            if len(avoidable) >= MIN_ERRORS
            else None
        )
    variance = np.square(y - constant).sum()
    share = float(1 - np.square(y - predicted).sum() / variance) if variance else 0.0
    present = ~np.isnan(values)
    if ordered and present.mean() >= MIN_PRESENT:
        ranks = pc.rank_quantile(pa.array(values[present])).to_numpy()
        with np.errstate(invalid="ignore"):  # a constant has no correlation
            correlation = np.corrcoef(ranks, y[present, 0])[0, 1]
        share = max(share, float(np.nan_to_num(correlation**2)))
    return share


Parts = (
    Sequence[Path] | Sequence[pa.Table]
)  # of a table: their files, or the parts themselves
MAX_EXAMPLES = 3
MIN_LEAK_SHARE_TO_WARN = 0.95  # of the target, that a column explains by itself


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
        return len(self.rows) or self.column_rows

    @property
    def verdict(self) -> str:
        return self.policy if self.failed_rows else self.passed


Checks = dict[tuple[str, str], Check]  # by column (or "table") and name of the check


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
    results = list(
        ordered_map(partial(_check_part, schema=schema, parts=len(parts)), parts),
    )
    rows = 0
    for result in results:
        for name, check_name, failed, values in result.failed:
            check_of_cell(checks, name, check_name).add_rows(rows + failed, values)
        rows += result.rows
    checks["table", "duplicate_rows"].add_rows(
        _repeated_rows(_read_parts(parts, schema.columns)),
    )
    for name, column in schema.columns.items():
        if column.unique:
            values = pa.concat_tables(_read_parts(parts, [name]))
            present = np.flatnonzero(
                values[0].is_valid(),
            )  # two missing values are not equal
            checks[name, "unique"].add_rows(
                present[_repeated_rows([values.drop_null()])],
            )
    _check_whole_columns(checks, results, schema, policies)
    return rows, checks | _run_row_checks(row_checks, schema, parts)


def declared_checks(schema: Schema, policies: Validate) -> Checks:
    """Return all checks that the schema asks for, before they have run."""
    checks = {
        ("table", "duplicate_rows"): Check(
            "no two equal rows",
            policies.duplicate_rows,
        ),
    }
    for name, column in schema.columns.items():
        checks[name, "empty_column"] = Check(
            "a value in some row",
            policies.empty_column,
        )
        if name == schema.target:
            checks[name, "missing_target"] = Check(
                "a value in every row",
                policies.missing_target,
            )
        elif not column.nullable:
            advice = "Set nullable: true in data/schema.yaml to allow missing values."
            checks[name, "missing"] = Check(
                "a value in every row",
                policies.missing,
                advice,
            )
        if column.min is not None or column.max is not None:
            checks[name, "range"] = Check(_describe_range(column), policies.range)
        if column.values is not None:
            checks[name, "values"] = Check(
                f"one of {list(column.values)}",
                policies.values,
            )
        if column.unique:
            checks[name, "unique"] = Check("no value twice", policies.unique)
        if name in schema.features:
            checks[name, "constant_column"] = Check(
                "different values",
                policies.constant_column,
            )
            limit = min(policies.leak_threshold, MIN_LEAK_SHARE_TO_WARN)
            expected = (
                f"less than {100 * limit:g}% of {schema.target} explained by the column"
            )
            advice = (
                f"Known before {schema.target}? Set known_before_target: true, or"
                " ignore it."
            )
            checks[name, "leak"] = Check(expected, policies.leak, advice)
        elif name == schema.target and schema.classes:
            needed = (
                f"at least {policies.min_class_rows} rows of each class"
                f" {list(schema.classes)}"
            )
            checks[name, "rare_class"] = Check(needed, policies.rare_class)
    return checks


def _describe_range(column: Column) -> str:
    if column.max is None:
        return f"at least {column.min:.15g}"
    return (
        "at most " if column.min is None else f"{column.min:.15g} to "
    ) + f"{column.max:.15g}"


def check_of_cell(checks: Checks, column: str, name: str) -> Check:
    """Return the check for a name that `failed_cells` yields."""
    return checks.get((column, name)) or checks[column, f"{name}_target"]


def failed_cells(
    part: pa.Table,
    columns: Columns,
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Find the rows of a part that fail `missing`, `range` or `values`.

    Yields:
        The column, the name of the check, and the numbers of the rows that fail, int64,
        ascending; only if there is one.
    """
    for name, column in columns.items():
        values = part[name]
        missing = pc.is_null(values)
        failed = {} if column.nullable else {"missing": missing}
        if column.min is not None or column.max is not None:
            numbers = as_float64(values, column)
            too_small = pc.less(numbers, -np.inf if column.min is None else column.min)
            too_large = pc.greater(
                numbers,
                np.inf if column.max is None else column.max,
            )
            failed["range"] = pc.and_not(pc.or_(too_small, too_large), missing)
        if column.values is not None:
            is_declared = pc.is_in(values, pa.array(column.values, values.type))
            failed["values"] = pc.and_not(pc.invert(is_declared), missing)
        for check_name, mask in failed.items():
            if pc.any(mask).as_py():
                yield name, check_name, np.flatnonzero(pc.fill_null(mask, False))


class _PartResult(NamedTuple):
    """Results of the checks of one part of a table.

    Attributes:
        rows: Number of rows.
        failed: Column, name of the check, rows, and the values in the first of these
            rows.
        sample: Some of the rows, to look for leaks.
        extremes: The smallest and the largest value of each column, and None if one is
            missing.
        class_rows: Number of rows of each class.
    """

    rows: int
    failed: list[tuple[str, str, np.ndarray, list[Any]]]
    sample: pa.Table
    extremes: dict[str, set[Any]]
    class_rows: Counter[Any]


def _check_part(part: Path | pa.Table, schema: Schema, parts: int) -> _PartResult:
    """Collect what the checks need from one of the parts of a table, or from its file."""
    (part,) = _read_parts([part], schema.columns)
    failed = []
    for name, check_name, rows in failed_cells(part, schema.columns):
        values = part[name].take(pa.array(rows[:MAX_EXAMPLES])).to_pylist()
        failed.append(
            (name, check_name, rows, [] if check_name == "missing" else values),
        )
    class_rows = Counter[Any]()
    if schema.classes:
        class_rows.update(dict(most_frequent(part[schema.target].drop_null())))
    extremes = {name: _extremes(part[name]) for name in schema.columns}
    return _PartResult(
        len(part),
        failed,
        sample_rows(part, schema, parts),
        extremes,
        class_rows,
    )


def _read_parts(parts: Parts, columns: Iterable[str]) -> Iterator[pa.Table]:
    """Yield some columns of each part."""
    names = list(columns)
    for part in parts:
        yield (
            pq.read_table(part, columns=names)
            if isinstance(part, Path)
            else part.select(names)
        )


def _extremes(values: pa.ChunkedArray) -> set[Any]:
    return {
        *pc.min_max(values).as_py().values(),
        *([None] if values.null_count else []),
    }


def _repeated_rows(parts: Iterable[pa.Table]) -> np.ndarray:
    """Find the rows of a table in parts that equal an earlier row: int64, ascending."""
    hashes = equality_hashes(parts)
    first = np.unique(hashes, return_index=True)[1]
    return np.delete(np.arange(len(hashes)), first)


def _check_whole_columns(
    checks: Checks,
    results: list[_PartResult],
    schema: Schema,
    policies: Validate,
) -> None:
    """Check for columns that are empty, constant or leaks, and for rare classes."""
    rows = sum(result.rows for result in results)
    for name in schema.columns:
        extremes = set[Any]().union(*(result.extremes[name] for result in results))
        if not extremes - {None}:
            checks[name, "empty_column"].column_rows = rows
        constant = checks.get((name, "constant_column"))
        if constant and len(extremes) == 1 and extremes != {None}:
            constant.column_rows = rows
            constant.examples = list(extremes)
    sample = pa.concat_tables([result.sample for result in results])
    for name, share in shares_explained(sample, schema).items():
        leak = checks[name, "leak"]
        leak.passed = "not checked" if share is None else "pass"
        limit = min(policies.leak_threshold, MIN_LEAK_SHARE_TO_WARN)
        if (
            share is not None
            and share >= limit
            and not schema.columns[name].known_before_target
        ):
            leak.column_rows = rows
            leak.examples = [f"{share:.2%}"]
            leak.policy = policies.leak if share >= policies.leak_threshold else "warn"
    class_rows = sum((result.class_rows for result in results), Counter[Any]())
    rare = {
        v: class_rows[v]
        for v in schema.classes
        if class_rows[v] < policies.min_class_rows
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
    names = {*Validate.model_fields}
    for row_check in row_checks:
        where = f"custom.py: {row_check.name}"
        if undeclared := sorted({*row_check.columns} - {*schema.columns}):
            raise UserError(
                f"{where}: expected declared columns, got {', '.join(undeclared)}",
            )
        if row_check.policy not in (policies := get_args(RowPolicy)):
            raise UserError(
                f"{where}: policy: {expected_one_of(row_check.policy, policies)}",
            )
        if row_check.name in names:
            raise UserError(f"{where}: Another check has this name. Rename this one.")
        names.add(row_check.name)
        check = Check(row_check.expected, row_check.policy)
        first = 0
        for part in _read_parts(parts, row_check.columns):
            with code_of_project(f"custom.py: the check {row_check.name}"):
                fails = np.asarray(row_check.fails(part.to_pandas()), bool)
                rows = np.flatnonzero(np.broadcast_to(fails, len(part)))
            examples = part.take(pa.array(rows[:MAX_EXAMPLES])).to_pylist()
            check.add_rows(
                first + rows,
                [" and ".join(map(str, row.values())) for row in examples],
            )
            first += len(part)
        checks[" and ".join(row_check.columns), row_check.name] = check
    return checks


def rows_to_locate(checks: Checks) -> list[int]:
    """Return the rows whose lines `describe_failures` shows, and those that are set aside."""
    rows = [
        c.rows if c.policy == "drop" else c.rows[:MAX_EXAMPLES] for c in checks.values()
    ]
    return np.unique(np.concatenate(rows)).tolist()


def describe_failures(
    rows: int,
    checks: Checks,
    lines: dict[int, str],
) -> dict[str, list[str]]:
    """Describe the failed checks, by policy.

    Args:
        rows: Number of rows of the table.
        lines: File and line of each of `rows_to_locate`.
    """
    messages: dict[str, list[str]] = {"error": [], "drop": [], "warn": []}
    for (column, name), check in checks.items():
        if not check.failed_rows:
            continue
        message = f"{column}: {check.failed_rows} of {rows} rows fail {name}"
        message += f": expected {check.expected}"
        if check.examples:
            message += f", got {format_list(map(str, check.examples))}"
        if len(check.rows):
            message += f" ({'; '.join(lines[row] for row in check.rows[:MAX_EXAMPLES].tolist())})"
        sentences = [check.advice] if check.advice else []
        if check.policy == "error":
            key = f"validate.{name} in params.yaml"
            if name not in Validate.model_fields:
                key = f"the policy of {name} in custom.py"
            choice = "drop to set such rows aside, or to warn to keep them"
            sentences.append(
                f"Set {key} to {choice if len(check.rows) else 'warn to continue'}.",
            )
        if sentences:
            message += f". {' '.join(sentences)}"
        messages[check.policy].append(message)
    return messages


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
