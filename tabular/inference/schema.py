"""The schema of a table, written from a look at its rows, with what a person should check."""

import re
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from tabular.config.schema import Schema
from tabular.config.sections import Validate
from tabular.config.typed_yaml import Value, check, suggestion
from tabular.core.errors import UserError, listed
from tabular.inference.columns import (
    MAX_CLASSES,
    MIN_CLASS_ROWS,
    InferredColumn,
    infer_columns,
    infer_task,
)
from tabular.inference.formats import typed
from tabular.inference.questions import question
from tabular.inference.sample import Sample, read_sample
from tabular.table.checks import Checks, check_table, describe, rows_to_name
from tabular.table.rows import parse_valid_rows
from tabular.table.source import read_rows, source_files

# Texts that mean the class to find.
POSITIVE = {
    *("1", "1.0", "yes", "y", "true", "t", "pos", "positive", "sick", "bad", "default", "churn"),
}
MIN_SHARE_TO_ASK = 0.95  # of the target, that a column explains by itself
MAX_CERTAIN_CLASSES = 5  # of whole numbers; more may be a count
QUESTION = re.compile(r" # .*; [^;]*\?( |$)")  # in a line of the file, see `question`


def scalar(value: Any) -> Any:
    """A value as ruamel.yaml writes it, so that PyYAML, which reads YAML 1.1, reads it back."""
    if not isinstance(value, str):
        return value
    try:
        read = yaml.safe_load(f"{value}: [{value}]")  # as a key, and within brackets
        plain = read == {value: [value]} and value.isprintable()
    except yaml.YAMLError:
        plain = False
    return value if plain else DoubleQuotedScalarString(value)


def printable(text: str) -> str:
    """A text for a comment, which may hold no control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def flow(value: Any) -> Any:
    """A mapping or list that is written on one line."""
    written: Any
    if isinstance(value, dict):
        written = CommentedMap({scalar(key): flow(item) for key, item in value.items()})
    elif isinstance(value, list):
        written = CommentedSeq(map(flow, value))
    else:
        return scalar(value)
    written.fa.set_flow_style()
    return written


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


def declared(column: InferredColumn, values: list[Value]) -> dict[str, Any]:
    """Return a column as the schema declares it."""
    form = list(column.format) if isinstance(column.format, tuple) else column.format
    optional = {
        "nullable": column.nullable,
        "values": values,
        "replace": column.replace,
        "missing_values": column.missing_values,
        "format": form,
    }
    return {"kind": column.kind} | {key: value for key, value in optional.items() if value}


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
            f"--target: found {target!r}; the columns are {listed(sample.columns)}{near}"
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
    checks = check_rows(
        files, sample, check(yaml.safe_load(text), Schema, path), policies or Validate()
    )
    ask_leaks(columns, target, checks)
    text = schema_text(path, sample, columns, target, task, classes)
    places = {row: f"row {row + 1}" for row in rows_to_name(checks)}
    return FirstSchema(text, describe(sample.rows, checks, places)["error"])


def check_rows(files: list[Path], sample: Sample, schema: Schema, policies: Validate) -> Checks:
    """Check the rows of the sample as the stage `validate` does."""
    parts = []
    for file, rows in zip(files, sample.rows_by_file, strict=True):
        for raw in read_rows(file, schema, list(schema.columns)):
            raw = raw._replace(cells=raw.cells[:rows])
            parts.append(parse_valid_rows(raw, schema))
            rows -= len(raw.cells)
            if not rows:
                break
    return check_table(parts, schema, policies)[1]


def schema_text(
    path: Path,
    sample: Sample,
    columns: dict[str, InferredColumn],
    target: str,
    task: str,
    classes: Counter[Value],
) -> str:
    """Write the schema as YAML, with a comment for each column."""
    schema = CommentedMap({"source": scalar(path.as_posix())})
    for key, value in sample.dialect.model_dump(exclude_defaults=True).items():
        schema[key] = scalar(value)
    schema |= {"task": task, "target": scalar(target)}
    schema.yaml_add_eol_comment("of binary, multiclass, regression", "task", column=0)
    if task == "binary":
        schema["positive"] = scalar(
            min(classes, key=lambda v: (str(v).lower() not in POSITIVE, classes[v], str(v)))
        )
        schema.yaml_add_eol_comment("the class to find", "positive", column=0)
    values = sorted(classes, key=lambda v: (len(str(v)), str(v))) if task != "regression" else []
    schema["columns"] = columns_section(columns, target, values)
    if ignored := {name: c.note for name, c in columns.items() if c.ignore and name != target}:
        schema["ignore"] = ignore_section(ignored)
    seen = "all" if sample.whole else "the first"
    schema.yaml_set_start_comment(f"From {seen} {sample.rows} rows. Check every comment.")
    return as_text(schema)


def ask_questions(sample: Sample, columns: dict[str, InferredColumn], target: str) -> None:
    """Complete the notes of columns with questions.

    Where all but the target would be ignored, only those that are constant are.
    """
    others = [column for name, column in columns.items() if name != target]
    if all(column.ignore for column in others):
        for column in others:
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


def columns_section(
    columns: dict[str, InferredColumn], target: str, values: list[Value]
) -> CommentedMap:
    """The section `columns`, with a comment to each column that is not ignored.

    Args:
        values: of the target, where these are classes.
    """
    section = CommentedMap()
    for name, column in columns.items():
        key, note = scalar(name), column.note
        if name == target:
            section[key] = flow(declared(replace(column, nullable=False), values))
            gaps = "; rows without a target are set aside" if column.nullable else ""
            note += f"; the target{gaps}"
        elif column.ignore:
            continue
        else:
            section[key] = flow(declared(column, []))
        section.yaml_add_eol_comment(printable(note), key, column=0)
    return section


def ignore_section(notes: dict[str, str]) -> CommentedSeq:
    """The section `ignore` of columns with notes, with these as comments."""
    section = CommentedSeq(map(scalar, notes))
    for index, note in enumerate(notes.values()):
        section.yaml_add_eol_comment(printable(note), index, column=0)
    return section


def as_text(schema: CommentedMap) -> str:
    """Return the schema as YAML with its comments."""
    writer, text = YAML(), StringIO()
    writer.width = 2**20
    writer.indent(sequence=4, offset=2)
    writer.dump(schema, text)
    return text.getvalue()
