"""Numbers, parameters, scores and differences as text."""

import json
import re
from typing import Any

from keras_tabular.evaluation.records import UNDEFINED, Score, ScoreRow, format_number
from keras_tabular.runs.comparison import ChangedValue

MIN_WITH_EXPONENT = 1e15  # larger decimals have an exponent
MIN_WITH_COMMAS = 10_000  # smaller numbers may be years
MAX_LISTED_CHANGES = 12  # between two profiles of a table


def format_value(value: Any) -> str:
    """Format a number with five significant digits, or a value as in params.yaml.

    All digits of a number before the point are kept.

    Examples:
        >>> [format_value(value) for value in (None, True, "a word", 0.123456, -0.5)]
        ['–', 'true', 'a word', '0.12346', '−0.5']
        >>> [format_value(value) for value in (12345.67, 12.0, 2024, 12345678.25)]
        ['12,346', '12', '2024', '12,345,678']
        >>> format_value(1e300)
        '1e+300'
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return format_parameter(value)
    size = abs(value)
    is_whole = isinstance(value, int) or 99_999.5 <= size < MIN_WITH_EXPONENT
    text = f"{value:,.0f}" if is_whole else f"{value:,.5g}"
    if size < MIN_WITH_COMMAS:
        text = text.replace(",", "")
    return text.replace("-", "−")


def format_parameter(value: Any) -> str:
    """Format a parameter as in params.yaml.

    >>> [format_parameter(value) for value in (500000, True, [16, 8])]
    ['500000', 'true', '[16, 8]']
    """
    if value is None or isinstance(value, str):
        return value or UNDEFINED
    return json.dumps(value, ensure_ascii=False, default=str)


def format_score(
    score: Score | float | None,
    *compared_with: Score | float | None,
) -> str:
    """Format a score by `format_number`, with a minus sign instead of a hyphen.

    >>> format_score(-0.0123), format_score(None, 0.5)
    ('−0.0123', '–')
    """
    values = [
        each.value if isinstance(each, Score) else each
        for each in (score, *compared_with)
    ]
    return format_number(*values).replace("-", "−")


def format_ends(interval: tuple[float, float] | None) -> str:
    """Format the ends of an interval."""
    return " to ".join(format_score(end) for end in interval or ())


def format_difference(row: ScoreRow, other: Score | None) -> str:
    """Format the difference from another score: its size, outcome and interval."""
    outcome = row.outcome(other)
    if row.model is None or other is None:
        return UNDEFINED
    if outcome == "same":
        return "same"
    difference = other.difference
    value = difference.value if difference else row.model.value - other.value
    sign = "+" if value > 0 else ""
    text = f"{sign}{format_score(value)}, {outcome.replace('_', ' ')}"
    if difference:
        text += f" ({format_ends((difference.low, difference.high))})"
    return text


def slice_name(
    where: list[list[str]],
    name: str = "",
) -> str:
    """Format a slice: the name that a declared slice has, then columns and values.

    Args:
        where: Words of each condition on a column.
    """
    parts = [name] if name else []
    parts += [" ".join(words) for words in where]
    return with_minus_signs("; ".join(parts))


def with_minus_signs(text: str) -> str:
    """Replace the hyphen of negative numbers by a minus sign."""
    return re.sub(r"(?<![\w.)])-(?=[\d.])", "−", text)


def format_changes(changes: list[ChangedValue]) -> str:
    """List the first differences between two profiles of a table.

    >>> format_changes([ChangedValue("column.Year.max", 2024.0, 2023.0)])
    'Year, max 2023 → 2024'
    """
    texts = [
        f"{changed.name.removeprefix('column.').replace('.', ', ')} "
        f"{format_value(changed.base)} → {format_value(changed.value)}"
        for changed in changes[:MAX_LISTED_CHANGES]
    ]
    more = len(changes) - len(texts)
    return "; ".join(texts) + (f"; and {more} more" if more else "")
