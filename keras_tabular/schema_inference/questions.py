"""What a person should say of a column: questions that end its comment.

The schema is right without an answer.
"""

from collections import Counter
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from keras_tabular.core.errors import truncate
from keras_tabular.schema_inference.columns import (
    IDENTIFIER,
    MANY_DISTINCT,
    MAX_CLASSES,
    InferredColumn,
)
from keras_tabular.schema_inference.formats import typed

NEARLY_ALL = 0.99  # of the rows
SENTINELS = {-1, -9, -99, -999, -9999, 9, 99, 999, 9999, 99999}
MIN_ROWS = 3  # with a value that may mean missing
MAX_ZERO_SHARE = 0.5  # of the rows, where 0 may mean missing; in more of them it is the rule
MIN_OTHERS = 3  # different values, to tell what stands apart from them
GAPS = 2  # times the widest gap between the others at its end: as far a value stands apart
MOST = 0.99  # of the rows, beyond which a value may lie far
FAR = 10  # times as far from the median as the end of most rows
MAX_SPAN = 25  # of values from the smallest to the median, where 0 may mean missing
MAX_REPEATS = 50  # rows of a group on average; a value with more is a category
MAX_SHARE = 0.05  # of the rows in one group


def question(name: str, column: InferredColumn, *, target: bool) -> str:
    """Return what to ask of a column that is not ignored; empty if nothing.

    Args:
        target: Whether it is the target, of which less is asked.
    """
    counts, rows = column.counts, column.counts.total()
    text, count = counts.most_common(1)[0]
    if count >= NEARLY_ALL * rows and not target:
        commonest = truncate(text) or "empty"
        return f"; {count} of {rows} rows are {commonest}: of use? else move it to ignore"
    present = Counter({text: counts[text] for text in column.present})
    match column.kind:
        case "real" | "integer":
            numbers: list[Any] = typed([*present], column.kind, column.format)
            values = Counter[float]()
            for value, count in zip(numbers, present.values(), strict=True):
                values[float(value)] += count
            number_question = ask_numbers(values, rows)
            is_code = column.kind == "integer" and not number_question and IDENTIFIER.search(name)
            return (
                group_question(name, column, values) if is_code and not target else number_question
            )
        case "category" | "text":
            return "" if target else group_question(name, column, present)
    return ""


def ask_numbers(values: Counter[float], rows: int) -> str:
    """Ask whether values that stand apart mean missing, and whether the ends of others are right.

    Args:
        values: How often each value occurs.
        rows: Number of rows of the table, those without a value included.
    """
    other_values = sorted({*values} - SENTINELS - {0})
    suspects = [
        value for value in sorted(SENTINELS & {*values}) if stands_apart(value, other_values)
    ]
    smallest = min(map(abs, other_values), default=0)
    if (
        values[0] <= MAX_ZERO_SHARE * rows
        and stands_apart(0, other_values)
        and MAX_SPAN * smallest >= abs(median(other_values))
    ):
        suspects = [0, *suspects]
    missing = [value for value in suspects if values[value] >= MIN_ROWS]
    listed = " and ".join(f"{value} ({values[value]} rows)" for value in missing)
    question = f"; does {listed} mean missing? then missing_values" if missing else ""
    present = {value: count for value, count in values.items() if value not in missing}
    return question + ask_extremes(np.repeat([*present], [*present.values()]))


def stands_apart(value: int, other_values: list[float]) -> bool:
    """Return whether a value lies far beyond others, ascending, or is the only negative one.

    It lies far beyond them if its distance is more than twice the widest gap between the others at
    that end.
    """
    if len(other_values) < MIN_OTHERS or other_values[0] <= value <= other_values[-1]:
        return False
    part = max(len(other_values) // 4, MIN_OTHERS)
    near = other_values[:part] if value < other_values[0] else other_values[-part:]
    widest = max(high - low for low, high in pairwise(near))
    distance = max(other_values[0] - value, value - other_values[-1])
    return distance > GAPS * widest or value < 0 <= other_values[0]


def ask_extremes(values: np.ndarray) -> str:
    """Ask whether the lowest and the highest value are right, if they lie far beyond most others.

    Args:
        values: Value of each row that has one.
    """
    low, median, high = np.quantile(values, [1 - MOST, 0.5, MOST])
    question = ""
    for extreme, end, key in ((values.max(), high, "max"), (values.min(), low, "min")):
        if abs(extreme - median) > FAR * abs(end - median) > 0:
            question += (
                f"; {MOST:.0%} of the rows end at {end:.6g}: is {extreme:.6g} right? if not, set "
                f"{key}, and validate.range in params.yaml to drop or warn"
            )
    return question


def group_question(name: str, column: InferredColumn, counts: Counter[Any]) -> str:
    """Ask whether rows of one value belong together, such as those of one customer.

    That is asked of identifiers, and of many values most of which repeat, but none often. It sets
    `may_be_group` of the column.
    """
    distinct, rows = len(counts), counts.total()
    identifies = distinct > MAX_CLASSES and (not name or IDENTIFIER.search(name))
    repeats = (
        distinct > MANY_DISTINCT
        and rows <= MAX_REPEATS * distinct
        and median(counts.values()) > 1
        and max(counts.values()) <= MAX_SHARE * rows
    )
    column.may_be_group = rows >= 2 * distinct and bool(identifies or repeats)
    if not column.may_be_group:
        return ""
    return (
        f"; do rows of one {name} belong together? then group: {name} in a line of its own above, "
        "and split.by: group in params.yaml"
    )
