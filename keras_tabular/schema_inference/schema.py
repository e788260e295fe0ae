"""The schema of a table, written from a look at its rows, with what a person should check."""

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.config.typed_yaml import Value, parse_section, suggestion
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.schema_inference.columns import (
    MAX_CLASSES,
    MIN_CLASS_ROWS,
    InferredColumn,
    infer_columns,
    infer_task,
)
from keras_tabular.schema_inference.formats import typed
from keras_tabular.schema_inference.questions import question
from keras_tabular.schema_inference.sample import Sample, read_sample
from keras_tabular.table.checks import Checks, check_table, describe_failures, rows_to_locate
from keras_tabular.table.rows import parse_valid_rows
from keras_tabular.table.source import read_rows, source_files

# Texts that mean the class to find.
POSITIVE = {
    *("1", "1.0", "yes", "y", "true", "t", "pos", "positive", "sick", "bad", "default", "churn"),
}
MIN_SHARE_TO_ASK = 0.95  # of the target, that a column explains by itself
MAX_CERTAIN_CLASSES = 5  # of whole numbers; more may be a count
QUESTION = re.compile(r" # .*; [^;]*\?( |$)")  # in a line of the file, see `question`


def target_task(sample: Sample, target: str, column: InferredColumn) -> tuple[str, Counter[Value]]:
    """Infer the task of a target column, and count the rows of each of its values.

    Two texts of one value, such as true and TRUE, are one class; real numbers stay texts.

    Raises:
        UserError: There is nothing to learn from it, or too much.
    """
    texts = column.present
    classes = Counter[Value]()
    values = texts if column.kind == "real" else typed(texts, column.kind, column.format)
    for text, value in zip(texts, values, strict=True):
        classes[str(value) if value is None else value] += column.counts[text]
    if len(classes) < 2:
        raise UserError(
            f"--target: {target} has one value or none in {sample.rows} rows; nothing to learn"
        )
    task = infer_task(column.kind, classes)
    if task == "multiclass" and len(classes) * MIN_CLASS_ROWS > sample.rows:
        raise UserError(
            f"--target: {target} holds {len(classes)} different values in {sample.rows} rows; "
            f"expected numbers, or classes of {MIN_CLASS_ROWS} rows each on average"
        )
    return task, classes


class FirstSchema(NamedTuple):
    """A schema for a table, and why `validate` would stop at it.

    Attributes:
        text: The schema as YAML, with comments.
        failed_checks: A message for each check of `validate` that the table fails.
    """

    text: str
    failed_checks: list[str]


def infer_schema(
    path: Path, target: str, limit: int, policies: Validate | None = None
) -> FirstSchema:
    """Describe a file, or those in a folder, from `limit` of its rows.

    Columns that explain nearly all of the target by themselves are ignored, with a question.

    Args:
        policies: What a failed check does; the defaults if None.

    Raises:
        UserError: The file cannot be read, or `target` is no column to predict.
    """
    files = source_files(str(path))
    sample = read_sample(files, limit)
    if target not in sample.columns:
        near = f".{near}" if (near := suggestion(target, sample.columns)) else ""
        raise UserError(
            f"--target: found {target!r}; the columns are {format_list(sample.columns)}{near}"
        )
    if target in sample.unreadable:
        raise UserError(f"--target: found column {target} of {sample.unreadable[target]}")
    columns = infer_columns(sample, target)
    ask_questions(sample, columns, target)
    task, classes = target_task(sample, target, columns[target])
    if task != "regression" and columns[target].kind == "real":
        # 0.0 and 1.0 are two texts
        columns[target] = replace(columns[target], kind="category", format=None)
    if MAX_CERTAIN_CLASSES < len(classes) <= MAX_CLASSES and columns[target].kind == "integer":
        other = "multiclass" if task == "regression" else "regression"
        columns[target].note += f"; predicted by {task}, or {other}? then change task above"
    text = schema_text(path, sample, columns, target, task, classes)
    schema = parse_section(yaml.safe_load(text), Schema, path)
    parts = []
    for file, rows in zip(files, sample.rows_by_file, strict=True):
        for raw in read_rows(file, schema, list(schema.columns)):
            raw = raw._replace(cells=raw.cells[:rows])
            parts.append(parse_valid_rows(raw, schema))
            rows -= len(raw.cells)
            if not rows:
                break
    checks = check_table(parts, schema, policies or Validate())[1]
    ask_leaks(columns, target, checks)
    text = schema_text(path, sample, columns, target, task, classes)
    places = {row: f"row {row + 1}" for row in rows_to_locate(checks)}
    return FirstSchema(text, describe_failures(sample.rows, checks, places)["error"])


def schema_text(
    path: Path,
    sample: Sample,
    columns: dict[str, InferredColumn],
    target: str,
    task: str,
    classes: Counter[Value],
) -> str:
    """Write the schema as YAML, with a comment for each column."""
    seen = "all" if sample.whole else "the first"
    lines = [f"# From {seen} {sample.rows} rows. Check every comment."]
    dialect = sample.dialect.model_dump(exclude_defaults=True)
    for key, value in ({"source": path.as_posix()} | dialect).items():
        lines.append(f"{key}: {in_yaml(value)}")
    lines.append(f"task: {task} # of binary, multiclass, regression")
    lines.append(f"target: {in_yaml(target)}")
    if task == "binary":
        positive = min(classes, key=lambda v: (str(v).lower() not in POSITIVE, classes[v], str(v)))
        lines.append(f"positive: {in_yaml(positive)} # the class to find")
    lines.append("columns:")
    ignored = []
    for name, column in columns.items():
        note = "".join(letter if letter.isprintable() else " " for letter in column.note)
        if name == target:
            values = sorted(classes, key=lambda v: (len(str(v)), str(v)))
            column = replace(column, nullable=False)
            declared = declaration(column, [] if task == "regression" else values)
            gaps = "; rows without a target are set aside" if columns[name].nullable else ""
            lines.append(f"  {in_yaml(name)}: {in_yaml(declared)} # {note}; the target{gaps}")
        elif column.ignore:
            ignored.append(f"  - {in_yaml(name)} # {note}")
        else:
            lines.append(f"  {in_yaml(name)}: {in_yaml(declaration(column, []))} # {note}")
    return "\n".join([*lines, *(["ignore:", *ignored] if ignored else []), ""])


def declaration(column: InferredColumn, values: list[Value]) -> dict[str, Any]:
    """Return a column as the schema declares it."""
    optional = {
        "nullable": column.nullable,
        "values": values,
        "replace": column.replace,
        "missing_values": column.missing_values,
        "format": column.format,
    }
    return {"kind": column.kind} | {key: value for key, value in optional.items() if value}


def in_yaml(value: Any) -> str:
    """Return a value on one line, as PyYAML reads it back; texts are quoted where they must be."""
    if isinstance(value, dict):
        pairs = [f"{in_yaml(key)}: {in_yaml(item)}" for key, item in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(in_yaml, value))}]"
    options: dict[str, Any] = {"allow_unicode": True, "width": math.inf}
    text: str = yaml.safe_dump([value], default_flow_style=True, **options)[1:-2]
    if isinstance(value, str) and text != value:
        text = yaml.safe_dump(value, default_style='"', **options)[:-1]
    return text


def ask_questions(sample: Sample, columns: dict[str, InferredColumn], target: str) -> None:
    """Complete the notes of columns with questions.

    Where all but the target would be ignored, only those that are constant are.
    """
    features = [column for name, column in columns.items() if name != target]
    if all(column.ignore for column in features):
        for column in features:
            column.ignore = column.constant
    for name, column in columns.items():
        if not column.ignore:
            column.note += question(name, column, target=name == target)
    for name, note in sample.unreadable.items():
        columns[name].note = note
    if columns[target].kind in ("datetime", "text"):  # which are no classes and no numbers
        columns[target] = replace(columns[target], kind="category", format=None)


def ask_leaks(columns: dict[str, InferredColumn], target: str, checks: Checks) -> None:
    """Ask in the note of each column that explains much of the target whether it is a leak.

    A column that fails the check is ignored, and its check removed, unless no other one is left or
    it may be the group: a person whose rows all have one label explains it, and is no copy of it.
    """
    leaks = {name: check for (name, key), check in checks.items() if key == "leak"}
    all_fail = all(check.failed_rows for check in leaks.values())
    for name, leak in leaks.items():
        column, explains = columns[name], f"explains {leak.share:.2%} of {target} by itself"
        if leak.failed_rows and not all_fail and not column.may_be_group:
            column.ignore = True
            column.note = (
                f"{explains}: a copy of it? if not, move it to columns as "
                f"{{kind: {column.kind}}}, and set validate.leak in params.yaml to warn"
            )
            del checks[name, "leak"]
        elif leak.failed_rows or leak.share >= MIN_SHARE_TO_ASK:
            column.note += f"; {explains}: is it known before {target} is?"
