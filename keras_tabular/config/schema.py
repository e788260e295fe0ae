"""`data/schema.yaml`: where the table is, its columns and what to predict.

docs/schema.md describes every key.
"""

import codecs
import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Generic, Literal, Self, TypedDict, TypeVar, get_args

from pydantic import AfterValidator, Field, model_validator

from keras_tabular.core.errors import format_list
from keras_tabular.core.typed_yaml import (
    Section,
    Value,
    expected_one_of,
    parse_section,
    read_yaml,
)
from keras_tabular.tasks.task import TASKS, Task, TaskName

SCHEMA = Path("data/schema.yaml")
MAX_LENGTH = 2**14  # the number of characters of a text that a model can read
Kind = Literal["real", "integer", "boolean", "category", "datetime", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
NUMBER_KINDS = ("real", "integer")
# The kinds that may have a key of a column, if not all may.
KINDS_OF_KEYS = {
    "min": NUMBER_KINDS,
    "max": NUMBER_KINDS,
    "values": (*NUMBER_KINDS, "boolean", "category"),
    "format": (*NUMBER_KINDS, "datetime"),
    "timezone": ("datetime",),
}
FeatureType = Literal["number", "datetime", "category", "text"]
Format = str | tuple[str, ...] | None
# A number format is how a column writes 1234.5, such as $1,234.5 or 1 234,5 m2: a
# prefix, a separator of thousands, a decimal point and a suffix.
AFFIX = r"[^0-9+\-\0]"  # any character but digits, signs and NUL
# A point, a comma, an apostrophe, or a space, perhaps one without a line break.
SEPARATOR = r"[.,'\u2019 \u00a0\u202f]"
NUMBER_FORMAT = re.compile(
    rf"(?P<prefix>{AFFIX}*)"
    rf"1(?P<separator>{SEPARATOR}?)234"
    r"(?P<point>[.,])5"
    rf"(?P<suffix>(?:{AFFIX}[^+\-\0]*)?)",
)
ISO = "ISO8601"  # pandas has the same name for ISO 8601
# The number that stands for the beginning of 1970, and the microseconds of one unit.
EPOCHS = {
    "epoch": (0.0, 1e6),
    "epoch_ms": (0.0, 1e3),
    "excel": (25_569.0, 86_400e6),
}
# These directives of strptime are supported. A format has a year, or only a time of
# day.
DATE_FORMAT = re.compile(r"([^%\0-\x1f]|%[YymdbBjHIMSfpzaA%])+")
YEARS = {"%Y", "%y"}
HOURS = {"%H", "%I"}
TIMES = {"%H", "%I", "%M", "%S", "%f", "%p"}
T = TypeVar("T")


class ByKind(TypedDict, Generic[T]):
    """Table with an entry for each kind of column; mypy reports a missing kind."""

    real: T
    integer: T
    boolean: T
    category: T
    datetime: T
    text: T


# The types of the values of a column in this file. Dates cannot be listed.
VALUE_TYPES = ByKind[tuple[type, ...]](
    real=(int, float),
    integer=(int,),
    boolean=(bool,),
    category=(str,),
    datetime=(),
    text=(str,),
)


def _check_timezone(name: str) -> str:
    names = (files("tzdata") / "zones").read_text(encoding="utf-8").split()
    if name not in names:
        raise ValueError(
            "expected a name from the time zone database such as Europe/Berlin",
        )
    return name


class Column(Section):
    """One column of the table; docs/schema.md describes the keys."""

    kind: Kind
    min: float | None = None
    max: float | None = None
    values: tuple[Value, ...] | None = None
    replace: dict[Value, Value] = Field(default_factory=dict)
    missing_values: tuple[Value, ...] = ()
    nullable: bool = False
    unique: bool = False
    known_before_target: bool = False
    format: Format = None
    timezone: Annotated[str, AfterValidator(_check_timezone)] | None = None

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> Self:
        for key, kinds in KINDS_OF_KEYS.items():
            if getattr(self, key) is not None and self.kind not in kinds:
                raise ValueError(
                    f"{key} is for {' and '.join(kinds)} columns, but this one is"
                    f" {self.kind}.",
                )
        if self.format is not None:
            _check_format(self)
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}.")
        return self

    @model_validator(mode="after")
    def _values_fit_the_kind(self) -> Self:
        types = VALUE_TYPES[self.kind]
        values_by_key = {"values": self.values or (), "missing_values": self.sentinels}
        for key, values in values_by_key.items():
            for value in values:
                if type(value) not in types:
                    hint = " Write it in quotes." if str in types else ""
                    raise ValueError(
                        f"{key} has {value!r}, but the kind is {self.kind}.{hint}",
                    )
        cell_types = (str, int, float) if self.kind in NUMBER_KINDS else (str,)
        for value in [*self.replace.keys(), *self.replace.values()]:
            if type(value) not in cell_types:
                raise ValueError(
                    f"replace has {value!r}, which is not a text. Write it in quotes.",
                )
        return self

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of the column. A date is read in the first one that fits it."""
        if isinstance(self.format, tuple):
            return self.format
        return (self.format or ISO,)

    @property
    def number_format(self) -> str | None:
        """How a real or integer column writes 1234.5; None for 1234.5 itself."""
        if self.kind in NUMBER_KINDS and isinstance(self.format, str):
            return self.format
        return None

    @property
    def decimal_point(self) -> str:
        """The decimal point of the numbers in this column."""
        match = NUMBER_FORMAT.fullmatch(self.number_format or "")
        return match["point"] if match else "."

    @property
    def feature_type(self) -> FeatureType:
        """How the model treats the column. All kinds of numbers are the same to it."""
        # With `in`, mypy would not see that only FeatureTypes remain.
        if self.kind == "real" or self.kind == "integer" or self.kind == "boolean":
            return "number"
        return self.kind

    @property
    def is_string(self) -> bool:
        """Whether the model reads the values as texts."""
        return self.feature_type in ("category", "text")

    @property
    def missing_words(self) -> tuple[str, ...]:
        """The `missing_values` that are texts, as all those of a category are."""
        if self.kind == "category":
            return tuple(map(str, self.missing_values))
        return tuple(value for value in self.missing_values if isinstance(value, str))

    @property
    def sentinels(self) -> tuple[Value, ...]:
        """The `missing_values` that are values of the kind: no texts for numbers."""
        if self.kind == "category":
            return self.missing_words
        return tuple(
            value for value in self.missing_values if not isinstance(value, str)
        )


def _check_format(column: Column) -> None:
    """Raise `ValueError` if a number or datetime column cannot have its format."""
    if column.kind == "datetime":
        expected = (
            f"{', '.join(EPOCHS)}, {ISO} or formats such as %d.%m.%Y or [%d.%m.%Y,"
            " %Y-%m]"
        )
        are_dates = all(_is_date_format(text) for text in column.formats)
        is_valid = column.format in EPOCHS or are_dates
    else:
        expected = "1234.5 as the column writes it, such as 1.234,5 or $1,234.5"
        match = NUMBER_FORMAT.fullmatch(column.number_format or "")
        is_valid = match is not None and match["separator"] != match["point"]
    if not is_valid:
        raise ValueError(f"format: expected {expected}, got {column.format!r}.")


def _is_date_format(text: str) -> bool:
    if text == ISO:
        return True
    if not DATE_FORMAT.fullmatch(text):
        return False
    directives = re.findall("%[^%]", text)
    different = {*directives}
    if len(different) < len(directives):
        return False  # the cell would contain the same part twice
    has_year = not different.isdisjoint(YEARS)
    is_time = not different.isdisjoint(HOURS) and different <= TIMES
    return has_year or is_time


def part_name(name: str, part: str) -> str:
    """Return the name of a part of a datetime column, which no column can have."""
    return f"{name}\x1f{part}"


def input_name(column: str) -> str:
    """Return the name of a column's input in the model.

    Keras forbids slashes and empty names.
    """
    return column.replace("/", "_") or "_"


Columns = dict[str, Column]  # by name


def _check_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):  # unknown, or not for texts, such as gzip
        raise ValueError("expected a text encoding such as utf-8 or cp1252") from None
    return name


def _check_line_number(number: int) -> int:
    if not number:
        raise ValueError("expected 1 for the first line, or -1 for the last one")
    return number


class Dialect(Section):
    """How a CSV file or a spreadsheet is written.

    Attributes:
        skip_lines: Numbers of the lines that are no rows, from 1. Negative numbers
            count the lines that are not empty from the end, from -1.
        sheet: Name of the sheet of a spreadsheet; None for the first one that has a
            table.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[str, AfterValidator(_check_encoding)] = "utf-8"
    skip_lines: tuple[Annotated[int, AfterValidator(_check_line_number)], ...] = ()
    sheet: str | None = None

    @property
    def is_utf8(self) -> bool:
        """Whether the encoding is UTF-8, which has several names."""
        return codecs.lookup(self.encoding).name == "utf-8"


class Schema(Dialect):
    """The table: where it is, its columns, and what to predict.

    Attributes:
        positive: The class of a binary target whose probability the model predicts.
        group: Column whose rows with the same value stay together. The model does not
            read it.
        time: Column by which the rows are ordered. The model reads it.
        split: Column that says to which subset each row belongs. The model does not
            read it.
        weight: Column with the weight of each row. The model does not read it.
        test_files: The files of the folder `source` with the test rows.
        columns: The columns by name. They are checked in this order.
        ignore: Columns that the model does not read. Those that are not in `columns`
            either are not checked.
    """

    source: Annotated[str, Field(min_length=1)]
    task: TaskName
    target: str
    positive: Value | None = None
    group: str | None = None
    time: str | None = None
    split: str | None = None
    weight: str | None = None
    test_files: tuple[str, ...] = ()
    columns: Columns
    ignore: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _columns_have_one_role(self) -> Self:
        if self.target not in self.columns:
            raise ValueError(f"target: {expected_one_of(self.target, self.columns)}")
        if len(set(self.roles.values())) < len(self.roles):
            raise ValueError(f"{format_list(self.roles)}: expected different columns.")
        candidates = [name for name in self.columns if name != self.target]
        for role, name in self.roles.items():
            if name not in candidates:
                raise ValueError(f"{role}: {expected_one_of(name, candidates)}")
        if self.weight:
            kind = self.columns[self.weight].kind
            if kind not in NUMBER_KINDS:
                raise ValueError(
                    "weight: expected a real or integer column, got one of kind"
                    f" {kind}.",
                )
        if self.target in self.ignore:
            raise ValueError(
                f"ignore: expected other columns than the target {self.target!r}.",
            )
        if not self.features:
            raise ValueError(
                "columns: expected a column that the model reads, got none.",
            )
        inputs = {input_name(name): name for name in self.features}
        for name in self.features.keys() - inputs.values():
            raise ValueError(
                f"columns: {name!r} and {inputs[input_name(name)]!r} would be the same"
                " input of the model. Rename one of them in the file.",
            )
        return self

    @model_validator(mode="after")
    def _target_fits_the_task(self) -> Self:
        task = TASKS[self.task]
        target = self.columns[self.target]
        key = f"columns.{self.target}"
        if target.nullable:
            raise ValueError(
                f"{key}.nullable: expected false, as this column is the target.",
            )
        if target.kind not in task.target_kinds:
            allowed = " or ".join(task.target_kinds)
            raise ValueError(
                f"{key}.kind: task {self.task} requires {allowed}, got {target.kind}.",
            )
        classes = target.values or ()
        fewest, most = task.class_limits
        has_allowed_number = fewest <= len(classes) <= most
        are_different = len({*classes}) == len(classes)
        if fewest and not (has_allowed_number and are_different):
            expected = "two" if most == 2 else "three or more"
            raise ValueError(
                f"{key}.values: expected {expected} classes, got {[*classes]}.",
            )
        if task.has_threshold and self.positive not in classes:
            raise ValueError(
                f"positive: expected one of {[*classes]}, got {self.positive!r}.",
            )
        return self

    @property
    def features(self) -> Columns:
        """The columns that the model reads, in the order of the file."""
        unread = {self.target, self.group, self.split, self.weight, *self.ignore}
        return {
            name: column for name, column in self.columns.items() if name not in unread
        }

    def without(self, names: Iterable[str]) -> Self:
        """Return the schema with more names in `ignore`."""
        return self.model_copy(update={"ignore": (*self.ignore, *names)})

    @property
    def roles(self) -> dict[str, str]:
        """The columns that split or weight the rows, by their key in the schema."""
        keys = {"group", "time", "split", "weight"}
        return self.model_dump(include=keys, exclude_none=True)

    @property
    def learning_task(self) -> Task:
        """The task with its classes in the order of their codes."""
        values = self.columns[self.target].values or ()
        return TASKS[self.task].from_values(values, self.positive)

    @property
    def classes(self) -> tuple[Value, ...]:
        """The classes of the task; empty for a regression."""
        return self.learning_task.classes


def load_schema(path: Path = SCHEMA) -> Schema:
    """Read and check the schema of the table.

    Raises:
        UserError: The file cannot be read, or a key or value is wrong. The message has
            one line for each mistake.
    """
    return parse_section(read_yaml(path), Schema, path)
