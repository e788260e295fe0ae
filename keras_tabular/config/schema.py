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

from keras_tabular.config.task import TASKS, Task, TaskName
from keras_tabular.config.typed_yaml import (
    Section,
    Value,
    expected_one_of,
    parse_section,
    read_yaml,
)
from keras_tabular.core.errors import format_list

SCHEMA = Path("data/schema.yaml")
MAX_LENGTH = 2**14  # the number of characters of a text that a model can read
Kind = Literal["real", "integer", "boolean", "category", "datetime", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FeatureType = Literal["number", "datetime", "category", "text"]
Format = str | tuple[str, ...] | None
NUMBER_KINDS = ("real", "integer")
T = TypeVar("T")


def part_name(name: str, part: str) -> str:
    """Return the name of a part of a datetime column, which no column of a table can have."""
    return f"{name}\x1f{part}"


class ByKind(TypedDict, Generic[T]):
    """A table with an entry for each kind of column. mypy refuses one that lacks a kind."""

    real: T
    integer: T
    boolean: T
    category: T
    datetime: T
    text: T


NUMBER_KEYS = ("min", "max", "values", "format")
# The keys that a column of a kind may have, of those that some kinds may not have.
KEYS = ByKind[tuple[str, ...]](
    real=NUMBER_KEYS,
    integer=NUMBER_KEYS,
    boolean=("values",),
    category=("values",),
    datetime=("format", "timezone"),
    text=(),
)
# The types of the values of a column in this file. Dates cannot be listed.
VALUE_TYPES = ByKind[tuple[type, ...]](
    real=(int, float),
    integer=(int,),
    boolean=(bool,),
    category=(str,),
    datetime=(),
    text=(str,),
)
# How a column writes 1234.5: prefix, thousands separator, decimal mark and suffix.
AFFIX = r"[^0-9+\-\0]"
GROUP = r"[.,'\u2019 \u00a0\u202f]"
NUMBER_FORMAT = re.compile(rf"({AFFIX}*)1({GROUP}?)234([.,])5((?:{AFFIX}[^+\-\0]*)?)")
ISO = "ISO8601"  # pandas has the same name for ISO 8601
# The number that stands for the beginning of 1970, and the microseconds of one unit.
EPOCHS = {"epoch": (0.0, 1e6), "epoch_ms": (0.0, 1e3), "excel": (25_569.0, 86_400e6)}
# These directives of strptime are supported. A format has a year, or only a time of
# day.
DATE_FORMAT = re.compile(r"([^%\0-\x1f]|%[YymdbBjHIMSfpzaA%])+")
YEARS = {"%Y", "%y"}
HOURS = {"%H", "%I"}
TIMES = {"%H", "%I", "%M", "%S", "%f", "%p"}


def _timezone(name: str) -> str:
    if name not in (files("tzdata") / "zones").read_text(encoding="utf-8").split():
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
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for key in (*NUMBER_KEYS, "timezone"):
            if getattr(self, key) is not None and key not in KEYS[self.kind]:
                allowed = " and ".join(kind for kind in KINDS if key in KEYS[kind])
                raise ValueError(
                    f"{key} is for {allowed} columns, but this one is {self.kind}.",
                )
        if self.format is not None:
            _check_format(self)
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}.")
        # The missing values of a category may be written as numbers.
        sentinels = () if self.kind == "category" else self.sentinels
        for key, values in {
            "values": self.values or (),
            "missing_values": sentinels,
        }.items():
            for value in values:
                if type(value) not in VALUE_TYPES[self.kind]:
                    hint = (
                        " Write it in quotes." if str in VALUE_TYPES[self.kind] else ""
                    )
                    raise ValueError(
                        f"{key} has {value!r}, but the kind is {self.kind}.{hint}",
                    )
        numbers = (int, float) if self.kind in NUMBER_KINDS else ()
        for value in (*self.replace, *self.replace.values()):
            if type(value) not in (str, *numbers):
                raise ValueError(
                    f"replace has {value!r}, which is not a text. Write it in quotes.",
                )
        return self

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of the column. A date is read in the first format that fits it."""
        return self.format if isinstance(self.format, tuple) else (self.format or ISO,)

    @property
    def number_format(self) -> str | None:
        """How a real or integer column writes 1234.5; None for 1234.5 itself."""
        is_number = self.kind in NUMBER_KINDS and isinstance(self.format, str)
        return str(self.format) if is_number else None

    @property
    def decimal_point(self) -> str:
        """The decimal point of the numbers in this column."""
        return (
            NUMBER_FORMAT.sub(r"\3", self.number_format) if self.number_format else "."
        )

    @property
    def feature_type(self) -> FeatureType:
        """How the model treats the column. All kinds of numbers are the same to it."""
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
        is_category = self.kind == "category"
        return tuple(
            str(v) for v in self.missing_values if is_category or isinstance(v, str)
        )

    @property
    def sentinels(self) -> tuple[Value, ...]:
        """The `missing_values` that are values of the kind: no texts in a number column."""
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
        are_formats = len(column.formats) > 0 and all(
            map(_is_date_format, column.formats),
        )
        is_valid = column.format in EPOCHS or are_formats
    else:
        expected = "1234.5 as the column writes it, such as 1.234,5 or $1,234.5"
        match = (
            NUMBER_FORMAT.fullmatch(column.number_format)
            if column.number_format
            else None
        )
        is_valid = match is not None and match[2] != match[3]
    if not is_valid:
        raise ValueError(f"format: expected {expected}, got {column.format!r}.")


def _is_date_format(text: str) -> bool:
    directives = re.findall("%[^%]", text)
    is_repeated = len({*directives}) < len(directives)
    has_year = YEARS & {*directives}
    is_time = HOURS & {*directives} and {*directives} <= TIMES
    is_date = bool(has_year or is_time) and not is_repeated
    return text == ISO or (is_date and DATE_FORMAT.fullmatch(text) is not None)


def input_name(column: str) -> str:
    """Return the name of a column's input in the model. Keras forbids slashes and empty names."""
    return column.replace("/", "_") or "_"


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except (
        LookupError,
        ValueError,
    ):  # unknown, or not an encoding of texts, such as gzip
        raise ValueError("expected a text encoding such as utf-8 or cp1252") from None
    return name


def _line_number(number: int) -> int:
    if not number:
        raise ValueError("expected 1 for the first line, or -1 for the last one")
    return number


Columns = dict[str, Column]  # by name


class Dialect(Section):
    """How a CSV file or a spreadsheet is written.

    Attributes:
        skip_lines: Numbers of the lines that are no rows, from 1. Negative numbers
            count the lines that are not empty from the end, from -1.
        sheet: Name of the sheet of a spreadsheet; None for the first one that has a
            table.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    skip_lines: tuple[Annotated[int, AfterValidator(_line_number)], ...] = ()
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
    columns: dict[str, Column]
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
        if self.weight and (kind := self.columns[self.weight].kind) not in NUMBER_KINDS:
            raise ValueError(
                f"weight: expected a real or integer column, got one of kind {kind}.",
            )
        if self.target in self.ignore:
            raise ValueError(
                f"ignore: expected other columns than the target {self.target!r}.",
            )
        if not self.features:
            raise ValueError(
                "columns: expected a column that the model reads, got none.",
            )
        return self

    @model_validator(mode="after")
    def _target_fits_the_task(self) -> Self:
        target, key = self.columns[self.target], f"columns.{self.target}"
        if target.nullable:
            raise ValueError(
                f"{key}.nullable: expected false, as this column is the target.",
            )
        kinds = TASKS[self.task].target_kinds
        classes = target.values or ()
        if target.kind not in kinds:
            allowed = " or ".join(kinds)
            raise ValueError(
                f"{key}.kind: task {self.task} requires {allowed}, got {target.kind}.",
            )
        fewest, most = TASKS[self.task].class_limits
        if fewest and not fewest <= len({*classes}) == len(classes) <= most:
            expected = "two" if most == 2 else "three or more"
            raise ValueError(
                f"{key}.values: expected {expected} classes, got {[*classes]}.",
            )
        if TASKS[self.task].has_threshold and self.positive not in classes:
            raise ValueError(
                f"positive: expected one of {[*classes]}, got {self.positive!r}.",
            )
        return self

    @property
    def features(self) -> dict[str, Column]:
        """The columns that the model reads, in the order of the file."""
        unread = {self.target, self.group, self.split, self.weight, *self.ignore}
        return {
            name: column for name, column in self.columns.items() if name not in unread
        }

    def without(self, names: Iterable[str]) -> Self:
        """Return the schema with more names in `ignore`."""
        return self.model_copy(
            update={"ignore": tuple(dict.fromkeys((*self.ignore, *names)))},
        )

    @property
    def roles(self) -> dict[str, str]:
        """The columns that split or weight the rows, by their key in the schema."""
        roles = ("group", "time", "split", "weight")
        return {
            role: name for role in roles if (name := getattr(self, role)) is not None
        }

    @property
    def learning_task(self) -> Task:
        """The task with its classes, in the order of the model's outputs, the positive one last."""
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
