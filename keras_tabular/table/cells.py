"""The grammar of cells: how the text of a cell becomes a value, and which cells are missing.

A missing value is null from here on, however the table writes it. Spaces and tabs
around a number or a boolean are ignored. Quotes around a text make no difference. A
typed cell, of Parquet, means the same as its text; `as_texts` returns the text of each
type.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import (
    EPOCHS,
    ISO,
    KINDS,
    NUMBER_FORMAT,
    ByKind,
    Column,
    Kind,
)

NumberKind = Literal["real", "integer", "boolean"]
MAX_NUMBER = 1e37  # in a table; a model predicts float32, whose largest value is 3.4e38
MAX_CELL_LENGTH = (
    2**18
)  # characters; a longer cell usually begins with a quote that never closes
LONE_SURROGATE = re.compile(
    "[\ud800-\udfff]",
)  # JSON may contain one, but UTF-8 cannot encode it

ARROW_TYPES = ByKind[pa.DataType](
    real=pa.float64(),
    integer=pa.int64(),
    boolean=pa.bool_(),
    category=pa.string(),
    datetime=pa.timestamp("us", "UTC"),
    text=pa.large_string(),  # a part may have more than 2 GiB of text
)
EXPECTED = ByKind[str](
    real="a finite number",
    integer="a whole number of at most 18 digits",
    boolean="true, false, 1 or 0",
    category=f"text without NUL bytes, of at most {MAX_CELL_LENGTH} bytes",
    datetime="a date or a time",
    text=f"text without NUL bytes, of at most {MAX_CELL_LENGTH} bytes",
)
# Cells without spaces around them. The regular expressions here are those of RE2, which
# takes a time that is linear in the length of a text.
GRAMMARS: dict[NumberKind, str] = {
    "real": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    # pandas writes 41.0 if the column has missing values
    "integer": r"^-?[0-9]+(\.0+)?$",
    "boolean": r"^(?i:true|false|1|0)$",
}
NEGATIVE = r"^([^0-9()+-]*)\(([^()+-]+)\)$|^([^()+-]+)-$"  # (5), $(5) or 5-
SPACES = "[ \u00a0\u202f]*"
MAX_INTEGER_LENGTH = 20  # digits and sign of a whole number of 64 bits
# A date, and optionally a time and an offset from UTC.
ISO_8601 = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?)?"
    r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)
WITH_OFFSET = r"[T ][0-9:.]+ ?(Z|[+-][0-9:]+)$"
PRINTABLE_ASCII_WITH_DIGIT = r"^[ -~]*[0-9][ -~]*$"
# seconds since 1970
YEAR_1 = -62_135_596_800.0
YEAR_10000 = 253_402_300_800.0
# Bytes of a fixed length are left out: they are hashes or keys, and not texts.
TEXT_TYPES = (
    *(pa.string(), pa.large_string(), pa.string_view()),
    *(pa.binary(), pa.large_binary(), pa.binary_view()),
)
# The Arrow types that a column of a kind may have, except for texts and numbers: any
# kind may.
NUMERIC = (pa.types.is_boolean, pa.types.is_duration)
TEMPORAL = (pa.types.is_date, pa.types.is_timestamp)
SIMPLE = (*NUMERIC, *TEMPORAL, pa.types.is_time)
OTHER_TYPES = ByKind[tuple[Callable[[pa.DataType], bool], ...]](
    real=NUMERIC,
    integer=NUMERIC,
    boolean=NUMERIC,
    category=SIMPLE,
    datetime=TEMPORAL,
    text=SIMPLE,
)


def describe_expected(column: Column) -> str:
    """Describe what a cell of a column has to be."""
    if column.format is not None:
        return f"{EXPECTED[column.kind]} written as {' or '.join(column.formats)}"
    if column.kind == "datetime":
        return (
            f"{EXPECTED[column.kind]} such as 2024-05-31 or 2024-05-31T14:30:00+02:00"
        )
    return EXPECTED[column.kind]


def parse(cells: pa.Array, column: Column) -> tuple[pa.Array, pa.Array]:
    """Parse the texts of a column to values of its type in `ARROW_TYPES`.

    Args:
        cells: Texts; an empty text is missing, and so is one of the column's
            `missing_values`.

    Returns:
        The values, null where a cell is missing or invalid; and whether each cell is
        invalid, bool.
    """
    if column.replace:
        old, new = (
            pa.array(map(str, t)) for t in (column.replace, column.replace.values())
        )
        cells = pc.coalesce(new.take(pc.index_in(cells, old)), cells)
    missing = pc.equal(cells, "")
    if column.missing_words:
        missing = pc.or_(missing, pc.is_in(cells, pa.array(column.missing_words)))
    if pc.any(missing).as_py():
        cells = pc.if_else(missing, None, cells)
    match column.kind:
        case "category" | "text":
            too_long = pc.greater(pc.binary_length(cells), MAX_CELL_LENGTH)
            invalid = pc.or_(pc.match_substring(cells, "\0"), too_long)
            values = pc.if_else(invalid, None, cells).cast(ARROW_TYPES[column.kind])
        case "datetime":
            values = _parse_datetimes(cells, column)
        case "real" | "integer" | "boolean":
            form = column.number_format
            values = _parse_numbers(
                _plain_numbers(cells, form) if form else cells,
                column.kind,
            )
    invalid = pc.and_not(pc.is_null(values), missing)
    for sentinel in pa.array(column.sentinels, values.type):
        values = pc.if_else(pc.equal(values, sentinel), None, values)
    return values, invalid


def _parse_numbers(texts: pa.Array, kind: NumberKind) -> pa.Array:
    """Parse numbers or booleans; null for texts that are not in the grammar."""
    # Arrow's own parser accepts the grammar, without spaces around a cell, and more:
    # 0x10 as a whole number, and nan and 1e999 as numbers.
    values = None
    if kind != "integer" or not pc.any(pc.match_substring_regex(texts, "[xX]")).as_py():
        with suppress(pa.ArrowInvalid):
            values = texts.cast(ARROW_TYPES[kind])
    if values is None:
        texts = pc.ascii_trim(texts, " \t")
        texts = pc.if_else(pc.match_substring_regex(texts, GRAMMARS[kind]), texts, None)
        values = (
            _parse_integers(texts)
            if kind == "integer"
            else texts.cast(ARROW_TYPES[kind])
        )
    return pc.if_else(pc.is_finite(values), values, None) if kind == "real" else values


def _parse_integers(texts: pa.Array) -> pa.Array:
    """Parse whole numbers, which may end in .0; null for numbers that do not fit in 64 bits."""
    digits = pc.replace_substring_regex(texts, r"^(-?)0*([0-9]+?)(\.0+)?$", r"\1\2")
    is_short = pc.less_equal(pc.binary_length(digits), MAX_INTEGER_LENGTH)
    numbers = pc.if_else(is_short, digits, None).cast(pa.decimal128(MAX_INTEGER_LENGTH))
    low, high = (pa.scalar(n).cast(numbers.type) for n in (-(2**63), 2**63 - 1))
    fits = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    return pc.if_else(fits, numbers, None).cast(pa.int64())


def _plain_numbers(texts: pa.Array, form: str) -> pa.Array:
    """Rewrite numbers in the format of a column, such as $1,234.5, as 1234.5.

    The prefix and the suffix may be absent, and spaces beside them do not count.
    Thousands are separated everywhere or nowhere, and never after a leading zero: 0,950
    is not 950. ($5) and 5- are negative, as in accounting. Other texts become a text
    that is not a number.
    """
    prefix, separator, point, suffix = re.fullmatch(NUMBER_FORMAT, form).groups()  # type: ignore[union-attr]
    affixes = (prefix.strip(), separator, point, suffix.strip())
    prefix, separated, mark, suffix = map(re.escape, affixes)
    whole = (
        f"[1-9][0-9]{{0,2}}(?:{separated}[0-9]{{3}})+|[0-9]+" if separator else "[0-9]+"
    )
    sign = "([+-]?)"
    decimals = f"(?:({mark})([0-9]+))?"
    exponent = "([eE][+-]?[0-9]+)?"
    prefix = f"(?:{prefix}{SPACES})?"
    suffix = f"(?:{SPACES}{suffix})?"
    pattern = f"^{sign}{prefix}{sign}({whole}){decimals}{exponent}{suffix}$"
    texts = pc.ascii_trim(texts, " \t")
    texts = pc.replace_substring(texts, "−", "-")
    texts = pc.replace_substring_regex(texts, NEGATIVE, r"-\1\2\3")
    valid = pc.match_substring_regex(texts, pattern)
    if separator:  # 1,234e5 is no number with thousands
        with_exponent = (
            f"{separated}[0-9]{{3}}(?:{mark}[0-9]+)?[eE][+-]?[0-9]+{suffix}$"
        )
        valid = pc.and_not(valid, pc.match_substring_regex(texts, with_exponent))
    # A control character marks the place of the point while the separators are removed.
    plain = pc.replace_substring_regex(texts, pattern, r"\1\2\3" + "\x1f" + r"\5\6")
    plain = pc.replace_substring(plain, separator, "") if separator else plain
    plain = pc.replace_substring_regex(plain, "\x1f($|[eE])", r"\1")
    return pc.if_else(valid, pc.replace_substring(plain, "\x1f", "."), "no number")


def _parse_datetimes(texts: pa.Array, column: Column) -> pa.Array:
    """Parse dates and times of the years 1 to 9999, each with the first format that fits."""
    timestamps = pa.nulls(len(texts), ARROW_TYPES["datetime"])
    for form in column.formats:
        remaining = pc.if_else(pc.is_valid(timestamps), None, texts)
        timestamps = pc.coalesce(timestamps, _parse_one_format(remaining, form, column))
    return timestamps


def _parse_one_format(texts: pa.Array, form: str, column: Column) -> pa.Array:
    """Parse the texts in one format; a time without offset is in the column's time zone."""
    if form in EPOCHS:
        start, micros_per_unit = EPOCHS[form]
        units = pc.subtract(_parse_numbers(texts, "real"), start)
        micros = pc.multiply(units, micros_per_unit)
        micros = pc.if_else(_has_year(pc.divide(micros, 1e6)), pc.round(micros), None)
        return micros.cast(pa.int64()).cast(ARROW_TYPES["datetime"])
    import pandas as pd  # takes half a second

    texts = pc.ascii_trim(texts, " \t")
    # pandas also accepts words such as today, and digits of other scripts.
    pattern = ISO_8601 if form == ISO else PRINTABLE_ASCII_WITH_DIGIT
    cells = pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)
    with_offset = pa.repeat("%z" in form, len(texts))
    if form == ISO:
        with_offset = pc.fill_null(pc.match_substring_regex(cells, WITH_OFFSET), False)

    def read(chosen: pa.Array) -> pd.Series:
        chosen_cells = pc.if_else(chosen, cells, None).to_pandas()
        return pd.to_datetime(
            chosen_cells,
            format=form,
            errors="coerce",
            utc=True,
        ).dt.as_unit("us")

    timestamps = read(pc.invert(with_offset))
    if column.timezone:
        zone = time_zone(column.timezone)
        local = timestamps.dt.tz_localize(None)
        # zoneinfo, which pandas uses, fails for times beyond these.
        local = local.where(local.between("0001-01-03", "9999-12-29"))
        # An hour that occurs twice is the first one; a time that is skipped moves to
        # the next hour.
        timestamps = local.dt.tz_localize(
            zone,
            ambiguous=np.ones(len(local), bool),
            nonexistent="shift_forward",
        ).dt.tz_convert("UTC")
    if pc.any(with_offset).as_py():
        timestamps = timestamps.fillna(read(with_offset))
    values = pa.Array.from_pandas(timestamps, type=ARROW_TYPES["datetime"])
    return pc.if_else(_has_year(as_float64(values, column)), values, None)


def _has_year(seconds: pa.Array) -> pa.Array:
    """Return whether times are in the years 1 to 9999."""
    return pc.and_(pc.greater_equal(seconds, YEAR_1), pc.less(seconds, YEAR_10000))


@cache
def time_zone(name: str) -> ZoneInfo:
    """Return a time zone of the package tzdata, whatever the machine has."""
    with (files("tzdata") / "zoneinfo" / name).open("rb") as file:
        return ZoneInfo.from_file(file, name)


def as_float64(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Return values that are not texts as float64; timestamps as seconds since 1970 in UTC."""
    if column.kind == "datetime":
        return pc.divide(values.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)
    return values.cast(pa.float64(), safe=False)


def possible_kinds(arrow_type: pa.DataType) -> tuple[Kind, ...]:
    """Return the kinds that a column of an Arrow type can have; none for lists and the like."""
    arrow_type = _value_type(arrow_type)
    if (
        pa.types.is_null(arrow_type)
        or arrow_type in TEXT_TYPES
        or _is_number(arrow_type)
    ):
        return KINDS
    return tuple(
        k for k in KINDS if any(is_type(arrow_type) for is_type in OTHER_TYPES[k])
    )


def can_have_format(arrow_type: pa.DataType, kind: Kind) -> bool:
    """Return whether a `format` applies to values of a type: texts, and numbers that are dates."""
    arrow_type = _value_type(arrow_type)
    return arrow_type in TEXT_TYPES or (kind == "datetime" and _is_number(arrow_type))


def _value_type(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type of the values in a dictionary."""
    return arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type


def _is_number(arrow_type: pa.DataType) -> bool:
    is_number_type = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(is_type(arrow_type) for is_type in is_number_type)


def as_texts(values: pa.Array, kind: Kind | None = None) -> pa.Array:
    """Return typed values as a CSV would write them; a missing value and NaN as an empty text.

    A timestamp with a time zone is written in UTC.

    Args:
        kind: Kind of the column, if it is known. A number is written with all its
            digits, or in a column of text with the few digits that identify it among
            the numbers of its own type.

    Raises:
        pa.ArrowInvalid: A text is not valid UTF-8.
    """
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    arrow_type = values.type
    is_text = kind in (None, "category", "text")
    if arrow_type in TEXT_TYPES:
        values = values.cast(pa.large_binary())  # the cast back to texts checks UTF-8
    elif pa.types.is_timestamp(arrow_type):
        values = values.cast(pa.timestamp(arrow_type.unit))
    elif pa.types.is_boolean(arrow_type) and kind in ("real", "integer"):
        values = values.cast(pa.int8())
    elif pa.types.is_floating(arrow_type) and not is_text:
        values = values.cast(pa.float64())
    texts = values.cast(pa.string())
    if pa.types.is_floating(arrow_type):
        numbers = values.cast(pa.float64())
        is_exact = pc.less(pc.abs(numbers), 2.0**53 if is_text else 2.0**63)
        is_whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), is_exact)
        integers = pc.if_else(is_whole, numbers, 0).cast(pa.int64()).cast(pa.string())
        texts = pc.if_else(is_whole, integers, texts)  # 1000000 instead of 1e+06
        texts = pc.if_else(pc.is_nan(numbers), None, texts)
    elif pa.types.is_timestamp(arrow_type) and arrow_type.tz:
        texts = pc.binary_join_element_wise(texts, "Z", "")
    return pc.fill_null(texts, "")


class Number(str):
    """A number of a typed file, whose decimal point is a dot, whatever the column's format is."""
