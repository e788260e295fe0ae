"""The schema of a table, written from a look at its rows, with what a person should check."""

import re
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from tabular.config.typed_yaml import Value
from tabular.core.errors import UserError, listed
from tabular.inference.columns import InferredColumn, infer_column, infer_task, typed
from tabular.inference.questions import question, suspected_leaks
from tabular.inference.sample import MISSING, Sample, read_sample
from tabular.table.source import source_files

# Texts that mean the class to find.
POSITIVE = {
    *("1", "1.0", "yes", "y", "true", "t", "pos", "positive", "sick", "bad", "default", "churn"),
}
MIN_CLASS_ROWS = 5
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


def target_task(
    sample: Sample, target: str, kind: str, form: str | None
) -> tuple[str, Counter[Value]]:
    """The task of a target column, and how often each of its values occurs.

    Two texts of one value, such as true and TRUE, are one class; real numbers stay texts.

    Raises:
        UserError: there is nothing to learn from it, or too much.
    """
    counts = sample.columns[target]
    texts = [text for text in counts if text and text not in MISSING]
    classes = Counter[Value]()
    values = texts if kind == "real" else typed(texts, kind, form)
    for text, value in zip(texts, values, strict=True):
        classes[value] += counts[text]
    if len(classes) < 2:
        raise UserError(
            f"--target: {target} has one value or none in {sample.rows} rows; nothing to learn"
        )
    task = infer_task(kind, classes)
    if task == "multiclass" and len(classes) * MIN_CLASS_ROWS > sample.rows:
        raise UserError(
            f"--target: {target} holds {len(classes)} different values in {sample.rows} rows; "
            f"expected numbers, or classes of {MIN_CLASS_ROWS} rows each on average"
        )
    return task, classes


def declared(column: InferredColumn, values: list[Value]) -> dict[str, Any]:
    """A column as the schema declares it."""
    optional = {
        "nullable": column.nullable,
        "values": values,
        "missing_values": column.missing_values,
        "format": column.format,
    }
    return {"kind": column.kind} | {key: value for key, value in optional.items() if value}


def infer_schema(path: Path, target: str, limit: int) -> CommentedMap:
    """The schema of a file, or of those in a folder, with comments, from `limit` rows of them.

    Raises:
        UserError: the file cannot be read, or `target` is no column to predict.
    """
    sample = read_sample(source_files(str(path)), limit)
    if target not in sample.columns:
        raise UserError(f"--target: found {target!r}; the columns are {listed(sample.columns)}")
    if target in sample.unreadable:
        raise UserError(f"--target: found column {target} of {sample.unreadable[target]}")
    columns = infer_columns(sample, target)
    task, classes = target_task(sample, target, columns[target].kind, columns[target].format)
    if task != "regression" and columns[target].kind == "real":
        # 0.0 and 1.0 are two texts
        columns[target] = replace(columns[target], kind="category", format=None)
    note_leaks(sample, columns, target, task)
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
    return schema


def infer_columns(sample: Sample, target: str) -> dict[str, InferredColumn]:
    """What each column seems to hold, by name.

    Where all but the target would be ignored, only those that are constant are.
    """
    columns = {n: infer_column(n, counts, sample.rows) for n, counts in sample.columns.items()}
    others = [column for name, column in columns.items() if name != target]
    if all(column.ignore for column in others):
        for column in others:
            column.ignore = column.constant
    for name, column in columns.items():
        if not column.ignore:
            column.note += question(name, column, sample.columns[name], target=name == target)
    for name, found in sample.unreadable.items():
        columns[name].note = found
    if columns[target].kind in ("datetime", "text"):  # which are no classes and no numbers
        columns[target] = replace(columns[target], kind="category", format=None)
    return columns


def note_leaks(sample: Sample, columns: dict[str, InferredColumn], target: str, task: str) -> None:
    """Ask in the note of each column that nearly determines the target whether it is a leak."""
    leaks = suspected_leaks(sample, columns, target, classes=task != "regression")
    for name, share in leaks.items():
        of_what = "its variance" if task == "regression" else "what is not the commonest class"
        columns[
            name
        ].note += f"; tells {share:.0%} of {of_what} by itself: known before {target} is?"


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
    """The schema as YAML with its comments."""
    writer, text = YAML(), StringIO()
    writer.width = 2**20
    writer.indent(sequence=4, offset=2)
    writer.dump(schema, text)
    return text.getvalue()
