"""Compare groups of test rows, such as women and men: how they are predicted, and how well.

A group consists of the rows with the same value of a column that `evaluate.groups` declares. The
model need not read the column. These groups are not those of the schema's key `group`, whose rows
depend on each other.

The interval of a difference is computed from the intervals of both groups (Newcombe, "Interval
estimation for the difference between independent proportions", 1998; for means Zou and Donner,
"Construction of confidence limits about effect measures", 2008). With more than two groups, it is
wide enough to hold for all pairs (Bonferroni's correction).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.sections import Evaluate
from keras_tabular.core.metrics import MIN_GROUP_ROWS
from keras_tabular.evaluation.evaluation import (
    ColumnGroups,
    Evaluation,
    Group,
    GroupDifference,
    GroupMeasure,
)
from keras_tabular.evaluation.result import inside_intervals
from keras_tabular.evaluation.scores import Predictions, row_scores, score
from keras_tabular.evaluation.uncertainty import (
    ALPHA,
    error_interval,
    mean_interval,
    share_interval,
)
from keras_tabular.inspection.slices import MAX_NUMBER_BINS, select_rows
from keras_tabular.model_file.bins import Bins
from keras_tabular.model_file.intervals import Intervals
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.table.arrays import predicted_classes
from keras_tabular.table.parquet import read_parts

MAX_GROUPS = 20  # of a column: its most frequent values; the other rows are one more group


class RowValues(NamedTuple):
    """The values whose mean over the rows of a group is a measure of this group.

    Attributes:
        values: Value of each row, shape (rows,).
        weight: Weight of each row, 0 if the measure does not depend on it; shape (rows,).
        interval: The function that computes the interval of the mean.
    """

    values: np.ndarray
    weight: np.ndarray
    interval: Callable[..., tuple[float, float]] = share_interval


def add_groups(
    evaluation: Evaluation,
    data: Path,
    test: Predictions,
    schema: Schema,
    params: Evaluate,
    metadata: ModelMetadata,
) -> Evaluation:
    """Add the groups and the scores of the slices that params.yaml declares to an evaluation.

    Args:
        data: Folder with `split`.
        test: Predictions for all test rows.
        params: The section `evaluate` of params.yaml.
        metadata: Metadata of the model, with the intervals of a regression.
    """
    slices = params.slices
    if not params.groups and not slices:
        return evaluation
    names = {schema.target, *params.groups, *(name for each in slices.values() for name in each)}
    table = pa.concat_tables(read_parts(data / "split" / "test", sorted(names)))
    row_values = measured_values(test, schema, metadata.intervals)
    return replace(
        evaluation,
        groups={
            name: compare_groups(table[name], schema.columns[name], row_values, test.group)
            for name in params.groups
        },
        slices={
            name: score(test.select(select_rows(table, schema, conditions)), schema)
            for name, conditions in slices.items()
        },
    )


def measured_values(
    test: Predictions, schema: Schema, intervals: Intervals | None
) -> dict[str, RowValues]:
    """Return the values of all rows by the keys of `metrics.GROUP_MEASURES`."""
    y, weight, scores = test.y, test.weight, row_scores(test, schema)
    if schema.task == "multiclass":
        return {"error": RowValues(1 - scores, weight)}
    if schema.task == "binary":
        is_selected = predicted_classes(test.y_pred, schema, test.threshold).astype(np.float64)
        return {
            "selection_rate": RowValues(is_selected, weight),
            "true_positive_rate": RowValues(is_selected, weight * (y == 1)),
            "false_positive_rate": RowValues(is_selected, weight * (y == 0)),
            "error": RowValues(1 - scores, weight),
        }
    predicted = test.y_pred[:, 0].astype(np.float64)
    values = {
        "mean_prediction": RowValues(predicted, weight, mean_interval),
        "error": RowValues(scores, weight, error_interval),
    }
    if intervals:  # they are for any row, whatever its weight
        values["coverage"] = RowValues(inside_intervals(test, intervals), np.ones(len(y)))
    return values


def compare_groups(
    values: pa.ChunkedArray,
    column: Column,
    row_values: Mapping[str, RowValues],
    dependent: np.ndarray | None,
) -> ColumnGroups:
    """Measure the groups of a column, and find the largest difference between them.

    Numbers and dates with more than `MAX_GROUPS` values form four groups of about the same size.

    Args:
        values: Value of the column in each test row.
        row_values: The result of `measured_values`.
        dependent: Number of the set of rows that depend on each other, of each row; or None.
    """
    is_short = column.feature_type == "category" or len(values.unique()) <= MAX_GROUPS
    bins = Bins.from_values(values, column, MAX_GROUPS if is_short else MAX_NUMBER_BINS)
    codes, groups = bins.codes(values), {}
    for code in np.unique(codes):
        mask = codes == code
        measures = {
            key: measure(rows, mask, dependent)
            for key, rows in row_values.items()
            if rows.weight[mask].any()
        }
        groups[int(code)] = Group(name=bins.names[code], rows=int(mask.sum()), measures=measures)
    differences = {
        key: largest_difference(key, rows, codes, groups, dependent)
        for key, rows in row_values.items()
        if sum(_is_compared(group, key) for group in groups.values()) > 1
    }
    return ColumnGroups(groups=tuple(groups.values()), differences=differences)


def measure(rows: RowValues, mask: np.ndarray, dependent: np.ndarray | None) -> GroupMeasure:
    """Compute the weighted mean over the rows of a group, with its interval if it has one.

    A single row, or a single set of dependent rows, says nothing about the spread of the values.
    """
    weight = rows.weight * mask
    low, high = rows.interval(rows.values, weight, dependent, ALPHA)
    return GroupMeasure(
        value=float(np.average(rows.values, weights=weight)),
        rows=int(np.count_nonzero(weight)),
        **_interval(low, high),
    )


def largest_difference(
    key: str,
    rows: RowValues,
    codes: np.ndarray,
    groups: Mapping[int, Group],
    dependent: np.ndarray | None,
) -> GroupDifference:
    """Subtract the lowest from the highest value of a measure among the groups with enough rows.

    Args:
        codes: Code of the group of each row, shape (rows,).
        groups: Groups by code. At least two of them have enough rows.
    """
    values = {
        code: group.measures[key].value
        for code, group in groups.items()
        if _is_compared(group, key)
    }
    alpha = ALPHA / math.comb(len(values), 2)

    def interval(code: int) -> tuple[float, float]:
        return rows.interval(rows.values, rows.weight * (codes == code), dependent, alpha)

    lowest, *_, highest = sorted(values, key=values.__getitem__)
    value, (low, high) = values[highest], interval(highest)
    other, (other_low, other_high) = values[lowest], interval(lowest)
    difference = value - other
    return GroupDifference(
        difference=difference,
        highest=groups[highest].name,
        lowest=groups[lowest].name,
        **_interval(
            difference - math.hypot(value - low, other_high - other),
            difference + math.hypot(high - value, other - other_low),
        ),
    )


def _is_compared(group: Group, key: str) -> bool:
    return key in group.measures and group.measures[key].rows >= MIN_GROUP_ROWS


def _interval(low: float, high: float) -> dict[str, float]:
    return {"low": low, "high": high} if 0 < high - low < math.inf else {}
