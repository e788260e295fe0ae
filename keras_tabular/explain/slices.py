"""Where errors are larger: declared slices, bins of columns, and the largest errors."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow.dataset import dataset

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Range, Slice
from keras_tabular.evaluation.records import SLICE, Score
from keras_tabular.evaluation.result import Result, compare_with_baselines
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.uncertainty import (
    mean_interval,
    score_and_resample,
    share_interval,
)
from keras_tabular.table import parquet
from keras_tabular.table.arrays import round_for_comparison
from keras_tabular.table.profile import Bins, is_among, missing_mask, numeric_values

# Bins of each column, if it has numbers or categories.
MAX_NUMBER_BINS = 4
MAX_CATEGORY_BINS = 8
# Rows of a bin, which has no score with fewer.
MIN_ROWS_IN_BIN = 30
# Bins that are listed.
MAX_BINS = 10
# Rows that are listed, and the characters of their texts.
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
    names = {schema.target}.union(*declared.values())
    table = pa.concat_tables(parquet.read_parts(folder, sorted(names)))
    scores = list[Score]()
    for name, conditions in declared.items():
        rows = test.select(is_in_slice(table, schema, conditions))
        if rows.weight.any():
            scored = score_and_resample(rows)
            scores += compare_with_baselines(scored, {}, {}, (), SLICE + name)
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
    first_set = row_sets[0]
    test_set = row_sets[-1]

    def score_conditions(conditions: Slice) -> dict[str, Any]:
        in_first_set = is_in_slice(first_set.table, schema, conditions)
        in_test_set = is_in_slice(test_set.table, schema, conditions)
        return {
            "score": score_rows(first_set, in_first_set),
            "test": score_rows(test_set, in_test_set),
            "where": describe_conditions(conditions),
        }

    return {
        "bins": score_bins(first_set, schema),
        "metric": first_set.metric,
        "row_set": first_set.name,
        "all_rows": score_conditions({}),
        "declared": {
            name: score_conditions(conditions) for name, conditions in declared.items()
        },
    }


def select_predicted(name: str, table: pa.Table, result: Result) -> RowSet:
    """Return the rows of a table that the model and gradient boosting predicted."""
    baseline_y_pred = result.baselines.predictions["gradient_boosting"][name]
    predictions = result.predictions[name]
    # The model and the baseline may have predicted fewer rows.
    n_rows = min(len(table), len(baseline_y_pred), len(predictions.y))
    predictions = predictions.select(slice(n_rows))
    baseline = predictions._replace(
        y_pred=baseline_y_pred,
        threshold=result.thresholds[name]["gradient_boosting"],
    ).select(slice(n_rows))
    task = predictions.task
    return RowSet(
        name,
        table[:n_rows],
        predictions,
        metric="error" if task.classes else task.main_metric,
        errors=predictions.row_errors,
        baseline_errors=baseline.row_errors,
    )


def score_rows(rows: RowSet, mask: np.ndarray) -> dict[str, Any]:
    """Return the mean error of some rows as `value`, and that of `gradient_boosting`.

    It has an `interval` if that is finite. The result is empty if the weight of all
    rows is 0.

    Args:
        mask: Whether each row is one of them, shape (rows,).
    """
    weight = rows.predictions.weight * mask
    if not weight.any():
        return {}
    compute_interval = share_interval if rows.metric == "error" else mean_interval
    value, low, high = compute_interval(rows.errors, weight, rows.predictions.group)
    scored: dict[str, Any] = {
        "rows": int(np.count_nonzero(weight)),
        "value": value,
        "gradient_boosting": np.average(rows.baseline_errors, weights=weight),
    }
    if np.isfinite(high):
        scored["interval"] = (low, high)
    return scored


def score_bins(rows: RowSet, schema: Schema) -> list[dict[str, Any]]:
    """Score the bins of each column, and return those with the largest errors.

    Bins with few rows are left out, and so is a bin that has all rows. The bin with the
    largest error is the first.
    """
    weight = rows.predictions.weight
    n_rows = np.count_nonzero(weight)
    scores = list[dict[str, Any]]()
    for name in schema.features:
        column = schema.columns[name]
        values = rows.table[name]
        bins = Bins.from_values(values, column, MAX_NUMBER_BINS, MAX_CATEGORY_BINS)
        codes = bins.codes(values)
        for code in np.unique(codes):
            mask = codes == code
            if MIN_ROWS_IN_BIN <= np.count_nonzero(weight[mask]) < n_rows:
                where = [[name, bins.names[code]]]
                scores.append({"where": where, "score": score_rows(rows, mask)})
    scores.sort(
        key=lambda scored: (
            -round_for_comparison(scored["score"]["value"]),
            scored["where"],  # of bins with the same error
        ),
    )
    return scores[:MAX_BINS]


def describe_conditions(conditions: Slice) -> list[list[str]]:
    """Return each column of a declared slice, and its condition in words."""
    descriptions = []
    for name, condition in conditions.items():
        if isinstance(condition, Range):
            ends = []
            for word, end in (("from", condition.low), ("to", condition.high)):
                if end is not None:
                    number = f"{end:g}" if isinstance(end, float) else end
                    ends.append(f"{word} {number}")
            text = " ".join(ends)
        else:
            text = " or ".join(map(str, condition))
        descriptions.append([name, text])
    return descriptions


def is_in_slice(
    table: pa.Table,
    schema: Schema,
    conditions: Slice,
) -> np.ndarray:
    """Return whether each row is in a declared slice: bool, shape (rows,).

    Rows with a missing value are in no slice.
    """
    selected = np.ones(len(table), bool)
    for name, condition in conditions.items():
        values = table[name]
        mask = ~missing_mask(values)
        if isinstance(condition, Range):
            numbers = numeric_values(values, schema.columns[name])
            low, high = condition.ends
            mask[mask] = (low <= numbers) & (numbers <= high)
        else:
            mask &= is_among(values, pa.array(condition, values.type))
        selected &= mask
    return selected


def largest_errors(
    folder: Path,
    test: Predictions,
    schema: Schema,
) -> dict[str, Any]:
    """Compute the content of `metrics/errors.json`.

    It has under `rows` the test rows with the largest loss, each with its prediction
    and columns.
    """
    rows = np.argsort(-test.row_losses, kind="stable")[:MAX_ERRORS]
    predictions = test.select(rows)
    task = predictions.task
    parts = dataset(parquet.part_paths(folder))
    names = (schema.target, *schema.features)
    table = parts.take(pa.array(rows)).select(names)
    errors = []
    for row, cells in enumerate(table.to_pylist()):
        values = {name: _json_value(cell) for name, cell in cells.items()}
        error = {"true": values.pop(schema.target)}
        if task.classes:
            code = predictions.predicted_classes[row]
            error["predicted"] = str(task.classes[code])
            probabilities = task.probabilities(predictions.y_pred[row : row + 1])
            true_code = int(predictions.y[row])
            error["probability_of_true"] = float(probabilities[0, true_code])
        else:
            error["predicted"] = float(predictions.y_pred[row, 0])
        errors.append({**error, "columns": values})
    return {"rows": errors}


def _json_value(value: Any) -> Any:
    """Return a finite number or None as it is, and any other value as text."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    if value is None or is_number:
        return value
    return str(value)[:MAX_TEXT]
