"""`data/schema.yaml`: where the table is, how it is written, and what its columns hold."""

import codecs
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from keras_tabular.config.typed_yaml import Section, Value, parse_section, read_yaml
from keras_tabular.core.errors import format_list

SCHEMA = Path("data/schema.yaml")
MAX_LENGTH = 2**14  # characters of a text; no model reads more
Kind = Literal["real", "integer", "boolean", "category", "datetime", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)


# What the values of a column can be in this file; of a datetime there are none.
VALUE_TYPES: dict[Kind, tuple[type, ...]] = {
    "real": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "category": (str,),
    "datetime": (),
    "text": (str,),
}
# How a column writes 1234.5: before it, between thousands, the point, after it.
NUMBER_FORMAT = re.compile(r"([^0-9+\-\0]*)1([.,' \u00a0\u202f]?)234([.,])5([^0-9+\-\0]*)")
# A datetime column may be written as ISO 8601, which is the default, as seconds or milliseconds
# since 1970 in UTC, or with these directives of strptime, one of them a year.
ISO = "ISO8601"  # as pandas calls it
EPOCHS = {"epoch": 1, "epoch_ms": 1000}
DATE_FORMAT = re.compile(r"(?=.*%[Yy])([^%\0-\x1f]|%[YymdbBjHIMSfpzaA%])+")


def _format_mistake(kind: Kind, form: str | tuple[str, ...]) -> str:
    """Return what is wrong with the `format` of a column; empty if nothing is."""
    if kind in ("real", "integer"):
        match = NUMBER_FORMAT.fullmatch(form) if isinstance(form, str) else None
        if match and match[2] != match[3]:
            return ""
        return "expected how the column writes 1234.5, such as 1.234,5 or $1,234.5"
    if kind != "datetime":
        return f"format is for real, integer and datetime columns; this one is {kind}"
    forms = (form,) if isinstance(form, str) else form
    if form in EPOCHS or (forms and all(each == ISO or _is_date_format(each) for each in forms)):
        return ""
    return (
        f"expected {', '.join(EPOCHS)}, or one or several of {ISO} and what strptime takes, such "
        "as %d.%m.%Y or [%d.%m.%Y, %Y-%m]"
    )


def _is_date_format(form: str) -> bool:
    """Return whether a text consists of directives of strptime, each once, one of them a year."""
    directives = re.findall("%[^%]", form)
    return len({*directives}) == len(directives) and DATE_FORMAT.fullmatch(form) is not None


def _timezone(name: str) -> str:
    places = files("tzdata") / "zones"
    if name not in places.read_text(encoding="utf-8").split():
        raise ValueError("expected a name of the time zone database such as Europe/Berlin")
    return name


class Column(Section):
    """One column of the table."""

    kind: Kind
    min: float | None = None
    max: float | None = None
    values: tuple[Value, ...] | None = None
    replace: dict[Value, Value] = Field(default_factory=dict)
    missing_values: tuple[Value, ...] = ()
    nullable: bool = False
    unique: bool = False
    format: str | tuple[str, ...] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind not in ("real", "integer") and (self.min, self.max) != (None, None):
            raise ValueError(
                f"min and max are for real and integer columns; this one is {self.kind}"
            )
        if self.format is not None and (mistake := _format_mistake(self.kind, self.format)):
            raise ValueError(f"format: found {self.format!r}; {mistake}")
        if self.timezone is not None and self.kind != "datetime":
            raise ValueError(f"timezone is for datetime columns; this one is {self.kind}")
        if self.values is not None and self.kind in ("datetime", "text"):
            raise ValueError(f"values are for a category or a number; this column is {self.kind}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        sentinels = () if self.kind == "category" else self.sentinels  # which may be numbers there
        for key, values in {"values": self.values or (), "missing_values": sentinels}.items():
            for value in values:
                if type(value) not in VALUE_TYPES[self.kind]:
                    quote = "" if self.kind in ("real", "integer", "boolean") else "; quote it"
                    raise ValueError(f"{key} has {value!r}, which is no {self.kind}{quote}")
        return self

    @model_validator(mode="after")
    def _replaces_texts(self) -> Self:
        numbers = (int, float) if self.kind in ("real", "integer") else ()
        for value in (*self.replace, *self.replace.values()):
            if type(value) not in (str, *numbers):
                raise ValueError(f"replace has {value!r}, which is no text; quote it")
        if both := [old for old in self.replace if old in (self.values or ())]:
            raise ValueError(f"values has {both[0]!r}, which replace makes another value of")
        return self

    @property
    def date_formats(self) -> tuple[str, ...]:
        """The formats of a datetime column; a cell is read in the first one that fits it."""
        return (self.format or ISO,) if not isinstance(self.format, tuple) else self.format

    @property
    def number_format(self) -> str | None:
        """How a real or integer column writes 1234.5; None where it writes it so."""
        is_number = self.kind in ("real", "integer") and isinstance(self.format, str)
        return str(self.format) if is_number else None

    @property
    def reads_texts(self) -> bool:
        """Whether cells are texts that only `cells.parse` reads: in a format, or with words."""
        words = any(isinstance(value, str) for value in self.missing_values)
        return words or bool(self.replace) or self.format is not None

    @property
    def feature_type(self) -> Literal["number", "datetime", "category", "text"]:
        """What it is to a model, and to what looks into one: they ask this, and not the kind."""
        match self.kind:
            case "real" | "integer" | "boolean":
                return "number"
            case _:
                return self.kind

    @property
    def is_string(self) -> bool:
        """Whether a model reads its values as texts."""
        return self.feature_type in ("category", "text")

    @property
    def sentinels(self) -> tuple[Value, ...]:
        """The `missing_values` as the typed column holds them, without texts for numbers."""
        if self.kind == "category":
            return tuple(map(str, self.missing_values))
        return tuple(value for value in self.missing_values if not isinstance(value, str))


def input_name(column: str) -> str:
    """Return the name of the model's input for a column; Keras takes no slash and no empty name."""
    return column.replace("/", "_") or "_"


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError, UnicodeError):  # of bytes to bytes, such as gzip; with NUL
        raise ValueError("expected an encoding of text such as utf-8 or latin-1") from None
    return name


class Dialect(Section):
    """How a CSV file is written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"

    @property
    def is_utf8(self) -> bool:
        """Whether the encoding is UTF-8, by any of its names."""
        return codecs.lookup(self.encoding).name == "utf-8"

    @property
    def is_ascii_compatible(self) -> bool:
        """Whether ASCII characters are the same bytes in this encoding."""
        ascii_bytes = bytes(range(128))
        return ascii_bytes.decode().encode(self.encoding, "replace") == ascii_bytes


class Schema(Dialect):
    """The table. `columns` are checked in this order; the model reads none that `ignore` names.

    What only `ignore` names may be in the files and is not looked at.

    `group`, `time` and `split` name columns that part the rows, and `weight` one that says how much
    each row counts; of these the model sees the time alone. `test_files` are those of the source's
    folder that hold the test rows of `split.by: file`.
    """

    source: Annotated[str, Field(min_length=1)]
    task: Literal["binary", "multiclass", "regression"]
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
    def _columns_have_their_own_names(self) -> Self:
        if self.target not in self.columns:
            raise ValueError(
                f"target: found {self.target!r}, which is not among columns: "
                f"{format_list(self.columns)}"
            )
        if len(set(self.roles.values())) < len(self.roles):
            raise ValueError(
                f"{format_list(self.roles)}: found one column twice; expected another each"
            )
        for role, name in self.roles.items():
            if name not in self.columns or name == self.target:
                raise ValueError(f"{role}: found {name!r}; expected one of columns, not the target")
        if self.weight and self.columns[self.weight].kind not in ("real", "integer"):
            raise ValueError(f"weight: found {self.weight!r}; expected a real or integer column")
        if self.target in self.ignore:
            raise ValueError(f"ignore: found the target {self.target!r}; expected other columns")
        if not self.features:
            but = " that ignore does not name" if self.ignore else ""
            raise ValueError(f"columns: needs the target and at least one more column{but}")
        names: dict[str, str] = {}
        for name in self.features:
            other = names.setdefault(input_name(name), name)
            if other != name:
                raise ValueError(
                    f"columns: {other!r} and {name!r} are both {input_name(name)!r} in the model; "
                    "rename one of them here and in the table"
                )
        return self

    @model_validator(mode="after")
    def _target_fits_the_task(self) -> Self:
        target = self.columns[self.target]
        where = f"columns.{self.target}"
        if target.nullable:
            raise ValueError(f"{where}.nullable: found true; rows without a target teach nothing")
        if self.task == "regression":
            if target.kind not in ("real", "integer"):
                raise ValueError(f"{where}.kind: found {target.kind!r}; regression needs a number")
            return self
        if target.kind == "real":
            raise ValueError(
                f"{where}.kind: found 'real'; classes are integer, boolean or category"
            )
        classes = target.values or ()
        if len(set(classes)) != len(classes) or len(classes) < (2 if self.task == "binary" else 3):
            needed = "two different classes" if self.task == "binary" else "three or more classes"
            raise ValueError(f"{where}.values: found {list(classes)}; {self.task} needs {needed}")
        if self.task == "binary" and (len(classes) != 2 or self.positive not in classes):
            raise ValueError(
                f"positive: found {self.positive!r}; expected one of the two {where}.values: "
                f"{list(classes)}"
            )
        return self

    @property
    def features(self) -> dict[str, Column]:
        """The columns that the model reads, in declared order."""
        unread = {self.target, self.group, self.split, self.weight, *self.ignore}
        return {name: column for name, column in self.columns.items() if name not in unread}

    @property
    def roles(self) -> dict[str, str]:
        """The columns that part or weigh the rows, by what they do."""
        roles = {"group": self.group, "time": self.time, "split": self.split, "weight": self.weight}
        return {role: name for role, name in roles.items() if name is not None}

    @property
    def classes(self) -> tuple[Value, ...]:
        """The values of the target in the order of the model's outputs; the positive one last."""
        values = self.columns[self.target].values or ()
        if self.task != "binary":
            return values
        return tuple(sorted(values, key=lambda value: value == self.positive))

    @property
    def outputs(self) -> int:
        """How many numbers the model gives for a row."""
        return len(self.classes) if self.task == "multiclass" else 1


def load_schema(path: Path = SCHEMA) -> Schema:
    """Read and check the whole file.

    Raises:
        UserError: see `read_yaml` and `check`.
    """
    return parse_section(read_yaml(path), Schema, path)
