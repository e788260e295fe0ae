"""Infer the kind of each column from its texts in the first rows of a table."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from keras_tabular.config.schema import ISO, NUMBER_KINDS, Column, Format, Kind
from keras_tabular.config.typed_yaml import Value, format_yaml
from keras_tabular.infer import formats
from keras_tabular.infer.formats import Reading, all_parse_as, parse_texts
from keras_tabular.infer.sample import MISSING, Sample
from keras_tabular.infer.words import word_pattern

DATE_NAME = re.compile(
    word_pattern("date") + "$|dat[aeou]m?$|^(dat|time)",
    re.IGNORECASE,
)
# The numbers that a column of timestamps may contain: from 1979 to 2103, or from 1954
# to 2064.
TIMESTAMP_RANGES = {
    "epoch": (3e8, 4.2e9),
    "epoch_ms": (3e11, 4.2e12),
    "excel": (2e4, 6e4),
}
BIRTH_NAME = re.compile(word_pattern("birth") + "|dob$", re.IGNORECASE)
MAX_REVERSALS = 0.05  # of the changes of a date, in rows that are in its order
IDENTIFIER = re.compile(
    r"(?i:(^|[^a-z])(id|ids|nr|no|num|key|uuid|guid))$|[a-z](Id|ID|Nr|No|Key|UUID|Uuid)$",
)
# Names of columns of codes, which are no numbers if one of their texts is none.
CODE_NAME = re.compile(rf"{IDENTIFIER.pattern}|(?i:{word_pattern('code')})")
# of the texts; more that are no numbers, but have digits
MAX_CODES = 3
MAX_CODE_SHARE = 0.02
MAX_MISSING_CLASSES = 0.1  # of the rows; a word in more rows is a class
MIN_WORD_ROWS = 3  # of a word among numbers or dates that may mean missing
MIN_COUNTING_SHARE = (
    0.9  # of the integers from the smallest to the largest value of a counter
)
YEARS = (1800, 2100)
MIN_ROWS_FOR_UNIQUE = 50  # with fewer rows, the numbers may differ by chance
MAX_CLASSES = 20
MIN_VALUES = 8  # that a feature needs, so that some are in the training rows
MANY_DISTINCT = (
    50  # different texts; if there are more, they may be names, labels or free text
)
MIN_MEAN_WORDS = 1.5  # of free texts; names and codes have fewer
MAX_ROWS_PER_TEXT = 5  # of free texts; categories have more
# values in a comment, and their characters
MAX_EXAMPLES = 4
MAX_EXAMPLES_LENGTH = 60


@dataclass
class InferredColumn:
    """What a column contains, as far as can be seen, and what a person should check.

    Attributes:
        counts: How often each text occurs, after `replace`.
        mistakes: Texts that are no values of the kind, and have to be replaced.
        values: The classes, if the column is the target of a classification.
        description: A summary of the values.
        questions: Questions to a person, and what to change in the schema.
        is_constant: Whether there are no two different values.
        split: The rule of the split that the column suggests, and why; empty if it
            suggests none.
    """

    counts: Counter[str]
    missing_values: list[str]
    kind: Kind = "category"
    values: list[Value] = field(default_factory=list)
    description: str = ""
    questions: list[str] = field(default_factory=list)
    is_ignored: bool = False
    format: Format = None
    replace: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    is_target: bool = False
    is_constant: bool = False
    split: str = ""

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
        missing = {"", *self.missing_values, *self.mistakes}
        return Counter(
            {text: n for text, n in self.counts.items() if text not in missing},
        )

    def set_misfits(self, misfits: Sequence[str]) -> None:
        """Divide the texts that are no values of the kind into missing values and mistakes."""
        for text in misfits:
            is_word = self.counts[text] >= MIN_WORD_ROWS and not re.search(r"\d", text)
            is_missing_value = is_word or formats.may_mean_missing(text)
            (self.missing_values if is_missing_value else self.mistakes).append(text)
        self.missing_values.sort()

    def declare(self) -> dict[str, Any]:
        """Return the keys of the column in the schema."""
        keys = ("nullable", "values", "replace", "missing_values", "format")
        values = {key: getattr(self, key) for key in keys if getattr(self, key)}
        return {"kind": self.kind, **values}

    def with_missing(self, values: Sequence[Value]) -> str:
        """Return the keys of the column in the schema if other values are missing too."""
        keys = f"missing_values: {format_yaml([*self.missing_values, *values])}"
        return keys if self.nullable or self.is_target else f"{keys}, nullable: true"

    def ignore(self, description: str, question: str) -> None:
        """Exclude the column from the model, and ask whether that is right."""
        self.is_ignored = True
        self.description = description
        declaration = format_yaml(self.declare())
        self.questions = [f"{question} If not, move it to columns as {declaration}."]


def infer_columns(sample: Sample, target: str) -> dict[str, InferredColumn]:
    """Infer what each column of a table contains."""
    columns = dict[str, InferredColumn]()
    readings = {}
    marks = set[str]()
    for name, counts in sample.columns.items():
        missing = sorted(text for text in counts if text in MISSING or text.isspace())
        column = columns[name] = InferredColumn(
            counts,
            missing,
            is_target=name == target,
        )
        reading = readings[name] = formats.infer_number_formats(column.present)
        if len(reading.formats) == 1 and {*".,"} & {*"".join(column.present)}:
            marks.add(Column(kind="real", format=reading.formats[0]).decimal_point)
        if name == target and not reading.formats:
            column.missing_values += find_missing_classes(name, column.present)
    for name, column in columns.items():
        infer_kind(name, column, readings[name], marks, sample.delimiter)
        if column.is_constant:
            continue
        if not infer_date(name, column) and name != target:
            infer_identifier(name, column, sample)
        if name != target and not column.is_ignored:
            n_values = column.present.total()
            if n_values < min(MIN_VALUES, sample.rows / 2):
                has_values = f"{n_values} of {sample.rows} rows have a value"
                column.ignore(has_values, "Can the model do without this column?")
        if column.kind == "category" and not column.is_ignored:
            infer_text(column)
    return columns


def find_missing_classes(name: str, classes: Counter[str]) -> list[str]:
    """Return the texts of a target that may mean missing, if classes are left without them.

    The name of the column is one, from a header in the middle of a table.
    """
    words = [
        text
        for text in classes
        if text == name or formats.may_mean_missing_category(text)
    ]
    is_rare = (
        sum(classes[text] for text in words) <= MAX_MISSING_CLASSES * classes.total()
    )
    return words if is_rare and 2 <= len(classes) - len(words) <= MAX_CLASSES else []


def infer_kind(
    name: str,
    column: InferredColumn,
    reading: Reading,
    marks: set[str],
    delimiter: str,
) -> None:
    """Infer whether a column contains numbers, booleans or categories.

    Args:
        reading: The formats in which nearly all texts are numbers.
        marks: The decimal marks of other columns.
        delimiter: The delimiter of the file; empty if it is not a CSV.
    """
    texts = [*column.present]
    are_booleans = all_parse_as(texts, "boolean")
    if not reading.formats and not are_booleans:
        column.replace = merge_spellings(column.counts, texts)
    for old, new in column.replace.items():
        column.counts = column.counts + Counter({new: column.counts[old]})
        del column.counts[old]
    column.questions += reading.questions
    is_number = bool(reading.formats) and not are_codes(name, texts, reading.misfits)
    if is_number:
        column.set_misfits(reading.misfits)
    elif reading.misfits:
        column.questions.append(
            formats.ask_kind("real", reading.formats[0], reading.misfits),
        )
    present = [*column.present]
    if len(present) < 2 and not (present and column.has_missing):
        column.description = (
            "The same value in every row" if present else "No readable value"
        )
        column.is_ignored = column.is_constant = True
        return
    column.description = (
        "1 value" if len(present) == 1 else f"{len(present)} different values"
    )
    if is_number:
        form, question = formats.choose_number_format(reading.formats, marks, delimiter)
        is_whole = all_parse_as(present, "integer", form) and (
            form or "." not in "".join(present)
        )
        column.kind = "integer" if is_whole else "real"
        column.format = form
        numbers = parse_texts(present, column.kind, form)
        written = f", written as {form}" if form else ""
        column.description += f" from {min(numbers):g} to {max(numbers):g}{written}"
        column.questions += question
    elif are_booleans:
        column.kind = "boolean"


def are_codes(name: str, texts: list[str], misfits: Sequence[str]) -> bool:
    """Return whether texts that are nearly all numbers are codes: 00123, or 90210 and 90210B.

    Numbers with another decimal mark are none.
    """
    has_zeros = any(re.fullmatch(r"\s*-?0\d+", text) for text in texts)
    odd = [text for text in misfits if not re.fullmatch(r"\s*-?\d+[.,]\d+\s*", text)]
    n_codes = sum(bool(re.search(r"\d", text)) for text in odd)
    is_named = bool(misfits and CODE_NAME.search(name))
    return (
        has_zeros or is_named or n_codes > max(MAX_CODES, MAX_CODE_SHARE * len(texts))
    )


def merge_spellings(counts: Counter[str], texts: list[str]) -> dict[str, str]:
    """Propose the most frequent spelling for texts that differ only in case or spaces.

    Returns:
        The new text for each other spelling. It is empty if only one value would be
        left, and if there are so many values that they may be names.
    """
    spellings: dict[str, list[str]] = {}
    for text in texts:
        spellings.setdefault("".join(text.casefold().split()), []).append(text)
    replacements = dict[str, str]()
    for same in spellings.values():
        if len(same) > 1:
            best = max(same, key=lambda text: (counts[text], text)).strip()
            replacements |= {text: best for text in same if text != best}
    return replacements if 1 < len(spellings) <= MANY_DISTINCT else {}


def infer_date(name: str, column: InferredColumn) -> bool:
    """Make a column a datetime column if nearly all its texts are dates.

    Returns:
        Whether they are, or may be.
    """
    reading = Reading()
    if column.kind == "category":
        reading = formats.infer_date_formats(column.present)
    elif column.kind in NUMBER_KINDS and not column.format:
        reading = infer_timestamps(name, [*column.present])
    forms = [form for form in reading.formats if form]
    if not forms:
        column.questions += reading.questions
        return bool(reading.questions)
    column.kind = "datetime"
    column.replace = {}
    column.questions = [*reading.questions]
    one_form = None if forms == [ISO] else forms[0]
    column.format = tuple(forms) if len(forms) > 1 else one_form
    column.set_misfits(reading.misfits)
    texts = [*column.present]
    dates = parse_texts(texts, "datetime", column.format)
    is_clock = forms[0].startswith(("%H", "%I"))
    day = "%H:%M" if is_clock else "%Y-%m-%d"
    ends = f"{min(dates):{day}} to {max(dates):{day}}"
    column.description = f"{len(texts)} different dates or times from {ends}"
    question = (
        f"Will later rows be predicted from earlier ones? Then add time: {name}"
        " above, and"
    )
    question += " set split.by: time in params.yaml."
    is_time = "Are these times of day? If not, declare {kind: category}."
    column.questions.append(is_time if is_clock else question)
    # Each date has the place of the first row with it.
    n_later = sum(a < b for a, b in pairwise(dates))
    n_changes = len(dates) - 1
    is_in_order = min(n_later, n_changes - n_later) <= MAX_REVERSALS * n_changes
    orders_rows = n_changes >= MIN_VALUES and not (
        is_clock or column.nullable or column.is_target
    )
    if is_in_order and orders_rows and not BIRTH_NAME.search(name):
        column.split = (
            f"time, since the rows are in the order of {name}; see its comment"
        )
    return True


def infer_timestamps(name: str, texts: list[str]) -> Reading:
    """Infer whether numbers are dates, from their range and the name of their column."""
    is_named = bool(DATE_NAME.search(name))
    numbers = [float(text) for text in texts] if is_named else []
    # 20240531, in the years from 1900 to 2099
    are_compact = all(re.fullmatch(r"\s*(19|20)\d{6}\s*", text) for text in texts)
    forms = (
        ["%Y%m%d"] if are_compact and all_parse_as(texts, "datetime", "%Y%m%d") else []
    )
    for form, (low, high) in TIMESTAMP_RANGES.items() if is_named else ():
        forms += [form] if low <= min(numbers) and max(numbers) < high else []
    if not forms or (is_named and forms != ["excel"]):
        return Reading(forms)
    key = format_yaml({"kind": "datetime", "format": forms[0]})
    return Reading(questions=[f"Are these dates? Then declare {key} in columns."])


def infer_identifier(name: str, column: InferredColumn, sample: Sample) -> None:
    """Ignore a column that identifies the rows, and ask whether that is right.

    It does if its integers count up, or if it has different values in most rows and the
    name of an identifier. Rows that repeat another row do not count.
    """
    present = column.present
    has_name = not name or bool(IDENTIFIER.search(name))
    is_unique = len(present) == len(sample.row_hashes) > sample.rows / 2
    is_identifier = False
    if column.kind == "integer":
        numbers = parse_texts([*present], "integer", column.format)
        n_integers = max(numbers) - min(numbers) + 1
        are_years = YEARS[0] <= min(numbers) and max(numbers) <= YEARS[1]
        if (
            is_unique
            and len(present) >= MIN_COUNTING_SHARE * n_integers
            and not are_years
        ):
            is_identifier = True
        elif (
            is_unique
            and not has_name
            and not are_years
            and sample.rows >= MIN_ROWS_FOR_UNIQUE
        ):
            column.questions.append("Is it an identifier? Then move it to ignore.")
    if has_name and column.kind in ("integer", "category"):
        is_identifier = is_identifier or 2 * len(present) > sample.rows
        if (
            column.kind == "integer"
            and not is_identifier
            and len(present) > MAX_CLASSES
        ):
            # the order of codes has no meaning
            column.kind = "category"
            column.format = None
    if is_identifier:
        description = (
            "A different value in every row" if is_unique else column.description
        )
        column.ignore(description, "Is it an identifier?")


def infer_text(column: InferredColumn) -> None:
    """Tell categories, free texts and names apart, and ignore names."""
    texts = column.present
    questions = column.questions
    rows = texts.total()
    distinct = len(texts)
    reading = ""
    if distinct > MANY_DISTINCT:
        mean_words = sum(len(text.split()) for text in texts) / distinct
        mark, labels = find_labels([*texts])
        if mark:
            reading = (
                f", lists of {len(labels)} labels between {mark}, which are read as"
                " words"
            )
        elif mean_words >= MIN_MEAN_WORDS and rows < MAX_ROWS_PER_TEXT * distinct:
            reading = f", free text of {mean_words:.1f} words on average"
        elif distinct > rows / 2:
            column.ignore(column.description, "Is it an identifier?")
            column.questions = questions or column.questions
            return
    if reading:
        column.kind = "text"
        column.replace = {}
    frequent = texts.most_common(MAX_EXAMPLES)
    examples = ", ".join(text for text, _ in frequent)
    if len(examples) > MAX_EXAMPLES_LENGTH:
        examples = f"{examples[:MAX_EXAMPLES_LENGTH]}…"
    column.description += (
        f"{reading}{': ' if distinct <= MAX_EXAMPLES else ', such as '}{examples}"
    )
    if column.replace:
        old, new = next(iter(column.replace.items()))
        same = (
            f"Do {old!r} and {new!r} mean the same? If not, remove them from replace."
        )
        column.questions.append(same)


def find_labels(texts: list[str]) -> tuple[str, set[str]]:
    """Return the mark between labels such as a|b, and all labels, if most texts are such lists."""
    for mark in "|;,":
        labels = {label.strip() for text in texts for label in text.split(mark)}
        if 2 * sum(mark in text for text in texts) > len(texts) > 3 * len(labels):
            return mark, labels
    return "", set()
