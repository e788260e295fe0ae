"""Write the first schema of a table, with questions to a person as comments."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Kind, Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core import typed_yaml
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.core.typed_yaml import Value, format_yaml
from keras_tabular.schema_inference import list_words, questions
from keras_tabular.schema_inference.columns import (
    MAX_CLASSES,
    InferredColumn,
    infer_columns,
)
from keras_tabular.schema_inference.sample import Sample, read_sample
from keras_tabular.table.checks import check_table, describe_failures, rows_to_locate
from keras_tabular.table.profile import share_outside
from keras_tabular.table.rows import parse_rows, text_columns
from keras_tabular.table.source import row_locator, source_files
from keras_tabular.tasks.task import Binary, Multiclass, Regression, Task

HINTS = {
    "task": "binary, multiclass or regression",
    "positive": "the class whose probability is predicted",
}
# Usual first words of the positive class and of the other one.
WORD_PAIRS = [pair.split("/") for pair in list_words("classes")]
POSITIVE = {positive for positive, _ in WORD_PAIRS}
NEGATIVE = {negative for _, negative in WORD_PAIRS}
RANDOM_SPLIT = (
    "random, since no column of dates orders the rows, and no column identifies groups"
)
MIN_CLASS_ROWS = 5  # on average; and of the rarest class, if classes are integers
OUTSIDE = (
    "Most values of the last fifth of the rows are outside of the earlier values. Check"
    " whether the model is better without this column."
)
MAX_CERTAIN_CLASSES = 5  # of an integer target; with more values, it may be a count


class FirstSchema(NamedTuple):
    """A schema for a table, and what a person should look at.

    Attributes:
        text: The schema as YAML, with comments.
        question_lines: The numbers of the lines with a question.
        failures: A message for each column with a cell that stops the pipeline, and for
            each check of the table that does.
        split: A proposal for `split.by` in params.yaml, and the reason.
    """

    text: str
    question_lines: list[int]
    failures: list[str]
    split: str


def propose_schema(
    path: Path,
    target: str,
    rows: int,
    policy: Validate | None = None,
) -> FirstSchema:
    """Infer the schema of a file, or of the files in a folder, from up to `rows` rows.

    Args:
        path: The file or folder.
        target: The column to predict.
        rows: The number of rows to read.
        policy: What happens if a check fails; the defaults if None.

    Raises:
        UserError: The file cannot be read, or `target` is not a column that can be
            predicted.
    """
    files = source_files(str(path))
    sample = read_sample(files, rows)
    if target not in sample.columns:
        raise UserError(f"target: {typed_yaml.expected_one_of(target, sample.columns)}")
    columns = infer_columns(sample, target)
    ask_questions(sample, columns)
    target_keys = infer_target(columns[target], sample.rows)
    text, _ = write_yaml(path, sample, columns, target_keys)
    schema = typed_yaml.parse_section(typed_yaml.parse_yaml(text), Schema, path)
    parts, first_cells = parse_sample(sample, schema)
    failures = []
    for name, cell in first_cells.items():
        column = columns[name]
        column.questions.append(questions.ask_mistakes(column, cell))
        failures.append(
            f"{name}: expected {column.kind}, got {cell}. See the comments.",
        )
    checks = check_table(parts, schema, policy or Validate())[1]
    for name, column in columns.items():
        if column.mistakes:
            checks.pop((name, "missing"), None)  # its mistakes are null
    for (name, key), check in checks.items():
        if key == "leak" and check.failed_rows:
            columns[name].questions.append(
                f"The column explains {check.examples[0]} of {target} by itself. Is it"
                f" known before {target} is? If so, set known_before_target: true. If"
                " not, move it to ignore.",
            )
    places = {row: f"row {row + 1}" for row in rows_to_locate(checks)}
    failures += describe_failures(sample.rows, checks, places)["error"]
    time = max(columns, key=lambda name: columns[name].split)  # time before group
    split = columns[time].split
    if split.startswith("time"):
        by_time = pa.concat_tables(parts).sort_by(time)
        n = len(by_time) * 4 // 5
        for name in schema.features.keys() - {time}:
            values = by_time[name]
            if share_outside(values[:n], values[n:], schema.columns[name]) > 0.5:
                columns[name].questions.append(OUTSIDE)
    merge_questions(columns.values())
    text, question_lines = write_yaml(path, sample, columns, target_keys)
    return FirstSchema(text, question_lines, failures, split or RANDOM_SPLIT)


def ask_questions(sample: Sample, columns: dict[str, InferredColumn]) -> None:
    """Add questions to the columns, also about files in which a column is missing.

    If no feature would be left, only constant columns are ignored.
    """
    features = [column for column in columns.values() if not column.is_target]
    if all(column.is_ignored for column in features):
        for column in features:
            column.is_ignored = column.is_constant
            column.questions = []
    all_files = set[str]().union(*sample.files.values())
    for name, column in columns.items():
        if not column.is_ignored:
            column.questions += questions.ask_about(column)
        files = sample.files[name]
        if files != all_files:
            new_names = [new for new in columns if not files & sample.files[new]]
            state = f"named {' or '.join(new_names)}" if new_names else "missing"
            column.questions.append(
                f"Not in {format_list(sorted(all_files - files))}. Is it {state}"
                " there?",
            )


def infer_target(column: InferredColumn, rows: int) -> dict[str, Value]:
    """Infer the task, and change the target column as the task requires.

    Args:
        column: The target.
        rows: The number of rows of the table.

    Returns:
        The keys `task`, `target` and, if the task is binary, `positive` of the schema.

    Raises:
        UserError: The target has a single value, or too many values for classes.
    """
    if column.kind in ("datetime", "text"):
        column.kind = "category"
        column.format = None
        column.mistakes = []
    # The texts 1 and 1.0 may be the names of two classes.
    classes = column.present if column.kind == "real" else column.count_values()
    by_name = sorted(classes, key=str)
    if len(classes) < 2:
        raise UserError(
            f"target: expected different values in column {column.name}, got"
            f" {[*classes]}.",
        )
    task = infer_task(column.kind, classes)
    if task is Multiclass and len(classes) * MIN_CLASS_ROWS > rows:
        raise UserError(
            f"target: expected numbers, or classes of {MIN_CLASS_ROWS} rows on average,"
            f" in column {column.name}, got {len(classes)} different values.",
        )
    if task is not Regression:
        column.values = sorted(by_name, key=lambda value: len(str(value)))
        if column.kind == "real":
            column.kind = "category"
            column.format = None
    if MAX_CERTAIN_CLASSES < len(classes) <= MAX_CLASSES and column.kind == "integer":
        other = Multiclass if task is Regression else Regression
        column.questions.append(
            f"Is the task {task.name}? If not, change task above to {other.name}.",
        )
    column.description += ". This is the target"
    if column.has_missing:
        column.description += ". Rows without a target are set aside"
    column.is_ignored = False
    keys: dict[str, Value] = {"task": task.name, "target": column.name}
    if task is Binary:
        rarest = sorted(by_name, key=lambda value: classes[value])
        positive, negative, is_usual = choose_positive(*rarest)
        keys["positive"] = positive
        if not is_usual:
            column.questions.append(
                f"Is {positive} the class to predict the probability of? If not, set"
                f" positive: {format_yaml(negative)} above.",
            )
    return keys


def infer_task(kind: Kind, classes: Counter[Any]) -> type[Task]:
    """Infer the task from the kind of the target and the number of rows of each value.

    Integers are classes only if there are few, none of them rare. The values of a count
    from 0 to 18 are not: its largest values usually have one row each.
    """
    if len(classes) == 2:
        return Binary
    are_few = len(classes) <= MAX_CLASSES and min(classes.values()) >= MIN_CLASS_ROWS
    if kind in ("boolean", "category") or (kind == "integer" and are_few):
        return Multiclass
    return Regression


def choose_positive(rarer: Value, other: Value) -> tuple[Value, Value, bool]:
    """Return the positive and the negative class, and whether they are a usual pair."""
    rarer_word = first_word(rarer)
    other_word = first_word(other)
    if [other_word, rarer_word] in WORD_PAIRS:
        return other, rarer, True
    if [rarer_word, other_word] in WORD_PAIRS:
        return rarer, other, True
    if sign(other_word) > sign(rarer_word):
        return other, rarer, False
    return rarer, other, False


def first_word(value: Value) -> str:
    """Return the first word of a class, in lower case."""
    return re.split(r"[\W_]+", str(value).casefold())[0]


def sign(word: str) -> int:
    """Return 1 for a word of the positive class, -1 for one of the other, or else 0."""
    if len(word) == 1 and not word.isdigit():  # n is no, or north
        return 0
    return (word in POSITIVE) - (word in NEGATIVE)


def parse_sample(
    sample: Sample,
    schema: Schema,
) -> tuple[list[pa.Table], dict[str, str]]:
    """Parse the rows.

    Returns:
        The rows; and the first cell of each column that does not fit its kind.
    """
    parts = []
    first_cells = {}
    for raw in sample.raw_rows:
        texts = text_columns(raw, schema.columns)
        part, failures = parse_rows(raw, texts, schema.columns)
        parts.append(part)
        locate = row_locator([raw.file], sample.reading)
        for failure in sorted(failures):
            if failure.column not in first_cells:
                first_cells[failure.column] = (
                    f"{failure.got} ({locate(raw.first_row + failure.row)})"
                )
    return parts, first_cells


def merge_questions(columns: Iterable[InferredColumn]) -> None:
    """Ask the same question about several columns once.

    The line with it declares all of them: the other lines have an alias of YAML.
    """
    groups = defaultdict(list)
    for column in columns:
        # The numbers of rows may differ.
        question = re.sub(r"\d+ (of|rows|times)", "", " ".join(column.questions))
        key = column.is_ignored, question, format_yaml(column.declare())
        groups[key].append(column)
    for number, (first, *copies) in enumerate(groups.values()):
        if first.questions and copies:
            first.declaration = f"&same{number} {format_yaml(first.declare())}"
            names = format_list(column.name for column in copies)
            first.questions.append(f"The same for {names}.")
            for column in copies:
                column.declaration = f"*same{number}"
                column.questions = []


def write_yaml(
    path: Path,
    sample: Sample,
    columns: dict[str, InferredColumn],
    target_keys: dict[str, Value],
) -> tuple[str, list[int]]:
    """Write a schema as YAML, with a comment on each column.

    Returns:
        The text, and the numbers of the lines with a question.
    """
    rows = f"{'all' if sample.is_complete else 'the first'} {sample.rows} rows"
    lines = [f"# Inferred from {rows}. Check every comment."]
    question_lines = []
    keys: dict[str, Any] = {"source": path.as_posix()}
    keys |= sample.dialect.model_dump(exclude_defaults=True)
    for key in sample.questions:
        keys.setdefault(key, ())
    keys |= target_keys
    comments = HINTS | sample.questions
    for key, value in keys.items():
        comment = f" # {comments[key]}" if key in comments else ""
        lines.append(f"{key}: {format_yaml(value)}{comment}")
        if key in sample.questions:
            question_lines.append(len(lines))
    for section in ("columns", "ignore"):
        selected = [
            column
            for column in columns.values()
            if column.is_ignored == (section == "ignore")
        ]
        if selected:
            lines.append(f"{section}:")
        for column in selected:
            name = format_yaml(column.name)
            declaration = column.declaration or format_yaml(column.declare())
            key = f"- {name}" if column.is_ignored else f"{name}: {declaration}"
            comment = " ".join([f"{column.description}.", *column.questions])
            printable = [letter if letter.isprintable() else " " for letter in comment]
            lines.append(f"  {key} # {''.join(printable)}")
            if column.questions:
                question_lines.append(len(lines))
    lines.append("")
    return "\n".join(lines), question_lines
