"""Questions about the columns of a table, for the comments of its first schema.

The schema can be used without an answer to them.
"""

from collections import Counter
from itertools import pairwise, product
from statistics import median
from typing import Any

import numpy as np

from keras_tabular.config.typed_yaml import format_yaml
from keras_tabular.core.errors import truncate
from keras_tabular.infer.columns import IDENTIFIER, MAX_CLASSES, InferredColumn
from keras_tabular.infer.formats import may_mean_missing_category, parse_texts
from keras_tabular.infer.sample import MISSING

# Letters that look like digits, and the decimal marks of other countries.
CORRECTIONS = str.maketrans("oOlI", "0011"), str.maketrans(".,", ",.")
NEARLY_ALL = 0.99  # of the rows
SENTINELS = {-1, -9, -99, -999, -9999, 9, 99, 999, 9999, 99999}
MIN_SENTINEL_ROWS = 3
MIN_OTHER_VALUES = 3  # that a sentinel is compared with
MIN_GAPS = (
    2  # between a sentinel and the other values, as a multiple of the gaps between them
)
MAX_ZERO_SHARE = 0.5  # of the rows; a 0 in more rows is an ordinary value
MAX_MEDIAN_RATIO = (
    25  # of the median to the smallest other value, if 0 may mean missing
)
TAIL_QUANTILE = 0.99
MIN_EXTREME_RATIO = (
    10  # of the distances of an extreme value and of the tail from the median
)
MIN_GROUPS = 51  # in a column without the name of an identifier
MAX_MEAN_GROUP_ROWS = 50  # values with more rows are categories
MAX_GROUP_SHARE = 0.05  # of the rows in one group
MAX_CATEGORIES_FOR_MISSING = (
    1_000  # of a column, in which words that mean missing are sought
)


def ask_about(name: str, column: InferredColumn) -> list[str]:
    """Return the questions about the values of a column. There are fewer about the target."""
    counts, rows = column.counts, column.counts.total()
    text, count = counts.most_common(1)[0]
    if count >= NEARLY_ALL * rows and not column.is_target:
        value = truncate(text) or "empty"
        return [
            (
                f"{count} of {rows} rows are {value}. Is it useful? If not, move it to"
                " ignore."
            ),
        ]
    present = column.present
    questions = ask_missing(column)
    if column.kind in ("category", "text") and not column.is_target:
        return questions + ask_group(name, column, present)
    if column.kind not in ("real", "integer"):
        return questions
    numbers = parse_texts([*present], column.kind, column.format)
    values = Counter[float]()
    for number, count in zip(numbers, present.values(), strict=True):
        values[float(number)] += count
    questions += ask_numbers(column, values)
    if (
        column.kind == "integer"
        and not (questions or column.is_target)
        and IDENTIFIER.search(name)
    ):
        return ask_group(name, column, values)
    return questions


def ask_missing(column: InferredColumn) -> list[str]:
    """Ask about words that probably mean missing."""
    certain = MISSING - {"?", "-", ".", *(["none", "None"] if column.is_target else [])}
    words = [
        text
        for text in column.missing_values
        if text not in certain and not text.isspace()
    ]
    texts = (
        [*column.present][:MAX_CATEGORIES_FOR_MISSING]
        if column.kind == "category"
        else []
    )
    if categories := [text for text in texts if may_mean_missing_category(text)]:
        key = column.with_missing(categories)
        return [f"Does {categories[0]!r} mean missing? Then add {key}."]
    if not words:
        return []
    listed = ", ".join(f"{text!r} {column.counts[text]} times" for text in words)
    key = (
        "values"
        if column.kind == "category"
        else f"replace: {format_yaml({words[0]: 'NEW'})}"
    )
    advice = f"If not, move it from missing_values to {key}"
    return [f"{listed}: missing? {advice}."]


def ask_mistakes(column: InferredColumn, cell: str) -> str:
    """Ask what texts mean that are no values of the kind of their column.

    Args:
        cell: The first of them, and its line.
    """
    replace = column.replace | dict.fromkeys(column.mistakes, "NEW")
    for text, corrections in product(column.mistakes, CORRECTIONS):
        corrected = text.translate(corrections)
        if parse_texts([corrected], column.kind, column.format)[0] is not None:
            replace[text] = corrected
    missing = column.with_missing(column.mistakes)
    advice = f"Add replace: {format_yaml(replace)} or {missing}"
    return f"Is {cell} a mistake? {advice}. Otherwise, dvc repro stops there."


def ask_numbers(column: InferredColumn, values: Counter[float]) -> list[str]:
    """Ask about values that may mean missing, and about extreme values.

    Args:
        values: How often each value occurs.
    """
    rows = column.counts.total()
    other_values = sorted({*values} - SENTINELS - {0})
    sentinels = sorted(SENTINELS & {*values})
    suspects = [value for value in sentinels if stands_apart(value, other_values)]
    smallest = min(map(abs, other_values), default=0)
    if (
        values[0] <= MAX_ZERO_SHARE * rows
        and stands_apart(0, other_values)
        and abs(median(other_values)) <= MAX_MEDIAN_RATIO * smallest
    ):
        suspects = [0, *suspects]
    missing = [value for value in suspects if values[value] >= MIN_SENTINEL_ROWS]
    questions = []
    if missing:
        candidates = " or ".join(f"{value} ({values[value]} rows)" for value in missing)
        question = f"Does {candidates} mean missing?"
        questions.append(f"{question} Then add {column.with_missing(missing)}.")
    present = {value: count for value, count in values.items() if value not in missing}
    return questions + ask_extremes(column, np.repeat([*present], [*present.values()]))


def stands_apart(value: int, other_values: list[float]) -> bool:
    """Return whether a value lies far outside of the others, or is the only negative one.

    Its distance is compared with the gaps between the others at that end.

    Args:
        other_values: The other values in ascending order.
    """
    if (
        len(other_values) < MIN_OTHER_VALUES
        or other_values[0] <= value <= other_values[-1]
    ):
        return False
    n_near = max(len(other_values) // 4, MIN_OTHER_VALUES)
    near = other_values[:n_near] if value < other_values[0] else other_values[-n_near:]
    widest_gap = max(high - low for low, high in pairwise(near))
    distance = max(other_values[0] - value, value - other_values[-1])
    return distance > MIN_GAPS * widest_gap or value < 0 <= other_values[0]


def ask_extremes(column: InferredColumn, values: np.ndarray) -> list[str]:
    """Ask whether the largest and the smallest value are correct, if most values are far away.

    Args:
        values: The value of each row that has one.
    """
    low, middle, high = np.quantile(values, [1 - TAIL_QUANTILE, 0.5, TAIL_QUANTILE])
    questions = []
    for extreme, tail, key in ((values.max(), high, "max"), (values.min(), low, "min")):
        if abs(extreme - middle) > MIN_EXTREME_RATIO * abs(tail - middle) > 0:
            bound = "at most" if key == "max" else "at least"
            number = int(extreme) if extreme == int(extreme) else float(extreme)
            questions.append(
                f"{TAIL_QUANTILE:.0%} of the values are {bound} {tail:.6g}. Is"
                f" {extreme:.6g} right? If not, add {column.with_missing([number])}, or"
                f" set {key}, and validate.range in params.yaml to drop or warn.",
            )
    return questions


def ask_group(name: str, column: InferredColumn, counts: Counter[Any]) -> list[str]:
    """Ask whether the rows with the same value belong together, such as those of a customer.

    The question is about identifiers, and about columns with many values most of which
    occur more than once, but none often.
    """
    distinct = len(counts)
    rows = counts.total()
    is_identifier = distinct > MAX_CLASSES and (not name or IDENTIFIER.search(name))
    has_small_groups = (
        distinct >= MIN_GROUPS
        and rows <= MAX_MEAN_GROUP_ROWS * distinct
        and median(counts.values()) > 1
        and max(counts.values()) <= MAX_GROUP_SHARE * rows
    )
    if rows < 2 * distinct or not (is_identifier or has_small_groups):
        return []
    column.split = (
        f"group, since rows share {name}; see its comment" if is_identifier else ""
    )
    question = (
        f"Do rows with the same {name} belong together? Then add group: {name}"
        " above, and"
    )
    return [f"{question} set split.by: group in params.yaml."]
