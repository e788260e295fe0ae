"""Compare subgroups of test rows, such as women and men: how they are predicted, and how well.

A subgroup consists of the rows with the same value of a column that `evaluate.groups` declares. The
model need not read the column. These groups are not those of the schema's key `group`, whose rows
depend on each other.

The interval of a difference is computed from the intervals of both groups (Newcombe, "Interval
estimation for the difference between independent proportions", 1998; for means Zou and Donner,
"Construction of confidence limits about effect measures", 2008). With more than two groups, it is
wide enough to hold for all pairs (Bonferroni's correction).
"""

from collections.abc import Mapping
from itertools import chain
from math import comb, hypot
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.column_statistics.bins import Bins
from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.sections import Evaluate
from keras_tabular.evaluation.result import Result, inside_intervals
from keras_tabular.inspection.slices import MAX_NUMBER_BINS, select_rows
from keras_tabular.model_file.metadata import Intervals
from keras_tabular.scoring.evaluation import MODEL, SLICE, Evaluation, score_records
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.scoring.subgroups import (
    ColumnSubgroups,
    Measure,
    Subgroup,
    SubgroupDifference,
)
from keras_tabular.scoring.uncertainty import ALPHA, mean_interval, share_interval
from keras_tabular.table.parquet import read_parts
from keras_tabular.tasks.metrics import MIN_SUBGROUP_ROWS

MAX_SUBGROUPS = 20  # of a column: its most frequent values; other rows are one more subgroup


class RowValues(NamedTuple):
    """The values of all test rows whose mean over a subgroup is a measure of the subgroup.

    Attributes:
        values: Value of each row, shape (rows,).
        weight: Weight of each row, 0 if the measure does not depend on the row; shape (rows,).
        group: Number of the group of each row, whose rows depend on each other; None if the rows
            are independent.
    """

    values: np.ndarray
    weight: np.ndarray
    group: np.ndarray | None

    def measure(self, mask: np.ndarray, alpha: float = ALPHA) -> Measure:
        """Compute the mean over some rows and its interval, which misses with probability alpha."""
        weight = self.weight * mask
        is_share = np.isin(self.values, (0, 1)).all()
        compute_interval = share_interval if is_share else mean_interval
        low, high = compute_interval(self.values, weight, self.group, alpha)
        value = float(np.average(self.values, weights=weight))
        return Measure(value=value, rows=int(np.count_nonzero(weight)), low=low, high=high)


def add_subgroups(
    result: Result, data: Path, schema: Schema, params: Evaluate, intervals: Intervals | None
) -> Evaluation:
    """Add the subgroups and the scores of the slices that params.yaml declares to an evaluation.

    Args:
        result: The evaluation, and the predictions for all test rows.
        data: Folder with `split`.
        params: The section `evaluate` of params.yaml.
        intervals: The prediction intervals of a regression.
    """
    test, scores, subgroups = result.predictions["test"], [*result.evaluation.scores], {}
    slices, measures = params.slices, row_values(test, intervals)
    names = {schema.target, *params.groups, *chain(*slices.values())}
    table = pa.concat_tables(read_parts(data / "split" / "test", sorted(names)))
    for name in params.groups:
        subgroups[name] = compare_subgroups(table[name], schema.columns[name], measures)
    for name, conditions in slices.items():
        rows = test.select(select_rows(table, schema, conditions))
        scores += score_records(SLICE + name, MODEL, score(rows), len(rows.y))
    return result.evaluation.model_copy(update={"subgroups": subgroups, "scores": tuple(scores)})


def row_values(test: Predictions, intervals: Intervals | None) -> dict[str, RowValues]:
    """Return the values of all rows by the keys of `Task.subgroup_measures`."""
    y, weight, scores = test.y, test.weight, test.row_scores
    values = {"error": (1 - scores if test.task.classes else scores, weight)}
    if test.task.has_threshold:
        is_selected = test.predicted_classes.astype(np.float64)
        values["selection_rate"] = is_selected, weight
        values["true_positive_rate"] = is_selected, weight * (y == 1)
        values["false_positive_rate"] = is_selected, weight * (y == 0)
    if not test.task.classes:
        values["mean_prediction"] = test.y_pred[:, 0].astype(np.float64), weight
    if intervals:  # they are for any row, whatever its weight
        values["coverage"] = inside_intervals(test, intervals), np.ones(len(y))
    return {key: RowValues(*arrays, test.group) for key, arrays in values.items()}


def compare_subgroups(
    values: pa.ChunkedArray, column: Column, measures: Mapping[str, RowValues]
) -> ColumnSubgroups:
    """Measure the subgroups of a column, and find the largest difference between them.

    Numbers, dates and lengths of texts form four subgroups if they have more than `MAX_SUBGROUPS`
    values, or so many that there would be fewer than `MIN_SUBGROUP_ROWS` rows for each on average.

    Args:
        values: Value of the column in each test row.
        measures: The result of `row_values`.
    """
    has_few = len(values.unique()) <= min(MAX_SUBGROUPS, len(values) // MIN_SUBGROUP_ROWS)
    count = MAX_SUBGROUPS if has_few or column.kind == "category" else MAX_NUMBER_BINS
    bins = Bins.from_values(values, column, count)
    codes = bins.codes(values)
    masks = [(bins.names[code], codes == code) for code in np.unique(codes)]
    subgroups, differences = [], {}
    for name, mask in masks:
        defined = {k: rows.measure(mask) for k, rows in measures.items() if rows.weight[mask].any()}
        subgroups.append(Subgroup(name=name, rows=int(mask.sum()), measures=defined))
    for key, rows in measures.items():
        compared = [m for m in masks if np.count_nonzero(rows.weight[m[1]]) >= MIN_SUBGROUP_ROWS]
        if len(compared) > 1:
            differences[key] = largest_difference(rows, compared)
    return ColumnSubgroups(subgroups=tuple(subgroups), differences=differences)


def largest_difference(rows: RowValues, masks: list[tuple[str, np.ndarray]]) -> SubgroupDifference:
    """Subtract the lowest from the highest value of a measure in some subgroups.

    Args:
        masks: Name and rows of each subgroup, bool, shape (rows,).
    """
    alpha = ALPHA / comb(len(masks), 2)  # for all pairs of subgroups (Bonferroni)
    measured = [(name, rows.measure(mask, alpha)) for name, mask in masks]
    (lowest, other), *_, (highest, this) = sorted(measured, key=lambda pair: pair[1].value)
    value = this.value - other.value
    low = value - hypot(this.value - this.low, other.high - other.value)
    high = value + hypot(this.high - this.value, other.value - other.low)
    return SubgroupDifference(
        value=value,
        rows=this.rows + other.rows,
        low=low,
        high=high,
        highest=highest,
        lowest=lowest,
    )
