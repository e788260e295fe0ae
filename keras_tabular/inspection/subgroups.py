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
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.scoring.evaluation import MODEL, SLICE, Evaluation, score_records
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.scoring.subgroups import (
    ColumnSubgroups,
    Measure,
    Subgroup,
    SubgroupDifference,
)
from keras_tabular.scoring.uncertainty import ALPHA, mean_interval
from keras_tabular.table.parquet import read_parts
from keras_tabular.tasks.metrics import MIN_GROUP_ROWS

MAX_GROUPS = 20  # of a column: its most frequent values; the other rows are one more group


class RowValues(NamedTuple):
    """The values of all test rows whose mean over a group is a measure of the group.

    Attributes:
        values: Value of each row, shape (rows,).
        weight: Weight of each row, 0 if the measure does not depend on the row; shape (rows,).
        dependent: For each row, the number of the set of rows that depend on each other; or None.
    """

    values: np.ndarray
    weight: np.ndarray
    dependent: np.ndarray | None

    def measure(self, mask: np.ndarray, alpha: float = ALPHA) -> Measure:
        """Compute the mean over some rows and its interval, which misses with probability alpha."""
        weight = self.weight * mask
        value = float(np.average(self.values, weights=weight))
        low, high = mean_interval(self.values, weight, self.dependent, alpha)
        return Measure(value=value, rows=int(np.count_nonzero(weight)), low=low, high=high)


def add_subgroups(
    result: Result, data: Path, schema: Schema, params: Evaluate, metadata: ModelMetadata
) -> Evaluation:
    """Add the subgroups and the scores of the slices that params.yaml declares to an evaluation.

    Args:
        result: The evaluation, and the predictions for all test rows.
        data: Folder with `split`.
        params: The section `evaluate` of params.yaml.
        metadata: Metadata of the model, with the intervals of a regression.
    """
    test, slices = result.predictions["test"], params.slices
    if not params.groups and not slices:
        return result.evaluation
    names = {schema.target, *params.groups, *(name for each in slices.values() for name in each)}
    table = pa.concat_tables(read_parts(data / "split" / "test", sorted(names)))
    measures, columns = row_values(test, metadata), schema.columns
    groups = {k: compare_subgroups(table[k], columns[k], measures) for k in params.groups}
    masks = {name: select_rows(table, schema, conditions) for name, conditions in slices.items()}
    slice_scores = [
        record
        for name, mask in masks.items()
        for record in score_records(SLICE + name, MODEL, score(test.select(mask)), int(mask.sum()))
    ]
    scores = (*result.evaluation.scores, *slice_scores)
    return result.evaluation.model_copy(update={"subgroups": groups, "scores": scores})


def row_values(test: Predictions, metadata: ModelMetadata) -> dict[str, RowValues]:
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
    if metadata.intervals:  # they are for any row, whatever its weight
        values["coverage"] = inside_intervals(test, metadata.intervals), np.ones(len(y))
    return {key: RowValues(*arrays, test.group) for key, arrays in values.items()}


def compare_subgroups(
    values: pa.ChunkedArray, column: Column, measures: Mapping[str, RowValues]
) -> ColumnSubgroups:
    """Measure the groups of a column, and find the largest difference between them.

    Numbers, dates and lengths of texts form four groups if they have more than `MAX_GROUPS` values,
    or so many that their groups would have fewer than `MIN_GROUP_ROWS` rows on average.

    Args:
        values: Value of the column in each test row.
        measures: The result of `row_values`.
    """
    has_few = len(values.unique()) <= min(MAX_GROUPS, len(values) // MIN_GROUP_ROWS)
    count = MAX_GROUPS if has_few or column.kind == "category" else MAX_NUMBER_BINS
    bins = Bins.from_values(values, column, count)
    codes = bins.codes(values)
    masks = [(bins.names[code], codes == code) for code in np.unique(codes)]
    groups, differences = [], {}
    for name, mask in masks:
        defined = {k: rows.measure(mask) for k, rows in measures.items() if rows.weight[mask].any()}
        groups.append(Subgroup(name=name, rows=int(mask.sum()), measures=defined))
    for key, rows in measures.items():
        compared = [m for m in masks if np.count_nonzero(rows.weight[m[1]]) >= MIN_GROUP_ROWS]
        if len(compared) > 1:
            differences[key] = largest_difference(rows, compared)
    return ColumnSubgroups(groups=tuple(groups), differences=differences)


def largest_difference(rows: RowValues, masks: list[tuple[str, np.ndarray]]) -> SubgroupDifference:
    """Subtract the lowest from the highest value of a measure in some groups.

    Args:
        masks: Name and rows of each group, bool, shape (rows,).
    """
    # The intervals hold for all pairs of groups (Bonferroni).
    measured = [(rows.measure(mask, ALPHA / comb(len(masks), 2)), name) for name, mask in masks]
    (other, lowest), *_, (this, highest) = sorted(measured, key=lambda pair: pair[0].value)
    value = this.value - other.value
    low = value - hypot(this.value - this.low, other.high - other.value)
    high = value + hypot(this.high - this.value, other.value - other.low)
    count, names = this.rows + other.rows, {"highest": highest, "lowest": lowest}
    return SubgroupDifference(value=value, low=low, high=high, rows=count, **names)
