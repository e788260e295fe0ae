"""Where a model is weak: declared slices, the weakest that are found, and the largest errors."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import dataset

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Range, Slice
from keras_tabular.core.metrics import TASKS, metric
from keras_tabular.evaluation.scores import Predictions, row_scores
from keras_tabular.evaluation.uncertainty import ALPHA, error_interval, share_interval
from keras_tabular.model_file.bins import Bins, is_among, missing_mask, numeric_values
from keras_tabular.table.arrays import predicted_classes, row_losses
from keras_tabular.table.cells import is_missing
from keras_tabular.table.parquet import part_paths

QUARTERS, CATEGORIES = 4, 8  # bins of a number column, and of a category column
MAX_PAIRED_COLUMNS = 8  # the most important columns, whose pairs are looked at too
MIN_ROWS = 30  # of a slice
MAX_SLICES, MAX_SLICES_OF_BIN = 5, 2
MAX_OVERLAP = 0.7  # of the rows of two slices; the weaker one of them is shown
SliceBins = tuple[tuple[str, int], ...]  # a bin of one column, or of each of two


class ScoredRows(NamedTuple):
    """Rows from which slices are cut: their table, predictions, and the score of each row.

    Attributes:
        key: The metric of which `scores` are the parts of the rows: the main score or the loss.
    """

    table: pa.Table
    predictions: Predictions
    schema: Schema
    key: str
    scores: np.ndarray

    def score_slice(self, mask: np.ndarray, alpha: float) -> dict[str, Any]:
        """Return the `rows` of a slice, their `score` and its interval, `low` and `high`.

        Also what the best `constant` of these rows alone would reach, and of two classes the
        `recall`, if there is one: a slice may have a low score since it is hard, and a high one
        since it is of one class.
        """
        y, y_pred, weight, threshold, group, _ = self.predictions.select(mask)
        values = self.scores[mask]
        content: dict[str, Any] = {"rows": int(mask.sum())}
        if not weight.any():
            return content
        content["score"] = float(np.average(values, weights=weight))
        interval = share_interval if self.key == "accuracy" else error_interval
        content["low"], content["high"] = interval(values, weight, group, alpha)
        if self.schema.task == "regression":
            errors = np.abs(y - np.median(y))
            return content | {"constant": float(np.average(errors, weights=weight))}
        shares = np.bincount(y.astype(int), weight) / weight.sum()
        entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
        content["constant"] = float(entropy if self.key == "loss" else shares.max())
        if self.schema.task == "binary" and weight[y == 1].any():
            called = y_pred[y == 1, 0] >= threshold
            content["recall"] = float(np.average(called, weights=weight[y == 1]))
        return content


def slice_scores(
    tables: Mapping[str, pa.Table],
    predictions: Mapping[str, Predictions],
    schema: Schema,
    primary_metrics: Sequence[str],
    important: Sequence[str],
    declared: Mapping[str, Slice],
) -> dict[str, Any]:
    """Compute the scores of declared slices, and of the weakest slices of one column or two.

    Slices are searched among the rows of cross-validation if there are some, since they are more;
    the score on test rows is given in addition. Every interval is wide enough to hold for all
    slices that were searched (Bonferroni's correction); a slice is `weak` where it does not reach
    the score of all rows.

    Args:
        tables: The rows that were predicted, by the keys of `metrics.ROW_SETS`.
        predictions: Predictions of the model, for at least these rows.
        primary_metrics: Where a class is rare, the score is the loss.
        important: The columns, the most important one first.
        declared: Slices by name.
    """
    main = TASKS[schema.task].main
    key = main if primary_metrics[0] == main else "loss"
    row_sets = {}
    for name, table in tables.items():
        rows = predictions[name].first(len(table))
        losses = row_losses(rows.y, rows.y_pred, schema)
        scores = losses if key == "loss" else row_scores(rows, schema)
        row_sets[name] = ScoredRows(table, rows, schema, key, scores)
    found_in = "cross_validation" if "cross_validation" in row_sets else "test"
    all_rows = {
        name: rows.score_slice(np.ones(len(rows.table), bool), ALPHA)
        for name, rows in row_sets.items()
    }
    overall = all_rows[found_in]["score"]
    declared_slices: dict[str, Any] = {}
    for name, conditions in declared.items():
        declared_slices[name] = {"where": in_words(conditions)} | {
            row_set: rows.score_slice(declared_rows(rows, conditions), ALPHA)
            for row_set, rows in row_sets.items()
        }
    return {
        "score": key,
        "found_in": found_in,
        "all_rows": all_rows,
        **weakest_slices(row_sets[found_in], row_sets["test"], important, overall),
        "declared": declared_slices,
    }


def weakest_slices(
    rows: ScoredRows, test: ScoredRows, important: Sequence[str], overall: float
) -> dict[str, Any]:
    """Count the slices that were searched among the rows, and compute the scores of the weakest.

    They are `weak` where that is by more than chance. The rows of the test have no part in it.

    Args:
        overall: The score of all rows.
    """
    columns, bins = rows.schema.columns, {}
    for name in important:
        count = CATEGORIES if columns[name].feature_type == "category" else QUARTERS
        bins[name] = Bins.from_values(rows.table[name], columns[name], count)
    codes = {name: of_column.codes(rows.table[name]) for name, of_column in bins.items()}
    test_codes = {name: of_column.codes(test.table[name]) for name, of_column in bins.items()}
    greater = metric(rows.key).greater_is_better
    order, weakest = ranked(rows, codes, -1 if greater else 1), []
    for where in distinct(order, codes):
        scored = rows.score_slice(slice_mask(where, codes), ALPHA / len(order))
        names = [[name, bins[name].names[code]] for name, code in where]
        weak = scored["high"] < overall if greater else scored["low"] > overall
        on_test = test.score_slice(slice_mask(where, test_codes), ALPHA)
        weakest.append({"where": names, "weak": weak, "test": on_test} | scored)
    return {"looked_at": len(order), "weakest": weakest}


def ranked(rows: ScoredRows, codes: Mapping[str, np.ndarray], worse: int) -> list[SliceBins]:
    """Sort all slices with enough rows, the weakest first.

    By how many standard deviations the mean of a slice is worse than that of the other rows, if the
    rows of both were alike.
    """
    scores, row_weight = rows.scores, rows.predictions.weight
    all_weight, all_scores = row_weight.sum(), (row_weight * scores).sum()
    variance = np.average(np.square(scores - all_scores / all_weight), weights=row_weight)
    slices: list[tuple[float, SliceBins]] = []
    single = ((name,) for name in codes)
    for names in (*single, *combinations(list(codes)[:MAX_PAIRED_COLUMNS], 2)):
        shape = [int(codes[name].max(initial=0)) + 1 for name in names]
        cells = np.ravel_multi_index([codes[name] for name in names], shape)
        count, weight, total = (
            np.bincount(cells, values, math.prod(shape))
            for values in (np.ones(len(scores)), row_weight, row_weight * scores)
        )
        enough = (count >= MIN_ROWS) & (count < len(scores)) & (weight > 0) & (weight < all_weight)
        for cell in np.flatnonzero(enough):
            mean = total[cell] / weight[cell]
            mean_of_others = (all_scores - total[cell]) / (all_weight - weight[cell])
            rows_of_both = 1 / count[cell] + 1 / (len(scores) - count[cell])
            spread = (variance * rows_of_both) ** 0.5
            bins = map(int, np.unravel_index(cell, shape))
            strength = worse * (mean - mean_of_others) / spread if spread else 0.0
            slices.append((strength, tuple(zip(names, bins, strict=True))))
    slices.sort(key=lambda pair: (-round(pair[0], 9), pair[1]))
    return [where for _, where in slices]


def distinct(order: Sequence[SliceBins], codes: Mapping[str, np.ndarray]) -> list[SliceBins]:
    """Choose the weakest slices that do not consist mostly of the rows of a weaker one.

    At most `MAX_SLICES_OF_BIN` of them contain the same bin.
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
    """Find the rows that lie in all these bins: bool, (rows,)."""
    return np.logical_and.reduce([codes[name] == code for name, code in where])


def in_words(conditions: Slice) -> list[list[str]]:
    """Describe the columns of a declared slice, each with its condition."""
    texts = []
    for name, wanted in conditions.items():
        if isinstance(wanted, Range):
            ends = [("from", wanted.low), ("to", wanted.high)]
            numbers = [(word, f"{end:g}" if isinstance(end, float) else end) for word, end in ends]
            text = " ".join(f"{word} {end}" for word, end in numbers if end is not None)
        else:
            text = " or ".join(map(str, wanted))
        texts.append([name, text])
    return texts


def declared_rows(rows: ScoredRows, conditions: Slice) -> np.ndarray:
    """Find the rows of a declared slice: bool, (rows,). A missing value is in none."""
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


MAX_ERRORS, MAX_TEXT = 10, 200  # rows; characters of a text


def largest_errors(folder: Path, test: Predictions, schema: Schema) -> list[dict[str, Any]]:
    """Return the test rows with the largest loss: their `row`, prediction and columns."""
    losses = row_losses(test.y, test.y_pred, schema)
    worst = np.argsort(-losses, kind="stable")[:MAX_ERRORS]
    classes = predicted_classes(test.y_pred, schema, test.threshold)
    picked = dataset(part_paths(folder)).take(pa.array(worst))
    names = (schema.target, *schema.features)
    present = {
        name: pc.if_else(is_missing(picked[name], schema.columns[name]), None, picked[name])
        for name in names
    }
    errors = []
    for row, cells in zip(worst.tolist(), pa.table(present).to_pylist(), strict=True):
        values = {name: _json_value(value) for name, value in cells.items()}
        error: dict[str, Any] = {"row": row, "loss": float(losses[row])}
        error["true"] = values.pop(schema.target)
        error["predicted"] = float(test.y_pred[row, 0])
        if schema.task != "regression":
            error["predicted"] = str(schema.classes[classes[row]])
            probabilities = test.y_pred[row].astype(np.float64)
            if schema.task == "binary":
                probabilities = np.r_[1 - probabilities, probabilities]
            error["probability_of_true"] = float(probabilities[int(test.y[row])])
        errors.append(error | {"columns": values})
    return errors


def _json_value(value: Any) -> Any:
    """Return a value as JSON holds it: numbers as they are, all others as text, or None."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if value is None or is_number else str(value)[:MAX_TEXT]
