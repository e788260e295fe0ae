"""What the columns of a table seem to hold, from a look at its first rows."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keras_tabular.config.schema import ISO
from keras_tabular.config.typed_yaml import Value
from keras_tabular.schema_inference import formats
from keras_tabular.schema_inference.formats import all_parse_as, typed
from keras_tabular.schema_inference.sample import Sample, is_missing

DATE_NAME = re.compile(r"(?i)(date|time|stamp|day|created|updated|at)$|^(date|time)")
SINCE_1970 = {"epoch": (300_000_000, 4_200_000_000), "epoch_ms": (3e11, 4.2e12)}  # 1979 to 2103
IDENTIFIER = re.compile(
    r"(?i:(^|[^a-z])(id|ids|nr|no|num|key|uuid|guid))$|[a-z](Id|ID|Nr|No|Key|UUID|Uuid)$"
)
MIN_COUNTING_SHARE = 0.9  # of the whole numbers between the ends, that a count goes through
YEARS = (1800, 2100)
MIN_ROWS_OF_UNIQUE = 50  # fewer rows may differ in a number by chance
MAX_CLASSES = 20
MIN_CLASS_ROWS = 5
MIN_VALUES = 8  # of a column, to be read by a model
MANY_DISTINCT = 50  # different texts: more may be names, labels or free text
MIN_MEAN_WORDS = 1.5  # of a free text; fewer are names or codes
MAX_ROWS_PER_TEXT = 5  # of a free text; more are categories
MAX_REPLACEMENTS = 20
NO_IDENTIFIER = "an identifier? if not, move it to columns as"


@dataclass
class InferredColumn:
    """What a column seems to hold, and what a person should check.

    Attributes:
        counts: How often each text occurs, after `replace`.
        may_be_group: Whether the rows of one value may belong together.
    """

    kind: str
    counts: Counter[str]
    missing_values: list[str] = field(default_factory=list)
    nullable: bool = False
    note: str = ""
    ignore: bool = False
    format: str | tuple[str, ...] | None = None
    replace: dict[str, str] = field(default_factory=dict)
    constant: bool = False
    may_be_group: bool = False

    @property
    def present(self) -> list[str]:
        """The different texts that are not missing."""
        return [text for text in self.counts if text and text not in self.missing_values]


def infer_columns(sample: Sample, target: str) -> dict[str, InferredColumn]:
    """Infer what each column of a table holds, by its name."""
    present = {
        name: [text for text in counts if text and not is_missing(text)]
        for name, counts in sample.columns.items()
    }
    readings = {name: formats.number_readings(texts) for name, texts in present.items()}
    marks = {forms[0].mark for forms in readings.values() if len(forms) == 1}
    columns = {}
    for name, counts in sample.columns.items():
        number_format = None
        if readings[name]:
            number_format = formats.choose_number_format(readings[name], marks, sample.delimiter)
        column = columns[name] = infer_column(counts, number_format)
        if not column.constant and not infer_date(name, column) and name != target:
            ask_identifier(name, column, sample)
        values = sum(column.counts[text] for text in column.present)
        if not column.ignore and name != target and values < min(MIN_VALUES, sample.rows / 2):
            column.ignore = True  # the training rows may have none of them
            column.note = (
                f"{values} of {sample.rows} rows have a value: of use? if so, move it to columns "
                f"as {{kind: {column.kind}, nullable: true}}"
            )
        if column.kind == "category" and not column.ignore:
            infer_text(column, "" if readings[name] else formats.ask_format(column.present))
    return columns


def infer_column(
    counts: Counter[str], number_format: tuple[str | None, str] | None
) -> InferredColumn:
    """Infer the kind of a column, but for dates and free texts, from the counts of its texts.

    Args:
        number_format: Format of the column and a question, if all texts are numbers.
    """
    replacements = {} if number_format else merged_spellings(counts)
    for old, new in replacements.items():
        counts = counts + Counter({new: counts[old]})
        del counts[old]
    missing = sorted(text for text in counts if is_missing(text))
    column = InferredColumn("category", counts, missing, bool(counts[""] or missing))
    column.replace = replacements
    present = column.present
    column.note = f"{len(present)} different values"
    if len(present) < 2 and not (present and column.nullable):
        column.note = "one value or none in every row"
        column.ignore = column.constant = True
        return column
    codes = any(re.fullmatch(r"\s*-?0\d+", text) for text in present)  # 00123 is a code
    if number_format and not codes:
        form, question = number_format
        is_whole = all_parse_as(present, "integer", form) and (form or "." not in "".join(present))
        column.kind, column.format = "integer" if is_whole else "real", form
        numbers: list[Any] = typed(present, column.kind, form)
        written = f", numbers written as {form}" if form else ""
        column.note += f"{written}, {min(numbers):g} to {max(numbers):g}{question}"
    elif all_parse_as(present, "boolean"):
        column.kind = "boolean"
    return column


def merged_spellings(counts: Counter[str]) -> dict[str, str]:
    """Propose the most frequent spelling for texts that differ in case or blanks alone.

    Returns:
        A new text for each other spelling; nothing if only one value would be left, or if there
        are more than `MAX_REPLACEMENTS`, or so many values that they may be names.
    """
    spellings: dict[str, list[str]] = {}
    for text in counts:
        if text and not is_missing(text):
            spellings.setdefault("".join(text.casefold().split()), []).append(text)
    replacements = dict[str, str]()
    for texts in spellings.values():
        best = max(texts, key=lambda text: (counts[text], text)).strip()
        if len(texts) > 1:
            replacements |= {text: best for text in texts if text != best}
    is_boolean = all_parse_as([text for texts in spellings.values() for text in texts], "boolean")
    few = 1 < len(spellings) <= MANY_DISTINCT and len(replacements) <= MAX_REPLACEMENTS
    return replacements if few and not is_boolean else {}


def infer_date(name: str, column: InferredColumn) -> bool:
    """Describe a column as dates or times, if that is what it holds; return whether it is."""
    texts, forms, question = column.present, list[str](), ""
    if column.kind == "category":
        forms, question = formats.read_dates(texts)
    elif column.kind == "integer" and not column.format and DATE_NAME.search(name):
        numbers = [int(float(text)) for text in texts]
        for form, (low, high) in SINCE_1970.items():
            if low <= min(numbers) and max(numbers) < high:
                forms = [form]
        if are_compact_dates(texts):
            forms = ["%Y%m%d"]
    elif column.kind == "integer" and are_compact_dates(texts):
        column.note += "; dates written as %Y%m%d? then kind: datetime, with that format"
    if not forms:
        return False
    several = tuple(forms) if len(forms) > 1 else None
    column.kind, column.replace = "datetime", {}
    column.format = several or (None if forms == [ISO] else forms[0])
    dates: list[Any] = typed(texts, "datetime", column.format)
    written = f", written as {' or '.join(forms)}" if several else ""
    column.note = (
        f"{len(texts)} different dates or times{written}, {min(dates):%Y-%m-%d} to "
        f"{max(dates):%Y-%m-%d}{question}; are later rows to be predicted from earlier ones? then "
        f"time: {name} in a line of its own above, and split.by: time in params.yaml"
    )
    return True


def are_compact_dates(texts: list[str]) -> bool:
    """Return whether all texts are dates such as 20240531, of years that a table is about."""
    plausible = all(re.fullmatch(r"\s*(19|20)\d{6}\s*", text) for text in texts)
    return plausible and all_parse_as(texts, "datetime", "%Y%m%d")


def ask_identifier(name: str, column: InferredColumn, sample: Sample) -> None:
    """Ignore a column whose values name the rows, and ask whether that is right.

    Values name the rows if they count up, or if they differ in nearly each row and the name of the
    column says so. A row that repeats another one does not count.
    """
    present, is_named = column.present, not name or bool(IDENTIFIER.search(name))
    unique = len(present) == sample.distinct_rows > sample.rows / 2
    declared = f"{{kind: {column.kind}}}"
    if column.kind == "integer":
        numbers: list[Any] = typed(present, "integer", column.format)
        spread = max(numbers) - min(numbers) + 1
        are_years = YEARS[0] <= min(numbers) and max(numbers) <= YEARS[1]
        if unique and len(present) >= MIN_COUNTING_SHARE * spread and not are_years:
            column.ignore = True
        elif unique and not is_named and not are_years and sample.rows >= MIN_ROWS_OF_UNIQUE:
            column.note += "; a different number in each row: an identifier? then move it to ignore"
    if is_named and column.kind in ("integer", "category"):
        column.ignore = column.ignore or 2 * len(present) > sample.rows
        if column.kind == "integer" and not column.ignore and len(present) > MAX_CLASSES:
            column.kind, column.format = "category", None  # the order of the numbers says nothing
    if column.ignore:
        each = "a different value in each row" if unique else f"{len(present)} different values"
        column.note = f"{each}; {NO_IDENTIFIER} {declared}"


def infer_text(column: InferredColumn, hint: str) -> None:
    """Tell categories from free texts and from names, which are ignored; complete the note.

    Args:
        hint: What to ask of texts that are nearly dates or numbers; empty if nothing.
    """
    texts = column.present
    rows, distinct = sum(column.counts[text] for text in texts), len(texts)
    reading = ""
    if distinct > MANY_DISTINCT:
        words = sum(len(text.split()) for text in texts) / distinct
        if mark := find_label_mark(texts):
            labels = len({label.strip() for text in texts for label in text.split(mark)})
            reading = f"; {labels} labels between {mark}, read as words"
        elif words >= MIN_MEAN_WORDS and rows < MAX_ROWS_PER_TEXT * distinct:
            reading = f"; {words:.1f} words on average, read as free text"
        elif distinct > rows / 2:
            column.ignore = True
            hint = hint or f"; {NO_IDENTIFIER} {{kind: category}}"
            column.note = f"{distinct} different values{hint}"
            return
    if reading:
        column.kind, column.replace = "text", {}
    frequent = sorted(texts, key=lambda text: -column.counts[text])[:4]
    column.note = f"{distinct} different values: {', '.join(frequent)[:60]}{reading}{hint}"
    if column.replace:
        old, new = next(iter(column.replace.items()))
        column.note += (
            f"; {old!r} and {new!r} differ in case or blanks alone: one value? if not, remove "
            "them from replace"
        )


def find_label_mark(texts: list[str]) -> str:
    """Find the mark between labels such as a|b, of which most texts have several; else empty."""
    for mark in "|;,":
        labels = {label.strip() for text in texts for label in text.split(mark)}
        if 2 * sum(mark in text for text in texts) > len(texts) > 3 * len(labels):
            return mark
    return ""


def infer_task(kind: str, classes: Mapping[Value, int]) -> str:
    """Infer the task from the kind of the target and the number of rows of each of its values.

    Two values are binary; texts are classes; so are whole numbers, if they are few and none is
    rare: a count from 0 to 18 is a number to predict, and its largest values have one row each.
    """
    if len(classes) == 2:
        return "binary"
    few = len(classes) <= MAX_CLASSES and min(classes.values()) >= MIN_CLASS_ROWS
    if kind in ("boolean", "category") or (kind == "integer" and few):
        return "multiclass"
    return "regression"
