"""Differences between the scores of two runs on the same test rows."""

from functools import cache

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.experiments.run import Run
from keras_tabular.scoring.evaluation import Difference
from keras_tabular.scoring.scores import Predictions
from keras_tabular.scoring.uncertainty import score_and_resample


@cache
def paired_differences(run: Run, base: Run) -> dict[str, Difference]:
    """Compare the scores of two runs on the same test rows, by metric key.

    A run keeps only some of many test rows. The difference is then that on all rows, and the
    interval that on the kept rows, moved and narrowed to the number of all rows. The result is
    empty if a run has kept no rows, or if the labels of the rows differ.
    """
    rows, base_rows = read_test_rows(run), read_test_rows(base)
    if rows is None or base_rows is None or not np.array_equal(rows.y, base_rows.y):
        return {}
    base_rows = base_rows._replace(group=rows.group)
    on_kept_rows = score_and_resample(rows).differences(score_and_resample(base_rows))
    evaluation, base_evaluation = run.require_evaluation(), base.require_evaluation()
    n_rows = evaluation.rows("test")
    if n_rows <= len(rows.y):
        return on_kept_rows
    width_ratio = (len(rows.y) / n_rows) ** 0.5
    differences = {}
    for key, paired in on_kept_rows.items():
        value, base_value = evaluation.value("test", key), base_evaluation.value("test", key)
        if value is not None and base_value is not None:
            difference = value - base_value
            low, high = (
                difference + width_ratio * (end - paired.value) for end in (paired.low, paired.high)
            )
            differences[key] = Difference(value=difference, low=low, high=high)
    return differences


def read_test_rows(run: Run) -> Predictions | None:
    """Read the test rows that a run has kept, see `kept_test_rows`; None if there are none."""
    rows = run.read_points("test_rows")
    if not rows:
        return None
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    y_pred = np.column_stack([columns[name] for name in columns if name.startswith("output_")])
    weight = columns.get("weight", np.ones(len(rows)))
    threshold = run.require_evaluation().threshold
    threshold = 0.5 if threshold is None else threshold
    group = columns["group"].astype(int) if "group" in columns else None
    task = Schema.model_validate(run.schema).learning_task
    return Predictions(task, columns["y"], y_pred, weight, threshold, group)
