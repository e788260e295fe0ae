"""The grammar of cells, from text to value, and which cells count as missing.

Spaces and tabs around a number or a boolean do not count. A text between quotes means the same as
without them. A typed cell, of Parquet, means what its text does: `as_texts` has it for each type.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import EPOCHS, ISO, KINDS, NUMBER_FORMAT, Column, Kind
from keras_tabular.config.typed_yaml import Value

LARGEST = 1e37  # number of a table: a model's answers are float32, which end at 3.4e38
MAX_CELL_LENGTH = 2**18  # characters; a longer cell is a quote that never closes, or no table
TEXT = f"text without NUL bytes, of at most {MAX_CELL_LENGTH} bytes"


class CellType(NamedTuple):
    """The cells of a kind.

    Attributes:
        arrow: Type of their values.
        expected: What a cell has to be, in words.
        example: How it looks.
        grammar: Regular expression (RE2: linear in the length) of a cell without spaces around it;
            empty for timestamps and text.
    """

    arrow: pa.DataType
    expected: str
    example: str = ""
    grammar: str = ""


CELL_TYPES: dict[Kind, CellType] = {
    "real": CellType(
        pa.float64(),
        "a finite number",
        grammar=r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    ),
    "integer": CellType(  # pandas writes 41.0 where a column has missing values
        pa.int64(), "a whole number of at most 64 bits", grammar=r"^-?[0-9]+(\.0+)?$"
    ),
    "boolean": CellType(pa.bool_(), "true, false, 1 or 0", grammar=r"^(?i:true|false|1|0)$"),
    "category": CellType(pa.string(), TEXT),
    "datetime": CellType(
        pa.timestamp("us", "UTC"),
        "a date or a time",
        " such as 2024-05-31 or 2024-05-31T14:30:00+02:00",
    ),
    "text": CellType(pa.large_string(), TEXT),  # which holds more than 2 GiB in a part
}
ARROW_TYPES = {kind: cell_type.arrow for kind, cell_type in CELL_TYPES.items()}
# What holds texts; bytes of a fixed number are hashes or keys.
BYTES = (
    *(pa.string(), pa.large_string(), pa.string_view()),
    *(pa.binary(), pa.large_binary(), pa.binary_view()),
)


def describe_expected(column: Column) -> str:
    """Say what a cell of a column has to be."""
    cell_type = CELL_TYPES[column.kind]
    if column.format is None:
        return cell_type.expected + cell_type.example
    forms = [column.format] if isinstance(column.format, str) else column.format
    return f"{cell_type.expected} written as {' or '.join(forms)}"


# A date, perhaps a time and an offset from UTC.
ISO_8601 = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}(:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?)?"
    r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)
WITH_OFFSET = r"[T ][0-9:.]+ ?(Z|[+-][0-9:]+)$"
PRINTABLE = r"^[ -~]*[0-9][ -~]*$"
YEAR_1, YEAR_10000 = -62_135_596_800.0, 253_402_300_800.0  # seconds
MAX_DIGITS = 20  # of a whole number of 64 bits, with its sign


def parse(cells: pa.Array, column: Column) -> tuple[pa.Array, pa.Array]:
    """Parse the texts of a column to values of its type in `ARROW_TYPES`.

    Returns:
        The values, null where a cell is missing or invalid; and which cells are invalid, bool.
    """
    if column.replace:
        cells = _replace(cells, column.replace)
    missing = pc.equal(cells, "")
    words = [value for value in column.missing_values if isinstance(value, str)]
    if words and column.kind != "category":  # whose words the model knows
        missing = pc.or_(missing, pc.is_in(cells, pa.array(words)))
    if column.is_string:
        wrong = pc.or_(
            pc.match_substring(cells, "\0"), pc.greater(pc.binary_length(cells), MAX_CELL_LENGTH)
        )
        values = pc.if_else(pc.or_(missing, wrong), None, cells)
        return values.cast(ARROW_TYPES[column.kind]), wrong
    if pc.any(missing).as_py():
        cells = pc.if_else(missing, None, cells)
    if column.kind == "datetime":
        values = _parse_datetimes(cells, column)
    else:
        form = column.number_format
        texts = cells if form is None else _plain_numbers(cells, form)
        values = _cast(texts, column.kind)
    return values, pc.and_not(pc.is_null(values), missing)


def _replace(cells: pa.Array, replacements: Mapping[Value, Value]) -> pa.Array:
    """Return the cells with other texts in place of those that equal a key, as in pandas."""
    old, new = (pa.array(map(str, texts)) for texts in (replacements, replacements.values()))
    return pc.coalesce(new.take(pc.index_in(cells, old)), cells)


def possible_kinds(arrow_type: pa.DataType) -> tuple[Kind, ...]:
    """Return the kinds that a column of an Arrow type can be; none for lists and the like."""
    arrow_type = _stored(arrow_type)
    if pa.types.is_null(arrow_type) or arrow_type in BYTES or _is_number(arrow_type):
        return KINDS
    if pa.types.is_boolean(arrow_type):
        return "real", "integer", "boolean", "category", "text"
    if pa.types.is_duration(arrow_type):
        return "real", "integer", "category", "text"
    if pa.types.is_date(arrow_type) or pa.types.is_timestamp(arrow_type):
        return "category", "datetime", "text"
    return ("category", "text") if pa.types.is_time(arrow_type) else ()


def is_written(arrow_type: pa.DataType, kind: Kind) -> bool:
    """Return whether values of a type can have a `format`: texts, and numbers that are dates."""
    arrow_type = _stored(arrow_type)
    return arrow_type in BYTES or (kind == "datetime" and _is_number(arrow_type))


def as_texts(values: pa.Array, kind: Kind | None = None) -> pa.Array:
    """Return typed values as a CSV would write them; a missing value and NaN are empty.

    A timestamp with a time zone is written in UTC, whatever zones the machine knows.

    Args:
        kind: Kind of the column, if it is known. A number is written with all its digits; in a
            column of text, with the few digits of its own type.

    Raises:
        pa.ArrowInvalid: A text is not in UTF-8.
    """
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    elif isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    arrow_type, is_text = values.type, kind in (None, "category", "text")
    if arrow_type in BYTES:
        values = values.cast(pa.large_binary())  # texts from bytes are checked
    elif pa.types.is_timestamp(arrow_type):
        values = values.cast(pa.timestamp(arrow_type.unit))
    elif pa.types.is_boolean(arrow_type) and kind in ("real", "integer"):
        values = values.cast(pa.int8())
    elif pa.types.is_floating(arrow_type) and not is_text:
        values = values.cast(pa.float64())
    texts = values.cast(pa.string())
    if pa.types.is_floating(arrow_type):
        numbers = values.cast(pa.float64())
        exact = pc.less(pc.abs(numbers), 2.0**53 if is_text else 2.0**63)
        whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), exact)
        integers = pc.if_else(whole, numbers, 0).cast(pa.int64()).cast(pa.string())
        texts = pc.if_else(whole, integers, texts)  # and not 1e+06
        texts = pc.if_else(pc.is_nan(numbers), None, texts)
    elif pa.types.is_decimal(arrow_type) and not is_text:
        texts = pc.replace_substring_regex(texts, "^0E-[0-9]+$", "0")
    elif pa.types.is_timestamp(arrow_type) and arrow_type.tz:
        texts = pc.binary_join_element_wise(texts, "Z", "")
    return pc.fill_null(texts, "")


def _stored(arrow_type: pa.DataType) -> pa.DataType:
    """Return the type of the values behind a dictionary, or an extension such as JSON."""
    if isinstance(arrow_type, pa.BaseExtensionType):
        return arrow_type.storage_type
    return arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type


def _is_number(arrow_type: pa.DataType) -> bool:
    return (
        pa.types.is_integer(arrow_type)
        or pa.types.is_floating(arrow_type)
        or pa.types.is_decimal(arrow_type)
    )


def _cast(texts: pa.Array, kind: Kind) -> pa.Array:
    """Parse texts to values; null for those that are not in the grammar."""
    # Arrow takes 0x10 for a whole number, nan and 1e999 for numbers, and no spaces; else it has
    # this grammar.
    if kind != "integer" or not _holds_an_x(texts):
        try:
            return _finite(texts.cast(ARROW_TYPES[kind]))
        except pa.ArrowInvalid:
            pass
    texts = pc.ascii_trim(texts, " \t")
    right = pc.match_substring_regex(texts, CELL_TYPES[kind].grammar)
    if kind == "integer":
        texts = pc.replace_substring_regex(texts, r"\.0+$", "")
        right = _fits_64_bits(texts, right)
    return _finite(pc.if_else(right, texts, None).cast(ARROW_TYPES[kind]))


def _plain_numbers(texts: pa.Array, form: str) -> pa.Array:
    """Rewrite numbers in the form of a column in the plain form; other texts as no number.

    What stands before and after may be absent. Thousands are separated everywhere or nowhere, and
    never after a leading zero: 0,950 is not 950.
    """
    before, group, point, after = re.fullmatch(NUMBER_FORMAT, form).groups()  # type: ignore[union-attr]
    before, parted, mark, after = map(re.escape, (before, group, point, after))
    whole = f"[1-9][0-9]{{0,2}}(?:{parted}[0-9]{{3}})+|[0-9]+" if group else "[0-9]+"
    pattern = (
        f"^([+-]?)(?:{before})?([+-]?)({whole})(?:({mark})([0-9]+))?([eE][+-]?[0-9]+)?(?:{after})?$"
    )
    texts = pc.ascii_trim(texts, " \t")
    right = pc.match_substring_regex(texts, pattern)
    plain = pc.replace_substring_regex(texts, pattern, r"\1\2\3" + "\x1f" + r"\5\6")
    plain = pc.replace_substring(plain, group, "") if group else plain
    plain = pc.replace_substring_regex(plain, "\x1f($|[eE])", r"\1")
    return pc.if_else(right, pc.replace_substring(plain, "\x1f", "."), "no number")


def _parse_datetimes(texts: pa.Array, column: Column) -> pa.Array:
    """Parse dates and times of the years 1 to 9999, each in the first format that fits it."""
    timestamps = pa.nulls(len(texts), ARROW_TYPES["datetime"])
    for form in column.date_formats:
        unread = pc.if_else(pc.is_valid(timestamps), None, texts)
        timestamps = pc.coalesce(timestamps, _parse_one_format(unread, form, column))
    return timestamps


def _parse_one_format(texts: pa.Array, form: str, column: Column) -> pa.Array:
    """Parse the texts that are in a format; those without offset are in the column's time zone."""
    if form in EPOCHS:
        seconds = pc.divide(_cast(texts, "real"), float(EPOCHS[form]))
        micros = pc.round(pc.multiply(pc.if_else(_has_year(seconds), seconds, None), 1e6))
        return micros.cast(pa.int64()).cast(ARROW_TYPES["datetime"])
    import pandas as pd  # takes half a second

    texts = pc.ascii_trim(texts, " \t")
    # pandas takes today for a day, and digits of any script.
    pattern = ISO_8601 if form == ISO else PRINTABLE
    cells = pc.if_else(pc.match_substring_regex(texts, pattern), texts, None)
    with_offset = pc.fill_null(pc.match_substring_regex(cells, WITH_OFFSET), False)
    if form != ISO:
        with_offset = pa.repeat("%z" in form, len(texts))

    def read(chosen: pa.Array) -> pd.Series:
        cells_read = pc.if_else(chosen, cells, None).to_pandas()
        return pd.to_datetime(cells_read, format=form, errors="coerce", utc=True).dt.as_unit("us")

    timestamps = read(pc.invert(with_offset))
    if column.timezone:
        zone, local = time_zone(column.timezone), timestamps.dt.tz_localize(None)
        # pandas asks zoneinfo, which has no years beyond.
        local = local.where(local.between("0001-01-03", "9999-12-29"))
        # Of an hour that comes twice the first; one that a clock skips ends when it goes on.
        timestamps = local.dt.tz_localize(
            zone, ambiguous=np.ones(len(local), bool), nonexistent="shift_forward"
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
    """Return values that are no texts as float64; timestamps in seconds since 1970 began, UTC."""
    if column.kind == "datetime":
        micros = values.cast(pa.int64()).cast(pa.float64(), safe=False)
        return pc.divide(micros, 1e6)
    return values.cast(pa.float64(), safe=False)


def _holds_an_x(texts: pa.Array) -> bool:
    """Return whether x or X is among the letters of texts, or of those that they are a slice of."""
    letters = texts.buffers()[2]
    return letters is not None and bool((np.frombuffer(letters, np.uint8) | 32 == ord("x")).any())


def _finite(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        return pc.if_else(pc.is_finite(values), values, None)
    return values


def _fits_64_bits(texts: pa.Array, is_whole: pa.Array) -> pa.Array:
    """Return whether the whole numbers among texts are in the range of int64."""
    texts = pc.replace_substring_regex(texts, "^(-?)0+([0-9])", r"\1\2")
    is_short = pc.and_(is_whole, pc.less_equal(pc.binary_length(texts), MAX_DIGITS))
    numbers = pc.if_else(is_short, texts, None).cast(pa.decimal128(MAX_DIGITS))
    low, high = pa.scalar(-(2**63)).cast(numbers.type), pa.scalar(2**63 - 1).cast(numbers.type)
    return pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))


def is_missing(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Return which typed values are null or one of the column's `missing_values`: bool."""
    missing = pc.is_null(values)
    if column.sentinels:
        for sentinel in pa.array(column.sentinels).cast(values.type):
            missing = pc.or_kleene(missing, pc.equal(values, sentinel))
    return missing
