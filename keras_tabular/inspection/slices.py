"""Where a model is weak: slices that params.yaml declares, the weakest slices, largest errors."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow.dataset import dataset

from keras_tabular.column_statistics.bins import Bins, is_among, missing_mask, numeric_values
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Range, Slice
from keras_tabular.scoring.scores import Predictions
from keras_tabular.scoring.uncertainty import ALPHA, score_mean
from keras_tabular.table.parquet import part_paths
from keras_tabular.tasks.metrics import METRICS

MAX_NUMBER_BINS, MAX_CATEGORIES = 4, 8  # of a column
MAX_PAIRED_COLUMNS = 8  # the most important columns, which are also combined in pairs
MIN_ROWS = 30  # of a slice
MAX_SLICES, MAX_SLICES_OF_BIN = 5, 2
MAX_OVERLAP = 0.7  # intersection over union of the rows of two slices
MAX_ERRORS, MAX_TEXT = 10, 200  # rows, and characters of a text
SliceBins = tuple[tuple[str, int], ...]  # names of one or two columns, each with a bin


def slice_scores(
    tables: Mapping[str, pa.Table],
    predictions: Mapping[str, Predictions],
    schema: Schema,
    primary_metrics: Sequence[str],
    important: Sequence[str],
    declared: Mapping[str, Slice],
) -> dict[str, Any]:
    """Compute the content of `metrics/slices.json`: declared slices and the weakest slices.

    Every slice has a `score`, that of the first row set, and a score of the `test` rows. The
    intervals of the weakest slices hold for all slices that are searched (Bonferroni's correction).
    A slice is `weak` if its interval does not reach the score of all rows.

    Args:
        tables: Rows of cross-validation and test rows. The first table with rows is searched.
        predictions: Predictions of the model, which may be for more or fewer rows.
        primary_metrics: If a class is rare, slices are compared by the loss.
        important: Names of the columns, the most important one first.
        declared: Slices by name.
    """
    tables = {k: rows[: len(predictions[k].y)] for k, rows in tables.items() if k in predictions}
    row_set, main = next(iter(tables)), schema.learning_task.main_metric
    metric = main if primary_metrics[0] == main else "loss"
    rows = {name: predictions[name].select(slice(len(table))) for name, table in tables.items()}

    def score_slice(masks: Mapping[str, np.ndarray], alpha: float = ALPHA) -> dict[str, Any]:
        searched, test = (rows[name].select(masks[name]) for name in (row_set, "test"))
        score = score_rows(row_set, searched, metric, alpha)
        return {"score": score, "test": score_rows("test", test, metric)}

    def score_conditions(conditions: Slice) -> dict[str, Any]:
        masks = {name: select_rows(table, schema, conditions) for name, table in tables.items()}
        return score_slice(masks) | {"where": describe_conditions(conditions)}

    all_rows, bins = score_conditions({}), bin_columns(tables[row_set], schema, important)
    codes = {
        name: {column: bins[column].codes(table[column]) for column in bins}
        for name, table in tables.items()
    }
    slices, weakest = sort_slices(rows[row_set], metric, codes[row_set]), []
    for slice_bins in choose_distinct(slices, codes[row_set]):
        masks = {name: slice_mask(slice_bins, codes[name]) for name in tables}
        weak = score_slice(masks, ALPHA / len(slices))
        weak["where"] = [(column, bins[column].names[code]) for column, code in slice_bins]
        weak["weak"] = is_weak(weak["score"], all_rows["score"])
        weakest.append(weak)
    declared_scores = {name: score_conditions(where) for name, where in declared.items()}
    content = {"metric": metric, "row_set": row_set, "all_rows": all_rows, "compared": len(slices)}
    return content | {"weakest": weakest, "declared": declared_scores}


def bin_columns(rows: pa.Table, schema: Schema, names: Sequence[str]) -> dict[str, Bins]:
    """Build the bins of columns, which are the conditions of slices."""
    bins = {}
    for name in names:
        column = schema.columns[name]
        bins[name] = Bins.from_values(rows[name], column, MAX_NUMBER_BINS, MAX_CATEGORIES)
    return bins


def score_rows(
    row_set: str, rows: Predictions, metric: str, alpha: float = ALPHA
) -> dict[str, Any]:
    """Return the fields of the score of a slice, and how well its rows can be predicted.

    A slice may be weak because its rows are hard to predict, so the result has the score of the
    best `constant` prediction for these rows, too. For two classes, it also has the `recall`. It is
    empty if the weight of all rows is 0.

    Args:
        metric: The main metric, or `loss`.
        alpha: Probability that the interval misses the true value.
    """
    weight, positive_weight = rows.weight, rows.weight * (rows.y == 1)
    if not weight.any():
        return {}
    score = score_mean(row_set, metric, rows.row_values[metric], weight, rows.group, alpha)
    content = score.model_dump(exclude_none=True)
    constant = rows.with_best_constant(metric).row_values[metric]
    content["constant"] = float(np.average(constant, weights=weight))
    if rows.task.has_threshold and positive_weight.any():
        content["recall"] = float(np.average(rows.predicted_classes, weights=positive_weight))
    return content


def is_weak(score: Mapping[str, Any], all_rows: Mapping[str, Any]) -> bool:
    """Return whether the interval of a slice does not reach the score of all rows."""
    low, high = score.get("interval", (-np.inf, np.inf))
    is_greater_better = METRICS[score["metric"]].greater_is_better
    return bool(high < all_rows["value"] if is_greater_better else low > all_rows["value"])


def sort_slices(rows: Predictions, metric: str, codes: Mapping[str, np.ndarray]) -> list[SliceBins]:
    """Sort all slices with enough rows, the weakest slice first.

    The order is that of a test statistic: the difference between the mean scores of the slice and
    of the other rows, divided by its standard deviation if both had the same distribution.
    """
    scores, row_weight = rows.row_values[metric], rows.weight
    sign = -1 if METRICS[metric].greater_is_better else 1
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
        chosen = np.flatnonzero(enough)
        count, weight, total = count[chosen], weight[chosen], total[chosen]
        difference = total / weight - (all_scores - total) / (all_weight - weight)
        deviation = np.sqrt(variance * (1 / count + 1 / (len(scores) - count)))
        weakness = sign * difference / np.where(deviation > 0, deviation, np.inf)
        bins = np.transpose(np.unravel_index(chosen, shape)).tolist()
        where = (tuple(zip(names, each, strict=True)) for each in bins)
        slices += zip(np.round(-weakness, 9).tolist(), where, strict=True)
    return [slice_bins for _, slice_bins in sorted(slices)]


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
