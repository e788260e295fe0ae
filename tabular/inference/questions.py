"""What a person should say of a column: questions that end its comment.

The schema is right without an answer.
"""

import math
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean, median
from typing import Any

from tabular.core.errors import quoted, truncate
from tabular.inference.columns import IDENTIFIER, MANY_DISTINCT, MAX_CLASSES, InferredColumn
from tabular.inference.formats import typed

NEARLY_ALL = 0.99  # of the rows
SENTINELS = {-1, -9, -99, -999, -9999, 9, 99, 999, 9999, 99999}
MIN_ROWS = 3  # with a value that may mean missing
MAX_ZERO_SHARE = 0.5  # of the rows, where 0 may mean missing; in more of them it is the rule
MIN_OTHERS = 3  # different values, to tell what stands apart from them
GAPS = 2  # times the widest gap between the others at its end: as far a value stands apart
FEW = 0.01  # of the rows, far beyond the others
FAR = 5  # times as far from the median as the others
MAX_REPEATS = 50  # rows of a group on average; a value with more is a category
MAX_SHARE = 0.05  # of the rows in one group
MANY_NUMBERS = 366  # different integers: more are no ages, percentages or days of a year


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
            asked = ask_numbers(values, rows)
            codes = column.kind == "integer" and not asked and looks_like_codes(values)
            return group_question(name, values) if codes and not target else asked
        case "category" | "text":
            spelling = "" if column.replace else ask_spelling(present)
            return spelling + ("" if target else group_question(name, present))
    return ""


def ask_numbers(values: Counter[float], rows: int) -> str:
    """Whether values that stand apart mean missing, and whether the ends of the others are right.

    Args:
        values: how often each one occurs.
        rows: of the table, those without a value too.
    """
    others = sorted(value for value in values if value not in SENTINELS)
    suspects = [value for value in sorted(SENTINELS & {*values}) if is_sentinel(value, others)]
    if values[0] <= MAX_ZERO_SHARE * rows and is_far_from_zero([v for v in others if v], values):
        suspects = [0, *suspects]
    missing = [value for value in suspects if values[value] >= MIN_ROWS]
    said = " and ".join(f"{value} ({values[value]} rows)" for value in missing)
    asked = f"; does {said} mean missing? then missing_values" if missing else ""
    return asked + ask_ends(Counter({v: n for v, n in values.items() if v not in missing}))


def is_sentinel(value: int, others: list[float]) -> bool:
    """Whether a value stands apart from others, ascending, or alone is negative."""
    return stands_apart(value, others) or (len(others) >= MIN_OTHERS and value < 0 <= others[0])


def is_far_from_zero(others: list[float], rows: Counter[float]) -> bool:
    """Whether 0 stands apart from others, ascending, few of which are small beside their median."""
    if not stands_apart(0, others):
        return False
    sizes = sorted(map(abs, repeated(others, rows)))
    return sizes[len(sizes) // 20] > sizes[len(sizes) // 2] / 4


def repeated(values: Iterable[float], rows: Counter[float]) -> list[float]:
    """Each of the values as often as it occurs, ascending."""
    return sorted(Counter({value: rows[value] for value in values}).elements())


def stands_apart(value: float, others: list[float]) -> bool:
    """Whether a value is far from others, ascending, beside the gaps between those at that end."""
    if len(others) < MIN_OTHERS or others[0] <= value <= others[-1]:
        return False
    part = max(len(others) // 4, MIN_OTHERS)
    near = others[:part] if value < others[0] else others[-part:]
    widest = max(high - low for low, high in pairwise(near))
    return max(others[0] - value, value - others[-1]) > GAPS * widest


def ask_ends(values: Counter[float]) -> str:
    """Whether the largest and the smallest value are right, if far beyond all but a few others."""
    ascending, asked = repeated(values, values), ""
    for sign, direction, key in ((1, "up", "max"), (-1, "down", "min")):
        ordered = [sign * value for value in ascending[::sign]]
        if few := outliers(ordered):
            end, last = sign * ordered[-1], sign * ordered[-few - 1]
            asked += f"; is {end:.6g} right, with {len(ordered) - few} of {len(ordered)} rows "
            asked += f"{direction} to {last:.6g}? if not, set {key}, and validate.range in "
            asked += "params.yaml to drop or warn"
    return asked


def outliers(ordered: list[float]) -> int:
    """How many of the rows, ascending, lie far beyond all others; 0 if more than a few do.

    That is as seen from the median, and farther than the last rows of a long tail.
    """
    if len(ordered) <= MIN_OTHERS:
        return 0
    middle, quartile = ordered[len(ordered) // 2], ordered[3 * len(ordered) // 4]
    for few in range(int(max(FEW * len(ordered), 1)), 0, -1):
        near, far = ordered[-few - 1] - middle, ordered[-few] - middle
        tail = near / (quartile - middle) if quartile > middle else math.inf
        if near > 0 and far > near * max(FAR, tail / 2):
            return few
    return 0


def ask_spelling(counts: Counter[str]) -> str:
    """Whether two texts that differ in case or spaces alone are one value."""
    seen = dict[str, str]()
    for text in counts:
        first = seen.setdefault("".join(text.casefold().split()), text)
        if first != text:
            both = f"{quoted(first)} and {quoted(text)}"
            return f"; {both} differ in case or blanks alone: one value? then list them in replace"
    return ""


def group_question(name: str, counts: Counter[Any]) -> str:
    """Whether rows of one value belong together, such as those of one customer.

    That is asked of identifiers, and of many values most of which repeat, but none often.
    """
    distinct, rows = len(counts), counts.total()
    identifies = distinct > MAX_CLASSES and (not name or IDENTIFIER.search(name))
    repeats = (
        distinct > MANY_DISTINCT
        and rows <= MAX_REPEATS * distinct
        and median(counts.values()) > 1
        and max(counts.values()) <= MAX_SHARE * rows
    )
    if rows < 2 * distinct or not (identifies or repeats):
        return ""
    return (
        f"; do rows of one {name} belong together? then group: {name} in a line of its own above, "
        "and split.by: group in params.yaml"
    )


def looks_like_codes(values: Counter[float]) -> bool:
    """Whether many numbers come as often whatever their size, as those of customers do."""
    if len(values) <= MANY_NUMBERS:
        return False
    ordered, tenth = sorted(values), len(values) // 10
    means = [
        fmean(values[value] for value in ordered[start : start + tenth])
        for start in range(0, 10 * tenth, tenth)
    ]
    return max(means) < 2 * min(means)
