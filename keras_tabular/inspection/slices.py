"""Where a model is weak: slices that params.yaml declares, the weakest slices, largest errors."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow.dataset import dataset

from keras_tabular.column_statistics.bins import Bins, is_among, missing_mask, numeric_values
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Range, Slice
from keras_tabular.scoring.scores import Predictions
from keras_tabular.scoring.uncertainty import ALPHA, error_interval, share_interval
from keras_tabular.table.parquet import part_paths
from keras_tabular.tasks.metrics import metric

MAX_NUMBER_BINS, MAX_CATEGORIES = 4, 8  # of a column
MAX_PAIRED_COLUMNS = 8  # the most important columns, which are also combined in pairs
MIN_ROWS = 30  # of a slice
MAX_SLICES, MAX_SLICES_OF_BIN = 5, 2
MAX_OVERLAP = 0.7  # intersection over union of the rows of two slices
MAX_ERRORS, MAX_TEXT = 10, 200  # rows, and characters of a text
SliceBins = tuple[tuple[str, int], ...]  # names of one or two columns, each with a bin


class ScoredRows(NamedTuple):
    """Rows with their predictions and a score for each row.

    Attributes:
        table: The rows.
        key: The metric whose mean over the rows is the score of the rows.
        scores: Score of each row, float64, (rows,).
    """

    table: pa.Table
    predictions: Predictions
    schema: Schema
    key: str
    scores: np.ndarray

    def score_slice(self, mask: np.ndarray, alpha: float) -> dict[str, Any]:
        """Return the `rows` of a slice, their `score` and its interval, `low` and `high`.

        Rows of a single group say nothing about the spread of errors, so they have no interval.
        A slice may be weak because its rows are hard to predict, so the result has the score of the
        best `constant` for these rows, too. For two classes, it also has the `recall`.
        """
        rows, values = self.predictions.select(mask), self.scores[mask]
        y, weight, group = rows.y, rows.weight, rows.group
        content: dict[str, Any] = {"rows": int(mask.sum())}
        if not weight.any():
            return content
        content["score"] = float(np.average(values, weights=weight))
        interval = share_interval if self.key == "accuracy" else error_interval
        low, high = interval(values, weight, group, alpha)
        content |= {"low": low, "high": high} if math.isfinite(high) else {}
        content["constant"] = rows.task.constant_score(y, weight, self.key)
        if rows.task.has_threshold and weight[y == 1].any():
            is_found = rows.predicted_classes[y == 1]
            content["recall"] = float(np.average(is_found, weights=weight[y == 1]))
        return content


def slice_scores(
    tables: Mapping[str, pa.Table],
    predictions: Mapping[str, Predictions],
    schema: Schema,
    primary_metrics: Sequence[str],
    important: Sequence[str],
    declared: Mapping[str, Slice],
) -> dict[str, Any]:
    """Compute the content of `metrics/slices.json`: declared slices and the weakest slices.

    The weakest slices are searched among the rows of cross-validation, if there are some, since
    these are more than the test rows. Their scores on the test rows are added.

    Args:
        tables: Rows in the order of their predictions, by the keys of `metrics.ROW_SETS`.
        predictions: Predictions of the model for at least these rows.
        primary_metrics: If a class is rare, slices are compared by the loss.
        important: Names of the columns, the most important one first.
        declared: Slices by name.
    """
    main = schema.learning_task.main_metric
    key = main if primary_metrics[0] == main else "loss"
    row_sets = {}
    for name, table in tables.items():
        rows = predictions[name].select(slice(len(table)))
        scores = rows.row_losses if key == "loss" else rows.row_scores
        row_sets[name] = ScoredRows(table, rows, schema, key, scores)
    found_in = "cross_validation" if "cross_validation" in row_sets else "test"

    def score_slice(conditions: Slice) -> dict[str, Any]:
        masks = {k: select_rows(rows.table, schema, conditions) for k, rows in row_sets.items()}
        return {name: rows.score_slice(masks[name], ALPHA) for name, rows in row_sets.items()}

    all_rows = score_slice({})
    overall = all_rows[found_in]["score"]
    return {
        "score": key,
        "found_in": found_in,
        "all_rows": all_rows,
        **weakest_slices(row_sets[found_in], row_sets["test"], important, overall),
        "declared": {
            name: {"where": describe_conditions(conditions)} | score_slice(conditions)
            for name, conditions in declared.items()
        },
    }


def weakest_slices(
    rows: ScoredRows, test: ScoredRows, important: Sequence[str], overall: float
) -> dict[str, Any]:
    """Count the slices of one or two columns, and score the weakest ones.

    The intervals are simultaneous: they are wide enough to hold for all slices that were searched
    (Bonferroni's correction). A slice is `weak` if its interval does not reach the score of all
    rows. The test rows have no part in the search.

    Args:
        overall: The score of all rows.
    """
    bins = {}
    for name in important:
        column = rows.schema.columns[name]
        count = MAX_CATEGORIES if column.feature_type == "category" else MAX_NUMBER_BINS
        bins[name] = Bins.from_values(rows.table[name], column, count)
    codes = {name: bins[name].codes(rows.table[name]) for name in bins}
    test_codes = {name: bins[name].codes(test.table[name]) for name in bins}
    greater_is_better = metric(rows.key).greater_is_better
    slices, weakest = sort_slices(rows, codes), []
    for slice_bins in choose_distinct(slices, codes):
        scores = rows.score_slice(slice_mask(slice_bins, codes), ALPHA / len(slices))
        best_end = scores.get("high" if greater_is_better else "low", overall)
        is_weak = best_end < overall if greater_is_better else best_end > overall
        test_scores = test.score_slice(slice_mask(slice_bins, test_codes), ALPHA)
        where = [[name, bins[name].names[code]] for name, code in slice_bins]
        weakest.append({"where": where, "weak": is_weak, "test": test_scores} | scores)
    return {"looked_at": len(slices), "weakest": weakest}


def sort_slices(rows: ScoredRows, codes: Mapping[str, np.ndarray]) -> list[SliceBins]:
    """Sort all slices with enough rows, the weakest slice first.

    The order is that of a test statistic: the difference between the mean scores of the slice and
    of the other rows, divided by its standard deviation if both had the same distribution.
    """
    greater_is_better = metric(rows.key).greater_is_better
    scores, row_weight = rows.scores, rows.predictions.weight
    all_weight, all_scores = row_weight.sum(), (row_weight * scores).sum()
    variance = np.average(np.square(scores - all_scores / all_weight), weights=row_weight)
    slices: list[tuple[float, SliceBins]] = []
    for names in (*combinations(codes, 1), *combinations(list(codes)[:MAX_PAIRED_COLUMNS], 2)):
        shape = [int(codes[name].max(initial=0)) + 1 for name in names]
        cells = np.ravel_multi_index([codes[name] for name in names], shape)
        count, weight, total = (
            np.bincount(cells, values, math.prod(shape))
            for values in (np.ones(len(scores)), row_weight, row_weight * scores)
        )
        enough = (count >= MIN_ROWS) & (count < len(scores)) & (weight > 0) & (weight < all_weight)
        for cell in np.flatnonzero(enough):
            mean_of_others = (all_scores - total[cell]) / (all_weight - weight[cell])
            difference = total[cell] / weight[cell] - mean_of_others
            deviation = (variance * (1 / count[cell] + 1 / (len(scores) - count[cell]))) ** 0.5
            weakness = (-difference if greater_is_better else difference) / (deviation or np.inf)
            bins = map(int, np.unravel_index(cell, shape))
            slices.append((weakness, tuple(zip(names, bins, strict=True))))
    slices.sort(key=lambda pair: (-round(pair[0], 9), pair[1]))
    return [slice_bins for _, slice_bins in slices]


def choose_distinct(
    slices: Sequence[SliceBins], codes: Mapping[str, np.ndarray]
) -> Iterator[SliceBins]:
    """Yield the first slices that do not consist mostly of the rows of a slice before them.

    No bin is in more than `MAX_SLICES_OF_BIN` of them.
    """
    chosen: list[tuple[SliceBins, np.ndarray]] = []
    for slice_bins in slices:
        counts = (sum(each in other for other, _ in chosen) for each in slice_bins)
        if any(count >= MAX_SLICES_OF_BIN for count in counts):
            continue
        mask = slice_mask(slice_bins, codes)
        if all((mask & other).sum() <= MAX_OVERLAP * (mask | other).sum() for _, other in chosen):
            chosen.append((slice_bins, mask))
            yield slice_bins
        if len(chosen) == MAX_SLICES:
            return


def slice_mask(slice_bins: SliceBins, codes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return whether each row lies in all these bins: bool, (rows,)."""
    return np.logical_and.reduce([codes[name] == code for name, code in slice_bins])


def describe_conditions(conditions: Slice) -> list[list[str]]:
    """Return the name of each column of a declared slice, and its condition in words."""
    descriptions = []
    for name, condition in conditions.items():
        if isinstance(condition, Range):
            ends = (("from", condition.low), ("to", condition.high))
            texts = {word: f"{end:g}" if isinstance(end, float) else end for word, end in ends}
            text = " ".join(f"{word} {end}" for word, end in texts.items() if end is not None)
        else:
            text = " or ".join(map(str, condition))
        descriptions.append([name, text])
    return descriptions


def select_rows(table: pa.Table, schema: Schema, conditions: Slice) -> np.ndarray:
    """Return whether each row is in a declared slice: bool, (rows,). Missing values are in none."""
    selected = np.ones(len(table), bool)
    for name, condition in conditions.items():
        values, column = table[name], schema.columns[name]
        mask = ~missing_mask(values)
        if isinstance(condition, Range):
            numbers, (low, high) = numeric_values(values, column), condition.ends
            mask[mask] = (low <= numbers) & (numbers <= high)
        else:
            mask &= is_among(values, pa.array(condition, values.type))
        selected &= mask
    return selected


def largest_errors(folder: Path, test: Predictions, schema: Schema) -> dict[str, Any]:
    """Compute the content of `metrics/errors.json`.

    It has under `rows` the test rows with the largest loss, each with its `row`, prediction and
    columns.
    """
    losses = test.row_losses
    largest = np.argsort(-losses, kind="stable")[:MAX_ERRORS]
    largest_rows, task = test.select(largest), test.task
    table = dataset(part_paths(folder)).take(pa.array(largest))
    names = (schema.target, *schema.features)
    errors = []
    for n, cells in enumerate(table.select(names).to_pylist()):
        values = {name: _json_value(value) for name, value in cells.items()}
        error: dict[str, Any] = {"row": int(largest[n]), "loss": float(losses[largest[n]])}
        error["true"] = values.pop(schema.target)
        error["predicted"] = float(largest_rows.y_pred[n, 0])
        if task.classes:
            error["predicted"] = str(task.classes[largest_rows.predicted_classes[n]])
            probabilities = task.probabilities(largest_rows.y_pred)[n]
            error["probability_of_true"] = float(probabilities[int(largest_rows.y[n])])
        errors.append(error | {"columns": values})
    return {"rows": errors}


def _json_value(value: Any) -> Any:
    """Return a finite number or None as it is, and any other value as text."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if value is None or is_number else str(value)[:MAX_TEXT]
