"""How the model's answer moves with a column, and where that hangs on another column.

For a number or a moment the accumulated local effect: Apley and Zhu, "Visualizing the effects of
predictor variables in black box supervised learning models" (2020), which asks only for answers
near real rows. For a category, which has no order, the mean answer of the rows given each category
(Friedman's partial dependence, 2001). Both are shifted to a mean of 0 over the rows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema, input_name
from tabular.core.errors import truncate
from tabular.inspection.bins import Bins, missing_mask, numeric_values
from tabular.table.arrays import Predict, feature_arrays, row_weights

COLUMNS, STEPS, CATEGORIES = 6, 20, 8
MAX_ROWS, MIN_ROWS = 2000, 100
MAX_MULTIPLY_ADDS = 40_000_000_000  # multiply-adds of the model in all: some seconds
MIN_SHARE_OF_HALF = 0.1  # of the rows that each half has, at least
SHUFFLES = 50  # random halves that an interaction is compared with
MIN_RATIO_TO_SHUFFLES = 1.5
MIN_SHARE_OF_EFFECT = 0.5  # of the column's own effect; a weaker interaction is not told
MIN_SHARE_OF_LARGEST_EFFECT = 0.2  # of any column
MAX_INTERACTIONS = 3  # that are reported
MEMBER_QUANTILES = (0.1, 0.9)  # of the members


class LocalEffects(NamedTuple):
    """What a column does to the answers of some rows: the model's, then each member's."""

    grid: np.ndarray  # (n,), the ends of the bins, or the number of each category
    values: np.ndarray  # (rows,), or the number of its category; NaN where it is missing
    bins: np.ndarray  # (rows,), the bin of each row; -1 where it is missing
    weight: np.ndarray  # (rows,)
    changes: np.ndarray  # of the prediction over that bin: (rows, outputs, 1 + members)
    means: np.ndarray | None = None  # given each category: (n, outputs, 1 + members)


def column_effects(
    members: Predict, rows: pa.Table, schema: Schema, important: Sequence[str], work: float
) -> dict[str, Any]:
    """The effects of the first few columns that are no texts, and strong interactions of these.

    Of several classes it is the effect on the one that a column moves most.

    Args:
        members: raw columns to (rows, outputs * (1 + members)), the model's own outputs first.
        rows: some rows, which lie shuffled; the first ones are used.
        important: the columns, the most important one first.
        work: multiply-adds of the model for a row.
    """
    types = {name: column.feature_type for name, column in schema.features.items()}
    names = [n for n in important if types[n] != "text"][:COLUMNS]
    answers = sum(CATEGORIES if types[n] == "category" else 2 for n in names)
    rows = rows.filter(pa.array(row_weights(rows, schema) > 0))
    rows = rows[: min(MAX_ROWS, max(int(MAX_MULTIPLY_ADDS / max(answers * work, 1)), MIN_ROWS))]
    if not len(rows):
        return {"rows": 0, "columns": [], "interactions": []}
    found, interactions = list[dict[str, Any]](), list[dict[str, Any]]()
    locals_of = {name: local_effect(members, rows, name, schema) for name in names}
    halves = {name: split_in_half(rows, name, schema) for name in names}
    for name, local in locals_of.items():
        if len(local.grid) < 2:
            continue
        curves = ale_curves(local)  # (steps, outputs, 1 + members)
        output = int(np.argmax(np.ptp(curves[:, :, 0], axis=0)))
        curve, *each = curves[:, output].T
        low, high = np.quantile(each, MEMBER_QUANTILES, axis=0) if each else (curve, curve)
        column = schema.columns[name]
        effect: dict[str, Any] = {"column": name, "kind": column.kind}
        if schema.task != "regression":
            effect["class"] = str(schema.classes[output if schema.outputs > 1 else 1])
        known = Bins.of(rows[name], column, CATEGORIES)
        effect["values"] = known.names[: len(known.categories)] or local.grid.tolist()
        if len(known.values) == 2 and types[name] != "datetime":  # there is nothing between
            effect |= {"kind": "category", "values": known.names[:2]}
        found.append(
            effect | {"effect": curve.tolist(), "low": low.tolist(), "high": high.tolist()}
        )
        interactions += [
            {"column": name, "by": other} | of
            for other, half in halves.items()
            if other != name and half and (of := interaction(local, output, np.ptp(curve), *half))
        ]
    most = max((np.ptp(of["effect"]) for of in found), default=0.0)
    strong = [of for of in interactions if of["strength"] >= MIN_SHARE_OF_LARGEST_EFFECT * most]
    strong.sort(key=lambda of: -round(of["strength"], 9))
    return {"rows": len(rows), "columns": found, "interactions": strong[:MAX_INTERACTIONS]}


def local_effect(members: Predict, rows: pa.Table, name: str, schema: Schema) -> LocalEffects:
    """What one column does to the answers."""
    column, key, width = schema.columns[name], input_name(name), schema.outputs
    arrays, weight = feature_arrays(rows, schema), row_weights(rows, schema)

    def answers(values: np.ndarray, used: np.ndarray) -> np.ndarray:
        given = {k: array[used] for k, array in arrays.items()} | {key: values}
        found = members(given).astype(np.float64)
        return found.reshape(len(values), -1, width).transpose(0, 2, 1)

    if column.feature_type == "category":
        bins = Bins.of(rows[name], column, CATEGORIES)
        codes = bins.codes(rows[name])
        count, every = len(bins.categories), np.ones(len(rows), bool)
        given = [
            np.average(answers(np.full(len(rows), category, object), every), 0, weight)
            for category in bins.categories
        ]
        codes[codes >= count] = -1
        numbers = np.where(codes < 0, np.nan, codes)
        return LocalEffects(np.arange(count), numbers, codes, weight, np.empty(0), np.array(given))
    there, sizes = ~missing_mask(rows[name], column), numeric_values(rows[name], column)
    values, steps_of = np.full(len(rows), np.nan), np.full(len(rows), -1)
    values[there] = sizes
    places = np.linspace(0, 1, STEPS + 1)
    steps = np.unique(np.quantile(sizes, places, method="nearest")) if len(sizes) else sizes
    if len(steps) < 2:
        return LocalEffects(steps, values, steps_of, weight, np.empty(0))
    steps_of[there] = np.clip(np.searchsorted(steps, sizes, side="left") - 1, 0, len(steps) - 2)
    high, low = (answers(steps[steps_of[there] + ahead], there) for ahead in (1, 0))
    changes = np.zeros((len(rows), *high.shape[1:]))
    changes[there] = high - low
    return LocalEffects(steps, values, steps_of, weight, changes)


def ale_curves(local: LocalEffects) -> np.ndarray:
    """The effect at each step, shifted to a mean of 0 over the rows: (steps, outputs, n)."""
    used = local.bins >= 0
    bins, weight = local.bins[used], local.weight[used]
    counts = np.bincount(bins, weight)
    if local.means is not None:
        return local.means - np.average(local.means, axis=0, weights=counts)
    steps = len(local.grid) - 1
    sums = np.zeros((steps, *local.changes.shape[1:]))
    np.add.at(sums, bins, local.changes[used] * weight[:, None, None])
    means = sums / counts[:, None, None]
    curve = np.concatenate([np.zeros((1, *means.shape[1:])), np.cumsum(means, axis=0)])
    # At each row's own value, between the ends of its step.
    within = (local.values[used] - local.grid[bins]) / np.diff(local.grid)[bins]
    at_rows = curve[bins] + within[:, None, None] * means[bins]
    return curve - np.average(at_rows, axis=0, weights=weight)


def split_in_half(
    rows: pa.Table, name: str, schema: Schema
) -> tuple[np.ndarray, np.ndarray, tuple[str, str]] | None:
    """The rows with low and with high values of a column, or of its largest category and not.

    None where it has one value.
    """
    column = schema.columns[name]
    bins = Bins.of(rows[name], column, 1 if column.feature_type == "category" else 2)
    codes = bins.codes(rows[name])
    if column.feature_type == "category":
        first = bins.categories[0] if bins.categories else ""
        return codes == 1, codes == 0, (f"is not {truncate(first)}", f"is {truncate(first)}")
    if not len(bins.edges):
        return None
    return codes == 0, codes == 1, (f"is {bins.names[0]}", f"is {bins.names[1]}")


def interaction(
    local: LocalEffects,
    output: int,
    total: float,
    low: np.ndarray,
    high: np.ndarray,
    said: tuple[str, str],
) -> dict[str, Any] | None:
    """How much more a number column moves the answer among half of the rows than among the others.

    None where the difference is less than `MIN_SHARE_OF_EFFECT` of the column's effect, or not
    `MIN_RATIO_TO_SHUFFLES` times what `SHUFFLES` random halves of the same rows show.

    Args:
        total: the column's effect, from its lowest to its highest point.
        low, high: which rows are of each half, bool, (rows,).
        said: what the rows of each half are, in words.
    """
    few = min(low.sum(), high.sum()) < MIN_SHARE_OF_HALF * len(low)
    if local.means is not None or few:
        return None
    rise_low, rise_high = rises(local, output, low, high)
    strength = abs(rise_high - rise_low)
    if strength < MIN_SHARE_OF_EFFECT * total or not strength:
        return None
    rng, used = np.random.default_rng(0), np.flatnonzero(low | high)
    for _ in range(SHUFFLES):
        mask = np.zeros(len(low), bool)
        mask[rng.permutation(used)[: low.sum()]] = True
        first, second = rises(local, output, mask, (low | high) & ~mask)
        if MIN_RATIO_TO_SHUFFLES * abs(second - first) >= strength:
            return None
    ends = {"low": said[0], "high": said[1], "rise_low": rise_low, "rise_high": rise_high}
    return ends | {"strength": strength}


def rises(local: LocalEffects, output: int, *halves: np.ndarray) -> list[float]:
    """By how much the answer of each half, bool (rows,), rises over steps where both have rows."""
    weight, steps = local.weight, len(local.grid) - 1
    used = [half & (local.bins >= 0) for half in halves]
    counts, sums = (
        np.array([np.bincount(local.bins[half], values[half], steps) for half in used])
        for values in (weight, weight * local.changes[:, output, 0])
    )
    both = (counts > 0).all(axis=0)
    return [float(rise.sum()) for rise in sums[:, both] / counts[:, both]]
