"""Target leakage: columns that alone nearly determine the target."""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tabular.inference.columns import MANY_DISTINCT, InferredColumn
from tabular.inference.formats import typed
from tabular.inference.sample import MISSING, Sample
from tabular.table.cells import LARGEST

MIN_SHARE_EXPLAINED = 0.95  # by a column that may be a leak, see `share_explained`


def share_explained(values: Sequence[Any], target: Sequence[Any], *, classes: bool) -> float:
    """How much of the target a column explains by itself, at most 1.

    That is the share of the variance, or of the wrong guesses of the commonest class, which is gone
    when a row is guessed from other rows with the same value, or of numbers one close to it: rows
    with odd numbers learn, the others are guessed.

    Args:
        values: floats, or what else can be hashed.
    """
    keys = values
    if all(isinstance(value, float) for value in values) and len(set(values)) > MANY_DISTINCT:
        edges = sorted(values)[:: max(len(values) // MANY_DISTINCT, 1)]
        keys = [bisect_right(edges, value) for value in values]
    groups = defaultdict[Any, list[Any]](list)
    for key, value in zip(keys[1::2], target[1::2], strict=True):
        groups[key].append(value)

    def guess(of: list[Any]) -> Any:
        return Counter(of).most_common(1)[0][0] if classes else fmean(of)

    constant = guess(list(target[1::2]))
    guesses = {key: guess(of) for key, of in groups.items()}
    errors = [0.0, 0.0]
    for key, value in zip(keys[::2], target[::2], strict=True):
        for place, guessed in enumerate((constant, guesses.get(key, constant))):
            errors[place] += (value != guessed) if classes else (value - guessed) ** 2
    return 1 - errors[1] / errors[0] if errors[0] else 0.0


def suspected_leaks(
    sample: Sample, columns: dict[str, InferredColumn], target: str, *, classes: bool
) -> dict[str, float]:
    """The columns that alone nearly determine the target, and how much of it each explains."""
    names = list(sample.columns)
    place = names.index(target)
    rows = [row for row in sample.head if row[place] and row[place] not in MISSING]
    kind = "category" if classes else columns[target].kind
    y = typed([row[place] for row in rows], kind, columns[target].format)
    if not classes and any(abs(float(value)) > LARGEST for value in y):  # whose squares overflow
        return {}
    found = {}
    for number, (name, column) in enumerate(columns.items()):
        if number == place or column.ignore or column.kind == "text" or len(rows) < MANY_DISTINCT:
            continue
        values: list[Any] = ["" if row[number] in MISSING else row[number] for row in rows]
        if column.kind in ("real", "integer"):
            numbers = typed(values, column.kind, column.format)
            values = [-math.inf if value is None else float(value) for value in numbers]
        if (share := share_explained(values, y, classes=classes)) >= MIN_SHARE_EXPLAINED:
            found[name] = share
    return found
