"""What a cell means: the one grammar from its text to a value, and what counts as missing.

Spaces and tabs around a number or a boolean do not count. A text between quotes means the same as
without them.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.schema import NUMBER_FORMAT, Column

ARROW_TYPES = {
    "real": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "category": pa.string(),
}
EXPECTED = {
    "real": "a finite number",
    "integer": "a whole number of at most 64 bits",
    "boolean": "true, false, 1 or 0",
    "category": "text without NUL bytes",
}


def expected(column: Column) -> str:
    """What a cell of a column has to be, in words."""
    return EXPECTED[column.kind] + (f" written as {column.format}" if column.format else "")


MAX_CELL = 2**18  # characters; a longer cell is a quote that never closes, or no table

# RE2, of a text without the spaces around it: linear in its length.
GRAMMAR = {
    "real": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$",
    "integer": r"^-?[0-9]+(\.0+)?$",  # pandas writes 41.0 where a column has gaps
    "boolean": r"^(?i:true|false|1|0)$",
}
SAFE_DIGITS = 18  # a whole number of so many characters fits 64 bits


def parse(cells: pa.Array, column: Column) -> tuple[pa.Array, pa.Array]:
    """The values of the texts of a column, as `ARROW_TYPES` has them.

    Returns:
        The values, null where a cell is missing or wrong; and where it is wrong, bool.
    """
    missing = pc.equal(cells, "")
    if column.kind == "category":
        wrong = pc.or_(
            pc.match_substring(cells, "\0"), pc.greater(pc.binary_length(cells), MAX_CELL)
        )
        return pc.if_else(pc.or_(missing, wrong), None, cells), wrong
    words = [value for value in column.missing_values if isinstance(value, str)]
    if words:
        missing = pc.or_(missing, pc.is_in(cells, pa.array(words)))
    if pc.any(missing).as_py():
        cells = pc.if_else(missing, None, cells)
    texts = cells if column.format is None else _plain_numbers(cells, column.format)
    values = _cast(texts, column.kind)
    return values, pc.and_not(pc.is_null(values), missing)


def _cast(texts: pa.Array, kind: str) -> pa.Array:
    """`texts` as values; null for those that the grammar has not."""
    # Arrow takes 0x10 for a whole number, nan and 1e999 for numbers, and no spaces; else it has
    # this grammar.
    if kind != "integer" or not _holds_an_x(texts):
        try:
            return _finite(texts.cast(ARROW_TYPES[kind]))
        except pa.ArrowInvalid:
            pass
    texts = pc.ascii_trim(texts, " \t")
    right = pc.match_substring_regex(texts, GRAMMAR[kind])
    if kind == "integer":
        texts = pc.replace_substring_regex(texts, r"\.0+$", "")
        right = pc.and_(right, _fits_64_bits(texts, right))
    return _finite(pc.if_else(right, texts, None).cast(ARROW_TYPES[kind]))


def _plain_numbers(texts: pa.Array, form: str) -> pa.Array:
    """Numbers in the form of a column as the grammar has them; others as no number.

    What stands before and after may be absent; thousands are parted everywhere or nowhere.
    """
    before, group, point, after = re.fullmatch(NUMBER_FORMAT, form).groups()  # type: ignore[union-attr]
    before, parted, mark, after = map(re.escape, (before, group, point, after))
    whole = f"[0-9]{{1,3}}(?:{parted}[0-9]{{3}})+|[0-9]+" if group else "[0-9]+"
    pattern = f"^([+-]?)(?:{before})?([+-]?)({whole})(?:({mark})([0-9]+))?(?:{after})?$"
    texts = pc.ascii_trim(texts, " \t")
    right = pc.match_substring_regex(texts, pattern)
    plain = pc.replace_substring_regex(texts, pattern, r"\1\2\3" + "\x1f" + r"\5")
    plain = pc.replace_substring(plain, group, "") if group else plain
    plain = pc.replace_substring_regex(plain, "\x1f$", "")
    return pc.if_else(right, pc.replace_substring(plain, "\x1f", "."), "no number")


def _holds_an_x(texts: pa.Array) -> bool:
    """Whether x or X is among the letters of the texts, or of those that they are a slice of."""
    letters = texts.buffers()[2]
    return letters is not None and bool((np.frombuffer(letters, np.uint8) | 32 == ord("x")).any())


def _finite(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        return pc.if_else(pc.is_finite(values), values, None)
    return values


def _fits_64_bits(texts: pa.Array, whole: pa.Array) -> pa.Array:
    """Whether the `whole` numbers among texts are in the range of int64."""
    long = pc.and_(whole, pc.greater(pc.binary_length(texts), SAFE_DIGITS))
    if not pc.any(long).as_py():
        return whole
    fits = whole.to_numpy(zero_copy_only=False).astype(object)
    for row in pc.indices_nonzero(long).to_pylist():
        text = texts[row].as_py()
        digits = text.lstrip("-").lstrip("0") or "0"
        # int() of many digits takes long.
        fits[row] = len(digits) <= 19 and int(digits) < 2**63 + text.startswith("-")
    return pa.array(fits, pa.bool_())


def is_missing(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Where typed `values` are empty or one of the column's `missing_values`; bool, same length."""
    missing = pc.is_null(values)
    if column.sentinels:
        for sentinel in pa.array(column.sentinels).cast(values.type):
            missing = pc.or_kleene(missing, pc.equal(values, sentinel))
    return missing
