"""Where errors are larger: declared slices, bins of single columns, and the largest errors."""

import math
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow.dataset import dataset

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Range, Slice
from keras_tabular.evaluation.records import MODEL, SLICE, Score, score_records
from keras_tabular.evaluation.result import Result
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.uncertainty import (
    mean_interval,
    score_and_resample,
    share_interval,
)
from keras_tabular.table import parquet, profile
from keras_tabular.table.arrays import round_for_comparison

# of a column
MAX_NUMBER_BINS = 4
MAX_CATEGORIES = 8
# rows of a bin, and bins that are listed
MIN_ROWS = 30
MAX_BINS = 10
# rows, and characters of a text
MAX_ERRORS = 10
MAX_TEXT = 200


class RowSet(NamedTuple):
    """The rows whose errors are compared, or the test rows.

    Attributes:
        metric: What the mean of the errors is: the share of wrong classes (`error`) or
            `mae`.
        errors: Error of the model in each row, shape (rows,).
        baseline_errors: Error of gradient boosting in each row, shape (rows,).
    """

    name: str
    table: pa.Table
    predictions: Predictions
    metric: str
    errors: np.ndarray
    baseline_errors: np.ndarray


def declared_scores(
    test: Predictions,
    folder: Path,
    schema: Schema,
    declared: Mapping[str, Slice],
) -> list[Score]:
    """Return the scores of the test rows of each declared slice, with their intervals.

    Args:
        test: Predictions for all test rows.
        folder: Folder with the parts of the test rows.
        declared: Slices by name.
    """
    names = {schema.target, *chain(*declared.values())}
    scores = list[Score]()
    table = pa.concat_tables(parquet.read_parts(folder, sorted(names)))
    for name, conditions in declared.items():
        rows = test.select(is_in_slice(table, schema, conditions))
        if rows.weight.any():
            each = score_and_resample(rows)
            n_rows = len(rows.y)
            intervals = each.intervals()
            scores += score_records(
                SLICE + name,
                MODEL,
                each.values,
                n_rows,
                interval=intervals,
            )
    return scores


def slice_scores(
    tables: Mapping[str, pa.Table],
    result: Result,
    schema: Schema,
    declared: Mapping[str, Slice],
) -> dict[str, Any]:
    """Compute the content of `metrics/slices.json`.

    `all_rows` and each slice of `declared` have a `score`, that of the first row set,
    and a score of the `test` rows. `bins` has the bins of single columns with the
    largest errors.

    Args:
        tables: Rows of cross-validation and test rows.
        result: Predictions of the model and of its baselines, which may be for more or
            fewer rows.
        declared: Slices by name.
    """
    names = [name for name in tables if name in result.predictions]
    row_sets = [select_predicted(name, tables[name], result) for name in names]
    first = row_sets[0]
    test = row_sets[-1]

    def score_conditions(conditions: Slice) -> dict[str, Any]:
        of_first, of_test = (
            is_in_slice(rows.table, schema, conditions) for rows in (first, test)
        )
        scores = {
            "score": score_rows(first, of_first),
            "test": score_rows(test, of_test),
        }
        return scores | {"where": describe_conditions(conditions)}

    return {
        "bins": score_bins(first, schema),
        "metric": first.metric,
        "row_set": first.name,
        "all_rows": score_conditions({}),
        "declared": {name: score_conditions(each) for name, each in declared.items()},
    }


def select_predicted(name: str, table: pa.Table, result: Result) -> RowSet:
    """Return the rows of a table that the model and gradient boosting have predicted."""
    y_pred = result.baselines["gradient_boosting"][name]
    rows = result.predictions[name].select(slice(min(len(table), len(y_pred))))
    threshold = result.evaluation.baseline_thresholds.get(
        "gradient_boosting",
        rows.threshold,
    )
    baseline = rows._replace(y_pred=y_pred[: len(rows.y)], threshold=threshold)
    metric = "error" if rows.task.classes else rows.task.main_metric
    table = table[: len(rows.y)]
    return RowSet(name, table, rows, metric, rows.row_errors, baseline.row_errors)


def score_rows(rows: RowSet, mask: np.ndarray) -> dict[str, Any]:
    """Return the mean error of some rows as `value`, and that of `gradient_boosting`.

    It has an `interval` if that is finite. The result is empty if the weight of all
    rows is 0.

    Args:
        mask: Whether each row is one of them, shape (rows,).
    """
    weight = rows.predictions.weight * mask
    group = rows.predictions.group
    if not weight.any():
        return {}
    compute_interval = (
        share_interval if np.isin(rows.errors, (0, 1)).all() else mean_interval
    )
    low, high = compute_interval(rows.errors, weight, group)
    scored = {
        "rows": int(np.count_nonzero(weight)),
        "value": float(np.average(rows.errors, weights=weight)),
        "gradient_boosting": float(np.average(rows.baseline_errors, weights=weight)),
    }
    return scored | ({"interval": (low, high)} if np.isfinite(high) else {})


def score_bins(rows: RowSet, schema: Schema) -> list[dict[str, Any]]:
    """Score the bins of each column, and return those with the largest errors, in this order.

    Bins with few rows are left out, and so is a bin that has all rows.
    """
    weight = rows.predictions.weight
    scores = list[dict[str, Any]]()
    for name in schema.features:
        column = schema.columns[name]
        values = rows.table[name]
        bins = profile.Bins.from_values(values, column, MAX_NUMBER_BINS, MAX_CATEGORIES)
        codes = bins.codes(values)
        for code in np.unique(codes):
            mask = codes == code
            if MIN_ROWS <= np.count_nonzero(weight[mask]) < np.count_nonzero(weight):
                where = [[name, bins.names[code]]]
                scores.append({"where": where, "score": score_rows(rows, mask)})
    scores.sort(
        key=lambda each: (-round_for_comparison(each["score"]["value"]), each["where"]),
    )
    return scores[:MAX_BINS]


def describe_conditions(conditions: Slice) -> list[list[str]]:
    """Return the name of each column of a declared slice, and its condition in words."""
    descriptions = []
    for name, condition in conditions.items():
        if isinstance(condition, Range):
            ends = (("from", condition.low), ("to", condition.high))
            texts = {
                word: f"{end:g}" if isinstance(end, float) else end
                for word, end in ends
            }
            text = " ".join(
                f"{word} {end}" for word, end in texts.items() if end is not None
            )
        else:
            text = " or ".join(map(str, condition))
        descriptions.append([name, text])
    return descriptions


def is_in_slice(table: pa.Table, schema: Schema, conditions: Slice) -> np.ndarray:
    """Return whether each row is in a declared slice: bool, (rows,). Missing values are in none."""
    selected = np.ones(len(table), bool)
    for name, condition in conditions.items():
        values = table[name]
        column = schema.columns[name]
        mask = ~profile.missing_mask(values)
        if isinstance(condition, Range):
            numbers, (low, high) = (
                profile.numeric_values(values, column),
                condition.ends,
            )
            mask[mask] = (low <= numbers) & (numbers <= high)
        else:
            mask &= profile.is_among(values, pa.array(condition, values.type))
        selected &= mask
    return selected


def largest_errors(folder: Path, test: Predictions, schema: Schema) -> dict[str, Any]:
    """Compute the content of `metrics/errors.json`.

    It has under `rows` the test rows with the largest loss, each with its prediction
    and columns.
    """
    largest = np.argsort(-test.row_losses, kind="stable")[:MAX_ERRORS]
    largest_rows = test.select(largest)
    task = test.task
    table = dataset(parquet.part_paths(folder)).take(pa.array(largest))
    names = (schema.target, *schema.features)
    errors = []
    for n, cells in enumerate(table.select(names).to_pylist()):
        values = {name: _json_value(value) for name, value in cells.items()}
        error: dict[str, Any] = {"true": values.pop(schema.target)}
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
