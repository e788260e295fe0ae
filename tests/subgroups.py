"""Compare groups of rows with fairlearn."""

from typing import Any

import pandas as pd
import pytest
from fairlearn import metrics
from sklearn.metrics import zero_one_loss

from keras_tabular.scoring.subgroups import ColumnGroups
from keras_tabular.tasks.metrics import MIN_SUBGROUP_ROWS

FUNCTIONS = {
    "selection_rate": metrics.selection_rate,
    "true_positive_rate": metrics.true_positive_rate,
    "false_positive_rate": metrics.false_positive_rate,
    "error": zero_one_loss,
}


def assert_equals_fairlearn(
    groups: ColumnGroups, y: Any, predicted: Any, values: pd.Series, weight: Any
) -> None:
    """Compare all measures and differences of the groups of a column of two classes.

    Args:
        values: Name of the group of each row.
    """

    def by_group(rows: Any) -> Any:
        weights = {key: {"sample_weight": weight[rows]} for key in FUNCTIONS}
        arrays = {"y_true": y[rows], "y_pred": predicted[rows], "sensitive_features": values[rows]}
        return metrics.MetricFrame(metrics=FUNCTIONS, sample_params=weights, **arrays)

    expected = by_group(slice(None)).by_group
    assert {group.name: group.rows for group in groups.groups} == values.value_counts().to_dict()
    for group in groups.groups:
        assert {*FUNCTIONS} - {*group.measures} <= {"true_positive_rate", "false_positive_rate"}
        for key, measure in group.measures.items():
            assert measure.value == pytest.approx(expected.loc[group.name, key], abs=1e-6)
            assert measure.low - 1e-9 <= measure.value <= measure.high + 1e-9
    for key, difference in groups.differences.items():
        counts = {g.name: g.measures[key].rows for g in groups.groups if key in g.measures}
        enough = [name for name, rows in counts.items() if rows >= MIN_SUBGROUP_ROWS]
        frame_of_enough = by_group(values.isin(enough).to_numpy())
        assert difference.value == pytest.approx(frame_of_enough.difference()[key], abs=1e-6)
        assert difference.low <= difference.value <= difference.high
