"""Compare subgroups of rows with fairlearn."""

from typing import Any

import pandas as pd
import pytest
from fairlearn import metrics
from sklearn.metrics import zero_one_loss

from keras_tabular.scoring.evaluation import ColumnSubgroups
from keras_tabular.tasks.metrics import MIN_SUBGROUP_ROWS

FUNCTIONS = {
    "selection_rate": metrics.selection_rate,
    "true_positive_rate": metrics.true_positive_rate,
    "false_positive_rate": metrics.false_positive_rate,
    "error": zero_one_loss,
}


def assert_equals_fairlearn(
    compared: ColumnSubgroups, y: Any, predicted: Any, values: pd.Series, weight: Any
) -> None:
    """Compare all measures and differences of the subgroups of a column of two classes.

    Args:
        values: Name of the subgroup of each row.
    """

    def by_subgroup(rows: Any) -> Any:
        weights = {key: {"sample_weight": weight[rows]} for key in FUNCTIONS}
        arrays = {"y_true": y[rows], "y_pred": predicted[rows], "sensitive_features": values[rows]}
        return metrics.MetricFrame(metrics=FUNCTIONS, sample_params=weights, **arrays)

    expected, subgroups = by_subgroup(slice(None)).by_group, compared.subgroups
    assert {each.name: each.rows for each in subgroups} == values.value_counts().to_dict()
    for subgroup in subgroups:
        assert {*FUNCTIONS} - {*subgroup.measures} <= {"true_positive_rate", "false_positive_rate"}
        for key, score in subgroup.measures.items():
            assert score.value == pytest.approx(expected.loc[subgroup.name, key], abs=1e-6)
            assert score.interval
            assert score.interval[0] - 1e-9 <= score.value <= score.interval[1] + 1e-9
    for key, difference in compared.differences.items():
        counts = {each.name: each.measures[key].rows for each in subgroups if key in each.measures}
        enough = [name for name, rows in counts.items() if rows >= MIN_SUBGROUP_ROWS]
        frame_of_enough = by_subgroup(values.isin(enough).to_numpy())
        assert difference.value == pytest.approx(frame_of_enough.difference()[key], abs=1e-6)
        assert difference.interval
        assert difference.interval[0] <= difference.value <= difference.interval[1]
