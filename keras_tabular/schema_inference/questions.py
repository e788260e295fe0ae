"""Questions about the columns of a table, for the comments of its first schema.

The schema can be used without an answer to them.
"""

from collections import Counter
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from keras_tabular.core.errors import truncate
from keras_tabular.core.typed_yaml import format_yaml
from keras_tabular.schema_inference.columns import InferredColumn
from keras_tabular.schema_inference.formats import (
    all_parse_as,
    may_mean_missing_category,
)
from keras_tabular.schema_inference.sample import MISSING
from keras_tabular.table.groups import is_identifier, may_be_groups

DIGITS_FOR_LETTERS = str.maketrans("oOlI", "0011")
SWAPPED_MARKS = str.maketrans(".,", ",.")  # the decimal marks of other countries
NEARLY_ALL = 0.99  # of the rows
SENTINELS = {-1, -9, -99, -999, -9999, 9, 99, 999, 9999, 99999}
MIN_SENTINEL_ROWS = 3
MIN_OTHER_VALUES = 3  # that a sentinel is compared with
# A sentinel is further from the other values than this number of gaps between them.
MIN_GAPS = 2
MAX_ZERO_SHARE = 0.5  # of the rows; a 0 in more rows is an ordinary value
# Of the median to the smallest other value, if 0 may mean missing.
MAX_MEDIAN_RATIO = 25
TAIL_QUANTILE = 0.99
# Of the distances of an extreme value and of the tail from the median.
MIN_EXTREME_RATIO = 10
# Among the first categories of a column, words that mean missing are sought.
MAX_CATEGORIES_FOR_MISSING = 1_000


def ask_about(column: InferredColumn) -> list[str]:
    """Return the questions about the values of a column, fewer about the target."""
    rows = column.counts.total()
    text, count = column.counts.most_common(1)[0]
    if count >= NEARLY_ALL * rows and not column.is_target:
        return [
            f"{count} of {rows} rows are {truncate(text) or 'empty'}. Is it useful? If"
            " not, move it to ignore.",
        ]
    questions = ask_missing(column)
    if column.kind in ("category", "text") and not column.is_target:
        questions += ask_group(column, column.present)
    if column.kind not in ("real", "integer"):
        return questions
    values = column.count_values()
    questions += ask_numbers(column, values)
    are_codes = column.kind == "integer" and is_identifier(column.name)
    if are_codes and not column.is_target and not questions:
        return ask_group(column, values)
    return questions


def ask_missing(column: InferredColumn) -> list[str]:
    """Ask about words that probably mean missing."""
    if column.kind == "category":
        texts = [*column.present][:MAX_CATEGORIES_FOR_MISSING]
        categories = [text for text in texts if may_mean_missing_category(text)]
        if categories:
            key = column.with_missing(categories)
            return [f"Does {categories[0]!r} mean missing? Then add {key}."]
    certain = MISSING - {"?", "-", "."}
    if column.is_target:
        certain -= {"none", "None"}
    words = [
        text
        for text in column.missing_values
        if text not in certain and not text.isspace()
    ]
    if not words:
        return []
    counted_words = ", ".join(f"{word!r} {column.counts[word]} times" for word in words)
    key = "values"
    if column.kind != "category":
        key = f"replace: {format_yaml({words[0]: 'NEW'})}"
    return [
        f"{counted_words}: missing? If not, move it from missing_values to {key}.",
    ]


def ask_mistakes(column: InferredColumn, cell: str) -> str:
    """Ask what texts mean that are no values of the kind of their column.

    Args:
        column: The column.
        cell: The first of the texts, and its line.
    """
    replace = column.replace.copy()
    for text in column.mistakes:
        replace[text] = "NEW"
        for characters in (DIGITS_FOR_LETTERS, SWAPPED_MARKS):
            corrected = text.translate(characters)
            if all_parse_as([corrected], column.kind, column.format):
                replace[text] = corrected
    return (
        f"Is {cell} a mistake? Add replace: {format_yaml(replace)} or"
        f" {column.with_missing(column.mistakes)}. Otherwise, dvc repro stops there."
    )


def ask_numbers(column: InferredColumn, values: Counter[float]) -> list[str]:
    """Ask about values that may mean missing, and about extreme values.

    Args:
        column: The column.
        values: How often each value occurs.
    """
    other_values = sorted({*values} - SENTINELS - {0})
    sentinels = sorted(value for value in SENTINELS if value in values)
    if other_values and values[0] <= MAX_ZERO_SHARE * column.counts.total():
        smallest = min(map(abs, other_values))
        if abs(median(other_values)) <= MAX_MEDIAN_RATIO * smallest:
            sentinels.insert(0, 0)
    missing = [
        value
        for value in sentinels
        if values[value] >= MIN_SENTINEL_ROWS and stands_apart(value, other_values)
    ]
    questions = []
    if missing:
        candidates = " or ".join(f"{value} ({values[value]} rows)" for value in missing)
        questions.append(
            f"Does {candidates} mean missing? Then add {column.with_missing(missing)}.",
        )
    present = values.copy()
    for value in missing:
        del present[value]
    value_of_each_row = np.repeat([*present], [*present.values()])
    return questions + ask_extremes(column, value_of_each_row)


def stands_apart(value: int, other_values: list[float]) -> bool:
    """Return whether a value lies far outside of the others, or only it is negative.

    Its distance is compared with the gaps between the others at that end.

    Args:
        value: The value.
        other_values: The other values in ascending order.
    """
    if len(other_values) < MIN_OTHER_VALUES:
        return False
    smallest = other_values[0]
    largest = other_values[-1]
    n_near = max(len(other_values) // 4, MIN_OTHER_VALUES)
    if value < smallest:
        near = other_values[:n_near]
        distance = smallest - value
    elif value > largest:
        near = other_values[-n_near:]
        distance = value - largest
    else:
        return False
    widest_gap = max(high - low for low, high in pairwise(near))
    return distance > MIN_GAPS * widest_gap or value < 0 <= smallest


def ask_extremes(column: InferredColumn, values: np.ndarray) -> list[str]:
    """Ask whether the largest and the smallest value are correct, if others are far.

    Args:
        column: The column.
        values: The value of each row that has one.
    """
    quantiles = [1 - TAIL_QUANTILE, 0.5, TAIL_QUANTILE]
    low, middle, high = np.quantile(values, quantiles)
    questions = []
    for extreme, tail, key, bound in (
        (values.max(), high, "max", "at most"),
        (values.min(), low, "min", "at least"),
    ):
        if abs(extreme - middle) > MIN_EXTREME_RATIO * abs(tail - middle) > 0:
            number = int(extreme) if extreme == int(extreme) else float(extreme)
            questions.append(
                f"{TAIL_QUANTILE:.0%} of the values are {bound} {tail:.6g}. Is"
                f" {extreme:.6g} right? If not, add {column.with_missing([number])}, or"
                f" set {key}, and validate.range in params.yaml to drop or warn.",
            )
    return questions


def ask_group(column: InferredColumn, counts: Counter[Any]) -> list[str]:
    """Ask whether the rows with the same value belong together, if they may.

    Args:
        column: The column.
        counts: How often each value occurs.
    """
    name = column.name
    if not may_be_groups(name, np.array([*counts.values()])):
        return []
    if is_identifier(name):
        column.split = f"group, since rows share {name}; see its comment"
    else:
        column.split = f"group if rows with the same {name} belong together"
    return [
        f"Do rows with the same {name} belong together? Then add group:"
        f" {format_yaml(name)} above.",
    ]
