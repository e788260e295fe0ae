"""Where a model is weak: declared, weak and difficult slices, and the largest errors."""

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
from keras_tabular.evaluation.result import Result
from keras_tabular.scoring.scores import Predictions
from keras_tabular.scoring.uncertainty import ALPHA, score_mean
from keras_tabular.table.parquet import part_paths

MAX_NUMBER_BINS, MAX_CATEGORIES = 4, 8  # of a column
MAX_PAIRED_COLUMNS = 8  # the most important columns, which are also combined in pairs
MIN_ROWS = 30  # of a slice
MAX_SLICES, MAX_SLICES_OF_BIN = 5, 2
MAX_OVERLAP = 0.7  # intersection over union of the rows of two slices
MAX_ROUNDING, SMALLEST_SQUARE = 1e-9, 1e-300  # of an end of an interval, and of an error
MAX_ERRORS, MAX_TEXT = 10, 200  # rows, and characters of a text
SliceBins = tuple[tuple[str, int], ...]  # names of one or two columns, each with a bin
Codes = Mapping[str, np.ndarray]  # bin of each row in some columns; (rows,)


class RowSet(NamedTuple):
    """The rows that are searched for slices, or the test rows.

    Attributes:
        metric: What the mean of the errors is: the share of wrong classes (`error`) or `mae`.
        errors: Error of each row, shape (rows,).
        expected: The error that is expected of each row, by the key of the reference; (rows,).
    """

    name: str
    table: pa.Table
    predictions: Predictions
    metric: str
    errors: np.ndarray
    expected: dict[str, np.ndarray]


def slice_scores(
    tables: Mapping[str, pa.Table],
    result: Result,
    class_weights: list[float] | None,
    schema: Schema,
    important: Sequence[str],
    declared: Mapping[str, Slice],
) -> dict[str, Any]:
    """Compute the content of `metrics/slices.json`: declared slices, and those with large errors.

    Every slice has a `score`, that of the first row set, and a score of the `test` rows. Slices are
    searched whose errors are significantly larger than expected by one of the references of
    `expect_errors`; `worse_than` is the first of them. The intervals hold for all slices
    (Bonferroni's correction). As only one end of an interval decides, a slice is called weak by
    chance in at most 2.5 % of the tables for each reference.

    Args:
        tables: Rows of cross-validation and test rows. The first table with rows is searched.
        result: Predictions of the model and of its baselines, which may be for more or fewer rows.
        class_weights: Weight of each class in the loss that the model was trained with.
        important: Names of the columns, the most important one first.
        declared: Slices by name.
    """
    names = [name for name in tables if name in result.predictions]
    row_sets = [expect_errors(name, tables[name], result, class_weights) for name in names]
    searched, bins = row_sets[0], dict[str, Bins]()
    for name in important:
        column, values = schema.columns[name], searched.table[name]
        bins[name] = Bins.from_values(values, column, MAX_NUMBER_BINS, MAX_CATEGORIES)
    codes = [{name: bins[name].codes(rows.table[name]) for name in bins} for rows in row_sets]

    def score_conditions(conditions: Slice) -> dict[str, Any]:
        masks = [select_rows(rows.table, schema, conditions) for rows in row_sets]
        return score_slice(row_sets, masks) | {"where": describe_conditions(conditions)}

    worse, slices = dict[SliceBins, dict[str, Any]](), list[SliceBins]()
    for reference, expected in searched.expected.items():
        excess = searched.predictions.weight * (searched.errors - expected)
        slices = sort_slices(excess, codes[0])
        alpha = ALPHA / max(len(slices), 1)
        for slice_bins in choose_distinct([*worse, *slices], codes[0]):
            masks = [slice_mask(slice_bins, each) for each in codes]
            where = [(name, bins[name].names[code]) for name, code in slice_bins]
            scores = score_slice(row_sets, masks, alpha)
            low, _ = scores["score"]["expected"][reference]["interval"] or (0, 0)
            if low > MAX_ROUNDING:
                worse.setdefault(slice_bins, scores | {"where": where, "worse_than": reference})
    content: dict[str, Any] = {"all_rows": score_conditions({}), "worse": [*worse.values()]}
    content |= {"metric": searched.metric, "row_set": searched.name, "compared": len(slices)}
    return content | {"declared": {name: score_conditions(each) for name, each in declared.items()}}


def expect_errors(
    name: str, table: pa.Table, result: Result, class_weights: list[float] | None
) -> RowSet:
    """Return the rows of a table that have predictions, and the errors that are expected of them.

    Rows differ in how well they can be predicted at all. There are several references:

    - `probabilities`: The share of wrong classes that the predicted probabilities imply.
    - `gradient_boosting`: The errors of the boosted baseline, which noise makes as large as those
      of the model.
    - `all_rows`: The mean error of all rows. A slice with larger errors is only difficult.

    A model may have larger errors than expected everywhere, for example if its probabilities are
    too far from 0.5. Not all slices are weak then: all shares are increased by the same number, and
    all errors of the baseline are multiplied by the same number.
    """
    boosted = result.predictions[name].task.baselines["boosted"]
    y_pred = result.baselines[boosted][name]
    rows = result.predictions[name].select(slice(min(len(table), len(y_pred))))
    threshold = result.evaluation.baseline_thresholds.get(boosted, rows.threshold)
    baseline = rows._replace(y_pred=y_pred[: len(rows.y)], threshold=threshold)
    errors, baseline_errors = rows.row_errors, baseline.row_errors
    mean, baseline_mean = rows.mean(errors), rows.mean(baseline_errors)
    expected, metric = dict[str, np.ndarray](), rows.task.main_metric
    if rows.task.classes:
        right = rows.task.expected_scores(rows.y_pred, rows.threshold, class_weights)
        shares, metric = 1 - right, "error"
        expected["probabilities"] = shares + max(mean - rows.mean(shares), 0)
    expected["gradient_boosting"] = baseline_errors * max(mean / (baseline_mean or 1), 1)
    expected["all_rows"] = np.full(len(errors), mean)
    return RowSet(name, table[: len(errors)], rows, metric, errors, expected)


def score_slice(
    row_sets: Sequence[RowSet], masks: Sequence[np.ndarray], alpha: float = ALPHA
) -> dict[str, Any]:
    """Score a slice of the rows that are searched, and of the test rows: the last row set."""
    score = score_rows(row_sets[0], masks[0], alpha)
    return {"score": score, "test": score_rows(row_sets[-1], masks[-1])}


def score_rows(rows: RowSet, mask: np.ndarray, alpha: float = ALPHA) -> dict[str, Any]:
    """Return the fields of the score of a slice, and what is `expected` by each reference.

    For each reference, this is the `value` that is expected, and the interval of the difference
    from it. If the score is a share, the exact interval of the share minus the expected share is
    too wide rather than too narrow: the number of wrong predictions varies less than if all rows
    had the same expected error (Hoeffding, "On the distribution of the number of successes in
    independent trials", 1956).

    The result is empty if the weight of all rows is 0.

    Args:
        mask: Whether each row is in the slice, shape (rows,).
        alpha: Probability that the interval misses the true value.
    """
    weight, group = rows.predictions.weight * mask, rows.predictions.group
    if not weight.any():
        return {}
    score = score_mean(rows.name, rows.metric, rows.errors, weight, group, alpha)
    references = dict[str, dict[str, Any]]()
    for name, expected in rows.expected.items():
        excess = score_mean(rows.name, rows.metric, rows.errors - expected, weight, group, alpha)
        value, interval = score.value - excess.value, excess.interval
        if rows.metric == "error" and name != "gradient_boosting" and score.interval:
            interval = score.interval[0] - value, score.interval[1] - value
        references[name] = {"value": value, "excess": excess.value, "interval": interval}
    return score.model_dump(exclude_none=True) | {"expected": references}


def sort_slices(errors: np.ndarray, codes: Codes) -> list[SliceBins]:
    """Sort all slices with enough rows, the one with the most significant errors first.

    The order is that of a test statistic: the sum of the errors, divided by its standard deviation
    if their mean is 0.

    Args:
        errors: Weighted error of each row, negative if it is smaller than usual; shape (rows,).
    """
    slices: list[tuple[float, SliceBins]] = []
    for names in (*combinations(codes, 1), *combinations(list(codes)[:MAX_PAIRED_COLUMNS], 2)):
        shape = [int(codes[name].max(initial=0)) + 1 for name in names]
        cells = np.ravel_multi_index([codes[name] for name in names], shape)
        count, total, squares = (
            np.bincount(cells, values, math.prod(shape))
            for values in (np.ones(len(errors)), errors, np.square(errors))
        )
        chosen = np.flatnonzero((count >= MIN_ROWS) & (count < len(errors)) & (squares > 0))
        statistic = total[chosen] / np.sqrt(np.maximum(squares[chosen], SMALLEST_SQUARE))
        bins = np.transpose(np.unravel_index(chosen, shape)).tolist()
        where = (tuple(zip(names, each, strict=True)) for each in bins)
        slices += zip(np.round(-statistic, 9).tolist(), where, strict=True)
    return [slice_bins for _, slice_bins in sorted(slices)]


def choose_distinct(slices: Sequence[SliceBins], codes: Codes) -> Iterator[SliceBins]:
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


def slice_mask(slice_bins: SliceBins, codes: Codes) -> np.ndarray:
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
