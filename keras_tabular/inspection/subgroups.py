"""Compare subgroups of test rows, such as women and men: how they are predicted, and how well.

A subgroup consists of the rows with the same value of a column that `evaluate.groups` declares. The
model need not read the column. These groups are not those of the schema's key `group`, whose rows
depend on each other.

The interval of a difference is computed from the intervals of both groups (Newcombe, "Interval
estimation for the difference between independent proportions", 1998; for means Zou and Donner,
"Construction of confidence limits about effect measures", 2008). With more than two groups, it is
wide enough to hold for all pairs (Bonferroni's correction).
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import comb, hypot
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.column_statistics.bins import Bins
from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.sections import Evaluate
from keras_tabular.evaluation.result import Result, inside_intervals
from keras_tabular.inspection.slices import MAX_NUMBER_BINS, select_rows
from keras_tabular.model_file.metadata import Intervals
from keras_tabular.scoring.evaluation import (
    MODEL,
    SLICE,
    SUBGROUP,
    ColumnSubgroups,
    Evaluation,
    Score,
    Subgroup,
    SubgroupDifference,
    score_records,
)
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.scoring.uncertainty import ALPHA, score_mean
from keras_tabular.table.parquet import read_parts
from keras_tabular.tasks.metrics import MIN_SUBGROUP_ROWS

MAX_SUBGROUPS = 20  # of a column: its most frequent values; other rows are one more subgroup


# For each measure, the values of all test rows whose mean over a subgroup is the measure, and their
# weights, which are 0 if the measure does not depend on the row; both of shape (rows,).
Measures = Mapping[str, tuple[np.ndarray, np.ndarray]]


def add_subgroups(
    result: Result, split: Path, schema: Schema, params: Evaluate, intervals: Intervals | None
) -> Evaluation:
    """Add the subgroups and the scores of the slices that params.yaml declares to an evaluation.

    Args:
        result: The evaluation, and the predictions for all test rows.
        split: Folder with the table `test`.
        params: The section `evaluate` of params.yaml.
        intervals: The prediction intervals of a regression.
    """
    test, scores, subgroups = result.predictions["test"], [*result.evaluation.scores], {}
    slices, measures = params.slices, row_values(test, intervals)
    names = {schema.target, *params.groups, *chain(*slices.values())}
    table = pa.concat_tables(read_parts(split / "test", sorted(names)))
    for name in params.groups:
        column = schema.columns[name]
        subgroups[name] = compare_subgroups(name, column, table[name], measures, test.group)
    for name, conditions in slices.items():
        rows = test.select(select_rows(table, schema, conditions))
        scores += score_records(SLICE + name, MODEL, score(rows), len(rows.y))
    return result.evaluation.model_copy(update={"subgroups": subgroups, "scores": tuple(scores)})


def row_values(test: Predictions, intervals: Intervals | None) -> Measures:
    """Return the values of all rows by the keys of `Task.subgroup_measures`."""
    y, weight = test.y, test.weight
    values = {"error": (test.row_errors, weight)}
    if test.task.has_threshold:
        is_selected = test.predicted_classes.astype(np.float64)
        values["selection_rate"] = is_selected, weight
        values["true_positive_rate"] = is_selected, weight * (y == 1)
        values["false_positive_rate"] = is_selected, weight * (y == 0)
    if not test.task.classes:
        values["mean_prediction"] = test.y_pred[:, 0].astype(np.float64), weight
    if intervals:  # they are for any row, whatever its weight
        values["coverage"] = inside_intervals(test, intervals), np.ones(len(y))
    return values


def compare_subgroups(
    name: str, column: Column, cells: pa.ChunkedArray, measures: Measures, group: np.ndarray | None
) -> ColumnSubgroups:
    """Measure the subgroups of a column, and find the largest difference between them.

    Numbers, dates and lengths of texts form four subgroups if they have more than `MAX_SUBGROUPS`
    values, or so many that there would be fewer than `MIN_SUBGROUP_ROWS` rows for each on average.

    Args:
        name: Name of the column.
        cells: Value of the column in each test row.
        measures: The result of `row_values`.
        group: Number of the group of each row, whose rows depend on each other.
    """
    has_few = len(cells.unique()) <= min(MAX_SUBGROUPS, len(cells) // MIN_SUBGROUP_ROWS)
    count = MAX_SUBGROUPS if has_few else MAX_NUMBER_BINS
    bins = Bins.from_values(cells, column, count, MAX_SUBGROUPS)
    codes = bins.codes(cells)
    masks = [(bins.names[code], codes == code) for code in np.unique(codes)]

    def measure(key: str, mask: np.ndarray, alpha: float = ALPHA) -> Score:
        values, weight = measures[key]
        return score_mean(SUBGROUP + name, key, values, weight * mask, group, alpha)

    subgroups, differences = [], {}
    for subgroup, mask in masks:
        defined = [key for key, (_, weight) in measures.items() if weight[mask].any()]
        scores = {key: measure(key, mask) for key in defined}
        subgroups.append(Subgroup(name=subgroup, rows=int(mask.sum()), measures=scores))
    for key, (_, weight) in measures.items():
        compared = [m for m in masks if np.count_nonzero(weight[m[1]]) >= MIN_SUBGROUP_ROWS]
        if len(compared) > 1:
            alpha = ALPHA / comb(len(compared), 2)  # for all pairs of subgroups (Bonferroni)
            measured = [(subgroup, measure(key, mask, alpha)) for subgroup, mask in compared]
            differences[key] = largest_difference(measured)
    return ColumnSubgroups(subgroups=tuple(subgroups), differences=differences)


def largest_difference(scores: Sequence[tuple[str, Score]]) -> SubgroupDifference:
    """Subtract the lowest from the highest of the scores of some subgroups, by their names."""
    (lowest, other), *_, (highest, this) = sorted(scores, key=lambda pair: pair[1].value)
    value, interval = this.value - other.value, None
    if this.interval and other.interval:
        (low, high), (other_low, other_high) = this.interval, other.interval
        below = hypot(this.value - low, other_high - other.value)
        above = hypot(high - this.value, other.value - other_low)
        interval = value - below, value + above
    return SubgroupDifference(value=value, interval=interval, highest=highest, lowest=lowest)
