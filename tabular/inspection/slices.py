"""Where a model is weak: declared slices, the weakest that are found, and the largest errors."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Schema
from tabular.config.sections import Range, Slice
from tabular.core.metrics import TASKS, metric
from tabular.evaluation.scores import Predictions, row_scores
from tabular.evaluation.uncertainty import ALPHA, mean_interval
from tabular.model.bins import Bins, is_among, missing_mask, numeric_values
from tabular.table.arrays import predicted_classes, row_losses
from tabular.table.cells import is_missing
from tabular.table.parquet import read_parts

QUARTERS, CATEGORIES = 4, 8  # bins of a number column, and of a category column
MAX_PAIRED_COLUMNS = 8  # the most important columns, whose pairs are looked at too
MIN_ROWS = 30  # of a slice
MAX_SLICES, MAX_SLICES_OF_BIN = 5, 2
MAX_OVERLAP = 0.7  # of the rows of two slices; the weaker one of them is shown
SliceBins = tuple[tuple[str, int], ...]  # a bin of one column, or of each of two


class ScoredRows(NamedTuple):
    """Rows from which slices are cut: their table, predictions, and the score of each row."""

    table: pa.Table
    predictions: Predictions
    schema: Schema
    key: str
    scores: np.ndarray

    @classmethod
    def from_predictions(
        cls, table: pa.Table, predictions: Predictions, schema: Schema, key: str
    ) -> Self:
        """Score each row by `key`: the main score or the loss."""
        if key == "loss":
            scores = row_losses(predictions.y, predictions.y_pred, schema)
        else:
            scores = row_scores(predictions, schema)
        return cls(table, predictions, schema, key, scores)

    def scored(self, mask: np.ndarray, alpha: float) -> dict[str, Any]:
        """The `rows` of a slice, their `score` and its interval, `low` and `high`.

        And what the best `constant` of these rows alone would reach, and of two classes the
        `recall`, where there is one: a slice may have a low score since it is hard, and a high one
        since it is of one class.
        """
        y, y_pred, weight, threshold, group = self.predictions.select(mask)
        of_rows = self.scores[mask]
        if not weight.any():
            return {"rows": int(mask.sum())}
        low, high = mean_interval(of_rows, weight, self.key == "accuracy", alpha, group)
        score = float(np.average(of_rows, weights=weight))
        found = {"rows": int(mask.sum()), "score": score, "low": low, "high": high}
        if self.schema.task == "regression":
            middle = np.median(y)
            return found | {"constant": float(np.average(np.abs(y - middle), weights=weight))}
        shares = np.bincount(y.astype(int), weight) / weight.sum()
        entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
        found["constant"] = float(entropy if self.key == "loss" else shares.max())
        if self.schema.task == "binary" and weight[y == 1].any():
            called = y_pred[y == 1, 0] >= threshold
            found["recall"] = float(np.average(called, weights=weight[y == 1]))
        return found


def slice_scores(
    tables: Mapping[str, pa.Table],
    predictions: Mapping[str, Predictions],
    schema: Schema,
    primary_metrics: Sequence[str],
    important: Sequence[str],
    declared: Mapping[str, Slice],
) -> dict[str, Any]:
    """The scores of declared slices, and of the weakest slices of one column or two.

    A slice is looked for among the rows of cross-validation where there are some, since they are
    more; its score of the test rows stands beside. Every interval is wide enough to hold for as
    many slices as were looked at (Bonferroni's correction); a slice is `weak` where it does not
    reach the score of all rows.

    Args:
        tables: of the rows that were predicted, by the keys of `metrics.ROW_SETS`.
        predictions: of the model, for at least these rows.
        primary_metrics: where a class is rare, the score is the loss.
        important: the columns, the most important one first.
        declared: by name.
    """
    main = TASKS[schema.task].main
    key = main if primary_metrics[0] == main else "loss"
    rows = {
        name: ScoredRows.from_predictions(table, predictions[name].first(len(table)), schema, key)
        for name, table in tables.items()
    }
    found_in = "cross_validation" if "cross_validation" in rows else "test"
    every = {name: one.scored(np.ones(len(one.table), bool), ALPHA) for name, one in rows.items()}
    overall = every[found_in]["score"]
    return {
        "score": key,
        "found_in": found_in,
        "all_rows": every,
        **weakest_slices(rows[found_in], rows["test"], important, overall),
        "declared": {
            name: {"where": in_words(conditions)}
            | {key: of.scored(declared_rows(of, conditions), ALPHA) for key, of in rows.items()}
            for name, conditions in declared.items()
        },
    }


def weakest_slices(
    most: ScoredRows, test: ScoredRows, important: Sequence[str], overall: float
) -> dict[str, Any]:
    """How many slices were looked at among the most rows, and the scores of the weakest ones.

    They are `weak` where that is by more than chance. The rows of the test have no part in it.

    Args:
        overall: the score of all rows.
    """
    columns, bins = most.schema.columns, {}
    for name in important:
        count = CATEGORIES if columns[name].feature_type == "category" else QUARTERS
        bins[name] = Bins.from_values(most.table[name], columns[name], count)
    codes, of_test = (
        {name: of.codes(rows.table[name]) for name, of in bins.items()} for rows in (most, test)
    )
    greater = metric(most.key).greater_is_better
    order, found = ranked(most, codes, -1 if greater else 1), []
    for where in distinct(order, codes):
        scored = most.scored(slice_mask(where, codes), ALPHA / len(order))
        weak = scored["high"] < overall if greater else scored["low"] > overall
        of = {"where": [[name, bins[name].names[code]] for name, code in where], "weak": weak}
        found.append(of | scored | {"test": test.scored(slice_mask(where, of_test), ALPHA)})
    return {"looked_at": len(order), "weakest": found}


def ranked(rows: ScoredRows, codes: Mapping[str, np.ndarray], worse: int) -> list[SliceBins]:
    """All slices of enough rows, the weakest first.

    By how many standard deviations the mean of a slice is worse than that of the other rows, if the
    rows of both were alike.
    """
    scores, weight_of = rows.scores, rows.predictions.weight
    weights = np.stack([np.ones(len(scores)), weight_of, weight_of * scores])
    mean = weights[2].sum() / weights[1].sum()
    variance = np.average(np.square(scores - mean), weights=weight_of)
    found: list[tuple[float, SliceBins]] = []
    widths = {name: int(of.max(initial=0)) + 1 for name, of in codes.items()}
    groups: Iterable[tuple[str, ...]] = [
        *((name,) for name in codes),
        *combinations(list(codes)[:MAX_PAIRED_COLUMNS], 2),
    ]
    for names in groups:
        shape = [widths[name] for name in names]
        of_rows = np.ravel_multi_index([codes[name] for name in names], shape)
        count, weight, total = (np.bincount(of_rows, of, math.prod(shape)) for of in weights)
        for code in np.flatnonzero((count >= MIN_ROWS) & (count < len(scores)) & (weight > 0)):
            rest = weights[1].sum() - weight[code]
            if not rest > 0:
                continue
            gap = total[code] / weight[code] - (weights[2].sum() - total[code]) / rest
            spread = (variance * (1 / count[code] + 1 / (len(scores) - count[code]))) ** 0.5
            numbers = map(int, np.unravel_index(code, shape))
            where = tuple(zip(names, numbers, strict=True))
            found.append((worse * gap / spread if spread else 0.0, where))
    return [where for _, where in sorted(found, key=lambda pair: (-round(pair[0], 9), pair[1]))]


def distinct(order: Sequence[SliceBins], codes: Mapping[str, np.ndarray]) -> list[SliceBins]:
    """The weakest slices, without those whose rows are mostly those of a weaker one.

    The same bin is in `MAX_SLICES_OF_BIN` of them at most.
    """
    chosen: list[tuple[SliceBins, np.ndarray]] = []
    for where in order:
        if any(sum(pair in one for one, _ in chosen) >= MAX_SLICES_OF_BIN for pair in where):
            continue
        mask = slice_mask(where, codes)
        if all((mask & one).sum() <= MAX_OVERLAP * (mask | one).sum() for _, one in chosen):
            chosen.append((where, mask))
        if len(chosen) == MAX_SLICES:
            break
    return [where for where, _ in chosen]


def slice_mask(where: SliceBins, codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which rows lie in all these bins: bool, (rows,)."""
    return np.logical_and.reduce([codes[name] == code for name, code in where])


def in_words(conditions: Slice) -> list[list[str]]:
    """The columns of a declared slice, each with its condition in words."""
    found = []
    for name, wanted in conditions.items():
        if isinstance(wanted, Range):
            ends = [("from", wanted.low), ("to", wanted.high)]
            numbers = [(word, f"{end:g}" if isinstance(end, float) else end) for word, end in ends]
            said = " ".join(f"{word} {end}" for word, end in numbers if end is not None)
        else:
            said = " or ".join(map(str, wanted))
        found.append([name, said])
    return found


def declared_rows(rows: ScoredRows, conditions: Slice) -> np.ndarray:
    """Which rows a declared slice holds: bool, (rows,). A missing value is in none."""
    masks = []
    for name, wanted in conditions.items():
        values, column = rows.table[name], rows.schema.columns[name]
        mask = ~missing_mask(values, column)
        if isinstance(wanted, Range):
            sizes = numeric_values(values, column)
            low, high = wanted.ends
            mask[mask] = (low <= sizes) & (sizes <= high)
        else:
            mask &= is_among(values, pa.array(wanted, values.type))
        masks.append(mask)
    return np.logical_and.reduce(masks)


MAX_ERRORS, LETTERS = 10, 200  # rows; of a text


def largest_errors(folder: Path, test: Predictions, schema: Schema) -> list[dict[str, Any]]:
    """Return the test rows with the largest loss: their `row`, prediction and columns."""
    losses = row_losses(test.y, test.y_pred, schema)
    worst = np.argsort(-losses, kind="stable")[:MAX_ERRORS]
    classes = predicted_classes(test.y_pred, schema, test.threshold)
    columns: dict[int, dict[str, Any]] = {}
    start = 0
    for part in read_parts(folder):
        own = worst[(start <= worst) & (worst < start + len(part))]
        picked = part.take(pa.array(own - start))
        present = {
            name: pc.if_else(is_missing(picked[name], schema.columns[name]), None, picked[name])
            for name in (schema.target, *schema.features)
        }
        columns |= dict(zip(own.tolist(), pa.table(present).to_pylist(), strict=True))
        start += len(part)
    found = []
    for row in worst.tolist():
        target = columns[row].pop(schema.target)
        answer: dict[str, Any] = {"predicted": float(test.y_pred[row, 0])}
        if schema.task != "regression":
            k, probabilities = int(classes[row]), test.y_pred[row].astype(np.float64)
            if schema.task == "binary":
                probabilities = np.r_[1 - probabilities, probabilities]
            answer = {
                "predicted": str(schema.classes[k]),
                "probability_of_true": float(probabilities[int(test.y[row])]),
            }
        found.append(
            {"row": row, "true": _shown(target), "loss": float(losses[row])}
            | answer
            | {"columns": {name: _shown(value) for name, value in columns[row].items()}}
        )
    return found


def _shown(value: Any) -> Any:
    """A value as JSON holds it: numbers as they are, all others as text, gaps as None."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return str(value)[:LETTERS]
