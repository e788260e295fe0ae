"""Infer the kind of each column from its texts in the first rows of a table."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from keras_tabular.config.schema import ISO, NUMBER_KINDS, Column, Format, Kind
from keras_tabular.core.typed_yaml import Value, format_yaml
from keras_tabular.schema_inference import formats, word_pattern
from keras_tabular.schema_inference.formats import Reading, all_parse_as, parse_texts
from keras_tabular.schema_inference.sample import MISSING, Sample
from keras_tabular.table.groups import (
    IDENTIFIER,
    MIN_ROWS_FOR_TIME_BLOCKS,
    is_identifier,
)

DATE_NAME = re.compile(
    word_pattern("date") + "$|dat[aeou]m?$|^(dat|time)",
    re.IGNORECASE,
)
BIRTH_NAME = re.compile(word_pattern("birth") + "|dob$", re.IGNORECASE)
# Names of columns of codes, which are no numbers if one of their texts is none.
CODE_NAME = re.compile(rf"{IDENTIFIER.pattern}|(?i:{word_pattern('code')})")
ZERO_IN_FRONT = re.compile(r"\s*-?0\d+")
DECIMAL_NUMBER = re.compile(r"\s*-?\d+[.,]\d+\s*")
COMPACT_DATE = re.compile(r"\s*(19|20)\d{6}\s*")  # 20240531
# The numbers that a column of timestamps may contain: from 1979 to 2103, or from 1954
# to 2064.
TIMESTAMP_RANGES = {
    "epoch": (3e8, 4.2e9),
    "epoch_ms": (3e11, 4.2e12),
    "excel": (2e4, 6e4),
}
FIRST_YEAR = 1800  # integers between these two are no numbers of rows
LAST_YEAR = 2100
MAX_REVERSALS = 0.05  # of the changes of a date, in rows that are in its order
# Numbers of which more texts than both limits have digits, but are no numbers, are
# codes.
MAX_CODES = 3
MAX_CODE_SHARE = 0.02  # of the texts
MAX_MISSING_CLASSES = 0.1  # of the rows; a word in more rows is a class
MIN_WORD_ROWS = 3  # of a word among numbers or dates that may mean missing
# Share of the integers from the smallest to the largest value that a counter has.
MIN_COUNTING_SHARE = 0.9
MIN_ROWS_FOR_UNIQUE = 50  # with fewer rows, the numbers may differ by chance
MAX_CLASSES = 20
MIN_VALUES = 8  # that a feature needs, so that some are in the training rows
# Above this number of different texts, they may be names, labels or free text.
MANY_DISTINCT = 50
MIN_MEAN_WORDS = 1.5  # of free texts; names and codes have fewer
MAX_ROWS_PER_TEXT = 5  # of free texts; categories have more
MAX_EXAMPLES = 4  # values in a comment
MAX_EXAMPLES_LENGTH = 60  # their characters


@dataclass
class InferredColumn:
    """What a column contains, as far as can be seen, and what a person should check.

    Attributes:
        name: The name of the column.
        counts: How often each text occurs, after `replace`.
        mistakes: Texts that are no values of the kind, and have to be replaced.
        values: The classes, if the column is the target of a classification.
        description: A summary of the values.
        questions: Questions to a person, and what to change in the schema.
        is_constant: Whether there are no two different values.
        split: The rule of the split that the column suggests, and why; empty if it
            suggests none.
        declaration: Its declaration in the schema, if other columns share it.
    """

    name: str
    counts: Counter[str]
    missing_values: list[str]
    is_target: bool
    kind: Kind = "category"
    values: list[Value] = field(default_factory=list)
    description: str = ""
    questions: list[str] = field(default_factory=list)
    is_ignored: bool = False
    format: Format = None
    replace: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    is_constant: bool = False
    split: str = ""
    declaration: str = ""

    @property
    def has_missing(self) -> bool:
        """Whether a cell is empty or a missing value."""
        return bool(self.counts[""] or self.missing_values)

    @property
    def nullable(self) -> bool:
        """Whether cells may be missing; rows without a target are set aside."""
        return self.has_missing and not self.is_target

    @property
    def present(self) -> Counter[str]:
        """How often each text occurs that is not missing."""
        present = self.counts.copy()
        for text in ("", *self.missing_values, *self.mistakes):
            present.pop(text, None)
        return present

    def count_values(self) -> Counter[Any]:
        """Count the rows of each value; texts such as 1 and 01 are the same value."""
        counts = self.present
        values = parse_texts([*counts], self.kind, self.format)
        value_counts = Counter[Any]()
        for value, count in zip(values, counts.values(), strict=True):
            value_counts[value] += count
        return value_counts

    def set_misfits(self, misfits: Sequence[str]) -> None:
        """Divide texts that do not fit the kind into missing values and mistakes."""
        for text in misfits:
            has_digit = re.search(r"\d", text)
            is_word = self.counts[text] >= MIN_WORD_ROWS and not has_digit
            if is_word or formats.may_mean_missing(text):
                self.missing_values.append(text)
            else:
                self.mistakes.append(text)
        self.missing_values.sort()

    def declare(self) -> dict[str, Any]:
        """Return the keys of the column in the schema."""
        keys = ("nullable", "values", "replace", "missing_values", "format")
        values = {key: getattr(self, key) for key in keys if getattr(self, key)}
        return {"kind": self.kind, **values}

    def with_missing(self, values: Sequence[Value]) -> str:
        """Return the keys of the column if other values are missing, too."""
        keys = f"missing_values: {format_yaml([*self.missing_values, *values])}"
        return keys if self.nullable or self.is_target else f"{keys}, nullable: true"

    def ignore(self, question: str) -> None:
        """Exclude the column from the model, and ask whether that is right."""
        self.is_ignored = True
        self.questions = [
            f"{question} If not, move it to columns as {format_yaml(self.declare())}.",
        ]


def infer_columns(sample: Sample, target: str) -> dict[str, InferredColumn]:
    """Infer what each column of a table contains."""
    columns = {}
    readings = {}
    marks = set()  # the decimal marks of columns that only one format fits
    for name, counts in sample.columns.items():
        missing = sorted(text for text in counts if text in MISSING or text.isspace())
        column = InferredColumn(name, counts, missing, is_target=name == target)
        reading = formats.infer_number_formats(column.present)
        columns[name] = column
        readings[name] = reading
        has_marks = re.search("[.,]", "".join(column.present))
        if has_marks and len(reading.formats) == 1:
            number_column = Column(kind="real", format=reading.formats[0])
            marks.add(number_column.decimal_point)
        if column.is_target and not reading.formats:
            column.missing_values += find_missing_classes(name, column.present)
    for name, column in columns.items():
        infer_simple_kind(column, readings[name], marks, sample.delimiter)
        if not column.is_constant:
            infer_other_kind(column, sample)
    return columns


def find_missing_classes(name: str, classes: Counter[str]) -> list[str]:
    """Return the texts of a target that may mean missing, if other classes are left.

    The name of the column is one, from a header in the middle of a table.
    """
    words = [
        text
        for text in classes
        if text == name or formats.may_mean_missing_category(text)
    ]
    n_rows = sum(classes[word] for word in words)
    n_classes = len(classes) - len(words)
    if n_rows > MAX_MISSING_CLASSES * classes.total():
        return []
    return words if 2 <= n_classes <= MAX_CLASSES else []


def infer_simple_kind(
    column: InferredColumn,
    reading: Reading,
    marks: set[str],
    delimiter: str,
) -> None:
    """Infer whether a column contains numbers, booleans or categories.

    Args:
        column: The column.
        reading: The formats in which nearly all texts are numbers.
        marks: The decimal marks of other columns.
        delimiter: The delimiter of the file; empty if it is not a CSV.
    """
    texts = [*column.present]
    are_booleans = all_parse_as(texts, "boolean")
    if not reading.formats and not are_booleans:
        column.replace = merge_spellings(column.present)
    for old, new in column.replace.items():
        column.counts[new] += column.counts.pop(old)
    column.questions += reading.questions
    are_numbers = False
    if reading.formats and not are_codes(column.name, texts, reading.misfits):
        are_numbers = True
        column.set_misfits(reading.misfits)
    elif reading.misfits:
        question = formats.ask_kind("real", reading.formats[0], reading.misfits)
        column.questions.append(question)
    texts = [*column.present]
    if not texts or (len(texts) == 1 and not column.has_missing):
        column.description = (
            "The same value in every row" if texts else "No readable value"
        )
        column.is_ignored = True
        column.is_constant = True
        return
    column.description = f"{len(texts)} different values"
    if len(texts) == 1:
        column.description = "1 value"
    if are_numbers:
        form, questions = formats.choose_number_format(
            reading.formats,
            marks,
            delimiter,
        )
        set_number_kind(column, form)
        column.questions += questions
    elif are_booleans:
        column.kind = "boolean"


def set_number_kind(column: InferredColumn, form: str | None) -> None:
    """Make a column one of integers or real numbers, and describe them."""
    texts = [*column.present]
    have_point = not form and "." in "".join(texts)  # 1.0 is real
    are_integers = not have_point and all_parse_as(texts, "integer", form)
    column.kind = "integer" if are_integers else "real"
    column.format = form
    numbers = column.count_values()
    column.description += f" from {min(numbers):g} to {max(numbers):g}"
    if form:
        column.description += f", written as {form}"


def are_codes(name: str, texts: list[str], misfits: Sequence[str]) -> bool:
    """Return whether texts that are nearly all numbers are codes.

    Examples are 00123, or 90210 and 90210B. Numbers with another decimal mark are none.
    """
    if any(ZERO_IN_FRONT.fullmatch(text) for text in texts):
        return True
    if misfits and CODE_NAME.search(name):
        return True
    codes = [
        text
        for text in misfits
        if re.search(r"\d", text) and not DECIMAL_NUMBER.fullmatch(text)
    ]
    return len(codes) > max(MAX_CODES, MAX_CODE_SHARE * len(texts))


def merge_spellings(counts: Counter[str]) -> dict[str, str]:
    """Propose the most frequent spelling for texts that differ only in case or spaces.

    Returns:
        The new text for each other spelling. It is empty if only one value would be
        left, and if there are so many values that they may be names.
    """
    spellings = defaultdict(list)
    for text in counts:
        letters = "".join(text.casefold().split())
        spellings[letters].append(text)
    if not 1 < len(spellings) <= MANY_DISTINCT:
        return {}
    replacements = {}
    for same in spellings.values():
        most_frequent = max(same, key=lambda text: (counts[text], text))
        best = most_frequent.strip()
        for text in same:
            if len(same) > 1 and text != best:
                replacements[text] = best
    return replacements


def infer_other_kind(column: InferredColumn, sample: Sample) -> None:
    """Infer whether a column contains dates, identifiers, few values or free texts."""
    is_date = infer_date(column)
    if not column.is_target:
        if not is_date:
            infer_identifier(column, sample)
        n_values = column.present.total()
        if not column.is_ignored and n_values < min(MIN_VALUES, sample.rows / 2):
            column.description = f"{n_values} of {sample.rows} rows have a value"
            column.ignore("Can the model do without this column?")
    if column.kind == "category" and not column.is_ignored:
        infer_text(column)


def infer_date(column: InferredColumn) -> bool:
    """Make a column a datetime column if nearly all its texts are dates.

    Returns:
        Whether they are, or may be.
    """
    reading = Reading()
    if column.kind == "category":
        reading = formats.infer_date_formats(column.present)
    elif column.kind in NUMBER_KINDS and not column.format:
        reading = infer_timestamps(column.name, [*column.present])
    forms = [form for form in reading.formats if form]
    if not forms:
        column.questions += reading.questions
        return bool(reading.questions)
    column.kind = "datetime"
    column.replace = {}
    column.questions = [*reading.questions]
    if len(forms) > 1:
        column.format = tuple(forms)
    elif forms[0] != ISO:
        column.format = forms[0]
    column.set_misfits(reading.misfits)
    texts = [*column.present]
    dates = parse_texts(texts, "datetime", column.format)
    are_clocks = forms[0].startswith(("%H", "%I"))
    form = "%H:%M" if are_clocks else "%Y-%m-%d"
    column.description = (
        f"{len(texts)} different dates or times"
        f" from {min(dates):{form}} to {max(dates):{form}}"
    )
    if are_clocks:
        column.questions.append(
            "Are these times of day? If not, declare {kind: category}.",
        )
        return True
    column.questions.append(
        "Will later rows be predicted from earlier ones? Then add time:"
        f" {format_yaml(column.name)} above; intervals then need"
        f" {MIN_ROWS_FOR_TIME_BLOCKS} test rows.",
    )
    is_time = not (column.nullable or column.is_target)
    if is_time and are_in_order(dates) and not BIRTH_NAME.search(column.name):
        column.split = (
            f"time, since the rows are in the order of {column.name}; see its comment"
        )
    return True


def are_in_order(dates: list[Any]) -> bool:
    """Return whether enough dates are in ascending or descending order.

    Args:
        dates: Each different date, at the place of the first row with it.
    """
    n_changes = len(dates) - 1
    n_later = sum(a < b for a, b in pairwise(dates))
    n_reversals = min(n_later, n_changes - n_later)
    return n_changes >= MIN_VALUES and n_reversals <= MAX_REVERSALS * n_changes


def infer_timestamps(name: str, texts: list[str]) -> Reading:
    """Infer whether numbers are dates, from their range and their column's name."""
    forms = []
    are_compact = all(COMPACT_DATE.fullmatch(text) for text in texts)
    if are_compact and all_parse_as(texts, "datetime", "%Y%m%d"):
        forms.append("%Y%m%d")
    is_named = bool(DATE_NAME.search(name))
    if is_named:
        numbers = [float(text) for text in texts]
        for form, (low, high) in TIMESTAMP_RANGES.items():
            if low <= min(numbers) and max(numbers) < high:
                forms.append(form)
    if not forms or (is_named and forms != ["excel"]):
        return Reading(forms)
    key = format_yaml({"kind": "datetime", "format": forms[0]})
    return Reading(questions=[f"Are these dates? Then declare {key} in columns."])


def infer_identifier(column: InferredColumn, sample: Sample) -> None:
    """Ignore a column that identifies the rows, and ask whether that is right.

    It does if its integers count up, or if it has different values in most rows and the
    name of an identifier. Rows that repeat another row do not count.
    """
    texts = [*column.present]
    is_unique = len(texts) == len(sample.row_hashes) > sample.rows / 2
    may_have_name = column.kind in ("integer", "category")
    has_name = is_identifier(column.name)
    is_ignored = may_have_name and has_name and 2 * len(texts) > sample.rows
    if column.kind == "integer" and is_unique:
        numbers = column.count_values()
        n_integers = max(numbers) - min(numbers) + 1
        counts_up = len(texts) >= MIN_COUNTING_SHARE * n_integers
        are_years = min(numbers) >= FIRST_YEAR and max(numbers) <= LAST_YEAR
        if counts_up and not are_years:
            is_ignored = True
        elif not (has_name or are_years) and sample.rows >= MIN_ROWS_FOR_UNIQUE:
            column.questions.append("Is it an identifier? Then move it to ignore.")
    if is_ignored:
        if is_unique:
            column.description = "A different value in every row"
        column.ignore("Is it an identifier?")
    elif column.kind == "integer" and has_name and len(texts) > MAX_CLASSES:
        # the order of codes has no meaning
        column.kind = "category"
        column.format = None


def infer_text(column: InferredColumn) -> None:
    """Tell categories, free texts and names apart, and ignore names."""
    counts = column.present
    description = ""
    if len(counts) > MANY_DISTINCT:
        description = describe_free_text(counts)
        if not description and len(counts) > counts.total() / 2:
            questions = column.questions
            column.ignore("Is it an identifier?")
            column.questions = questions or column.questions
            return
    if description:
        column.kind = "text"
        column.replace = {}
    examples = ", ".join(text for text, _ in counts.most_common(MAX_EXAMPLES))
    if len(examples) > MAX_EXAMPLES_LENGTH:
        examples = f"{examples[:MAX_EXAMPLES_LENGTH]}…"
    are_all = len(counts) <= MAX_EXAMPLES
    column.description += f"{description}{': ' if are_all else ', such as '}{examples}"
    if column.replace:
        old, new = next(iter(column.replace.items()))
        column.questions.append(
            f"Do {old!r} and {new!r} mean the same? If not, remove them from replace.",
        )


def describe_free_text(counts: Counter[str]) -> str:
    """Describe free texts or lists of labels, or return an empty text for others."""
    for mark in "|;,":  # between labels such as a|b
        labels = {label.strip() for label in mark.join(counts).split(mark)}
        n_lists = sum(mark in text for text in counts)
        if 2 * n_lists > len(counts) > 3 * len(labels):
            return (
                f", lists of {len(labels)} labels between {mark}, which are read as"
                " words"
            )
    words = " ".join(counts).split()
    mean_words = len(words) / len(counts)
    are_varied = counts.total() < MAX_ROWS_PER_TEXT * len(counts)
    if mean_words >= MIN_MEAN_WORDS and are_varied:
        return f", free text of {mean_words:.1f} words on average"
    return ""
