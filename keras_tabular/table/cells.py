"""The grammar of cells: how texts become values, and which cells are missing.

A missing value is null from here on, however the table writes it. Spaces and tabs
around a number or a boolean are ignored. Quotes around a text make no difference. A
typed cell, of Parquet, means the same as its text; `as_texts` returns the text of each
type.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from keras_tabular.config.schema import (
    EPOCHS,
    ISO,
    KINDS,
    NUMBER_FORMAT,
    ByKind,
    Column,
    Kind,
)

Values = TypeVar("Values", pa.Array, pa.ChunkedArray)
NumberKind = Literal["real", "integer", "boolean"]
# In a table. A model predicts float32, whose largest value is 3.4e38.
MAX_NUMBER = 1e37
# Characters. A longer cell usually begins with a quote that never closes.
MAX_CELL_LENGTH = 2**18
# JSON may contain one, but UTF-8 cannot encode it.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

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
NANOSECONDS = r"([.,:][0-9]{6})[0-9]{1,3}"
WITH_OFFSET = r"[T ][0-9:.]+ ?(Z|[+-][0-9:]+)$"
PRINTABLE_ASCII_WITH_DIGIT = r"^[ -~]*[0-9][ -~]*$"
# In seconds since 1970.
YEAR_1 = -62_135_596_800.0
YEAR_10000 = 253_402_300_800.0
# Bytes of a fixed length are left out: they are hashes or keys, and not texts.
TEXT_TYPES = (
    "string",
    "large_string",
    "string_view",
    "binary",
    "large_binary",
    "binary_view",
)


def describe_expected(column: Column) -> str:
    """Describe what a cell of a column has to be."""
    expected = EXPECTED[column.kind]
    if column.format is not None:
        return f"{expected} written as {' or '.join(column.formats)}"
    if column.kind == "datetime":
        return f"{expected} such as 2024-05-31 or 2024-05-31T14:30:00+02:00"
    return expected


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
        old = pa.array(map(str, column.replace))
        new = pa.array(map(str, column.replace.values()))
        cells = pc.coalesce(new.take(pc.index_in(cells, old)), cells)
    missing = pc.equal(cells, "")
    if column.missing_words:
        missing = pc.or_(missing, pc.is_in(cells, pa.array(column.missing_words)))
    if missing.true_count:
        cells = pc.if_else(missing, None, cells)
    match column.kind:
        case "category" | "text":
            too_long = pc.greater(pc.binary_length(cells), MAX_CELL_LENGTH)
            invalid = pc.or_(pc.match_substring(cells, "\0"), too_long)
            values = pc.if_else(invalid, None, cells).cast(ARROW_TYPES[column.kind])
        case "datetime":
            values = pa.nulls(len(cells), ARROW_TYPES["datetime"])
            for form in column.formats:  # the first one that fits counts
                remaining = pc.if_else(pc.is_valid(values), None, cells)
                dates = _parse_one_format(remaining, form, column)
                values = pc.coalesce(values, dates)
        case "real" | "integer" | "boolean":
            if column.number_format:
                cells = _plain_numbers(cells, column.number_format)
            values = _parse_numbers(cells, column.kind)
    invalid = pc.and_not(pc.is_null(values), missing)
    for sentinel in pa.array(column.sentinels, values.type):
        values = pc.if_else(pc.equal(values, sentinel), None, values)
    return values, invalid


def _parse_numbers(texts: pa.Array, kind: NumberKind) -> pa.Array:
    """Parse numbers or booleans; null for texts that are not in the grammar."""
    # Arrow knows the grammar without spaces around a cell, and more: 0x10 as a whole
    # number, and nan and 1e999 as numbers.
    if kind == "integer":
        texts = pc.if_else(pc.match_substring_regex(texts, "[xX]"), None, texts)
    try:
        values = texts.cast(ARROW_TYPES[kind])
    except pa.ArrowInvalid:
        texts = pc.ascii_trim(texts, " \t")
        texts = pc.if_else(pc.match_substring_regex(texts, GRAMMARS[kind]), texts, None)
        if kind == "integer":
            return _parse_integers(texts)
        values = texts.cast(ARROW_TYPES[kind])
    if kind == "real":
        return pc.if_else(pc.is_finite(values), values, None)
    return values


def _parse_integers(texts: pa.Array) -> pa.Array:
    """Parse whole numbers, which may end in .0; null if they do not fit in 64 bits."""
    pattern = r"^(-?)0*([0-9]+?)(\.0+)?$"
    digits = pc.replace_substring_regex(texts, pattern, r"\1\2")
    length = pc.binary_length(digits)
    is_short = pc.less_equal(length, MAX_INTEGER_LENGTH)
    digits = pc.if_else(is_short, digits, None)
    numbers = digits.cast(pa.decimal128(MAX_INTEGER_LENGTH))
    # A number that does not fit becomes another one.
    integers = numbers.cast("int64", safe=False)
    is_same = pc.equal(integers.cast(numbers.type), numbers)
    return pc.if_else(is_same, integers, None)


def _plain_numbers(texts: pa.Array, form: str) -> pa.Array:
    """Rewrite numbers in the format of a column, such as $1,234.5, as 1234.5.

    The prefix and the suffix may be absent, and spaces beside them do not count.
    Thousands are separated everywhere or nowhere, and never after a leading zero: 0,950
    is not 950. ($5) and 5- are negative, as in accounting. Other texts become null.

    >>> _plain_numbers(pa.array(["$1,234.5", "($5)", "5%"]), "$1,234.5").to_pylist()
    ['1234.5', '-5', None]
    """
    prefix, separator, point, suffix = NUMBER_FORMAT.findall(form)[0]
    digits = "[0-9]+"
    if separator:
        digits = f"[1-9][0-9]{{0,2}}(?:{re.escape(separator)}[0-9]{{3}})+|[0-9]+"
    pattern = (
        "^(?P<sign>[+-]?)"
        f"(?:{re.escape(prefix.strip())}{SPACES})?"
        "(?P<second_sign>[+-]?)"
        f"(?P<whole>{digits})"
        f"(?:{re.escape(point)}(?P<decimals>[0-9]+))?"
        "(?P<exponent>(?:[eE][+-]?[0-9]+)?)"
        f"(?:{SPACES}{re.escape(suffix.strip())})?$"
    )
    texts = pc.ascii_trim(texts, " \t")
    texts = pc.replace_substring(texts, "−", "-")
    texts = pc.replace_substring_regex(texts, NEGATIVE, r"-\1\2\3")
    # The groups of the pattern, null if a text does not match.
    groups = pc.extract_regex(texts, pattern).flatten()
    sign, second_sign, whole, decimals, exponent = groups
    dot = pc.if_else(pc.equal(decimals, ""), "", ".")
    if separator:
        # 1,234e5 is no number with thousands.
        has_separator = pc.match_substring(whole, separator)
        has_both = pc.and_(has_separator, pc.not_equal(exponent, ""))
        whole = pc.replace_substring(whole, separator, "")
        whole = pc.if_else(has_both, None, whole)
    return pc.binary_join_element_wise(
        sign,
        second_sign,
        whole,
        dot,
        decimals,
        exponent,
        "",
    )


def _parse_one_format(texts: pa.Array, form: str, column: Column) -> pa.Array:
    """Parse dates and times of the years 1 to 9999 in one format.

    A time without offset is in the column's zone.
    """
    import pandas as pd  # takes half a second

    if form in EPOCHS:
        start, micros_per_unit = EPOCHS[form]
        units = pc.subtract(_parse_numbers(texts, "real"), start)
        micros = pc.multiply(units, micros_per_unit)
        has_year = _has_year(pc.divide(micros, 1e6))
        micros = pc.if_else(has_year, pc.round(micros), None)
        return micros.cast("int64").cast(ARROW_TYPES["datetime"])
    texts = pc.ascii_trim(texts, " \t")
    # pandas also accepts words such as today, and digits of other scripts.
    pattern = ISO_8601 if form == ISO else PRINTABLE_ASCII_WITH_DIGIT
    texts = pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)
    if form == ISO or "%f" in form:
        # One cell with nanoseconds would limit all cells to the years 1678 to 2261.
        texts = pc.replace_substring_regex(texts, NANOSECONDS, r"\1")
    # A time without offset is read as one in UTC.
    timestamps = pd.to_datetime(
        texts.to_pandas(),
        format=form,
        errors="coerce",
        utc=True,
    ).dt.as_unit("us")
    if column.timezone and "%z" not in form:
        local = timestamps.dt.tz_localize(None)
        # zoneinfo, which pandas uses, fails for times beyond these.
        local = local.where(local.between("0001-01-03", "9999-12-29"))
        # An hour that occurs twice is the first one; a time that is skipped moves to
        # the next hour.
        in_zone = local.dt.tz_localize(
            time_zone(column.timezone),
            ambiguous=np.ones(len(local), bool),
            nonexistent="shift_forward",
        ).dt.tz_convert("UTC")
        if form == ISO:
            has_offset = pc.match_substring_regex(texts, WITH_OFFSET)
            has_offset = pc.fill_null(has_offset, False).to_pandas()
            in_zone = in_zone.mask(has_offset, timestamps)
        timestamps = in_zone
    values = pa.Array.from_pandas(timestamps, type=ARROW_TYPES["datetime"])
    return pc.if_else(_has_year(as_float64(values, column)), values, None)


def _has_year(seconds: Values) -> Values:
    """Return whether times are in the years 1 to 9999."""
    return pc.and_(pc.greater_equal(seconds, YEAR_1), pc.less(seconds, YEAR_10000))


@cache
def time_zone(name: str) -> ZoneInfo:
    """Return a time zone of the package tzdata, whatever the machine has."""
    with (files("tzdata") / "zoneinfo" / name).open("rb") as file:
        return ZoneInfo.from_file(file, name)


def as_float64(values: Values, column: Column) -> Values:
    """Return values that are not texts as float64; timestamps as seconds since 1970."""
    if column.kind == "datetime":
        micros = values.cast("int64").cast("float64", safe=False)
        return pc.divide(micros, 1e6)
    return values.cast("float64", safe=False)


def possible_kinds(arrow_type: pa.DataType) -> tuple[Kind, ...]:
    """Return the kinds that a column of an Arrow type can have; none for a list."""
    arrow_type = _value_type(arrow_type)
    is_null = types.is_null(arrow_type)
    if is_null or arrow_type in TEXT_TYPES or _is_number(arrow_type):
        return KINDS
    if types.is_boolean(arrow_type) or types.is_duration(arrow_type):
        return ("real", "integer", "boolean", "category", "text")
    if types.is_date(arrow_type) or types.is_timestamp(arrow_type):
        return ("category", "datetime", "text")
    return ("category", "text") if types.is_time(arrow_type) else ()


def can_have_format(arrow_type: pa.DataType, kind: Kind) -> bool:
    """Return whether a `format` applies to a type: texts, or numbers that are dates."""
    arrow_type = _value_type(arrow_type)
    return arrow_type in TEXT_TYPES or (kind == "datetime" and _is_number(arrow_type))


def _value_type(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type of the values in a dictionary."""
    return arrow_type.value_type if types.is_dictionary(arrow_type) else arrow_type


def _is_number(arrow_type: pa.DataType) -> bool:
    return (
        types.is_integer(arrow_type)
        or types.is_floating(arrow_type)
        or types.is_decimal(arrow_type)
    )


def as_texts(values: pa.Array, kind: Kind | None) -> pa.Array:
    """Return typed values as a CSV would write them; missing values and NaN are empty.

    A timestamp with a time zone is written in UTC.

    Args:
        kind: Kind of the column; None if it is not known. A number is written with all
            its digits, or in a column of text with the few digits that identify it
            among the numbers of its own type. So the float32 nearest to 0.1 is
            "0.10000000149011612" in a column of numbers, but "0.1" in one of text.

    Raises:
        pa.ArrowInvalid: A text is not valid UTF-8.

    Examples:
        >>> numbers = [123456789012.0, -0.0, 1e6, 1e300, 0.5, None, float("nan")]
        >>> as_texts(pa.array(numbers), None).to_pylist()
        ['123456789012', '0', '1000000', '1e+300', '0.5', '', '']
    """
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    arrow_type = values.type
    if types.is_floating(arrow_type):
        texts = _float_texts(values, is_text=kind in (None, "category", "text"))
    elif arrow_type in TEXT_TYPES:
        # The cast from bytes checks UTF-8.
        texts = values.cast("large_binary").cast("string")
    elif types.is_timestamp(arrow_type):
        texts = values.cast(pa.timestamp(arrow_type.unit)).cast("string")
        if arrow_type.tz:
            texts = pc.binary_join_element_wise(texts, "Z", "")
    elif types.is_boolean(arrow_type) and kind in ("real", "integer"):
        texts = values.cast("int8").cast("string")
    else:
        texts = values.cast("string")
    return pc.fill_null(texts, "")


def _float_texts(values: pa.Array, *, is_text: bool) -> pa.Array:
    """Return floats as texts, null for NaN; 1000000 instead of 1e+06.

    Args:
        is_text: Whether the column is text, so that few digits are enough.
    """
    numbers = values.cast("float64")
    if is_text:
        texts = values.cast("string")  # "0.1" for the float32 nearest to 0.1
        max_integer = 2.0**53  # larger integers have digits that identify nothing
    else:
        texts = numbers.cast("string")
        max_integer = 2.0**63  # of int64
    is_small = pc.less(pc.abs(numbers), max_integer)
    is_whole = pc.equal(numbers, pc.floor(numbers))
    is_integer = pc.and_(is_whole, is_small)
    integers = pc.if_else(is_integer, numbers, 0)
    integers = integers.cast("int64").cast("string")
    texts = pc.if_else(is_integer, integers, texts)
    return pc.if_else(pc.is_nan(numbers), None, texts)


class Number(str):
    """A number of a typed file, with a decimal dot, whatever the column's format is."""
