"""A run compared with another one, on the test rows that both have."""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from math import hypot
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.metrics import COST
from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import SCHEMA, Schema
from keras_tabular.config.typed_yaml import flatten
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import md5_hash
from keras_tabular.evaluation.records import MODEL, Difference, compare_scores
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.uncertainty import (
    MIN_ROWS_FOR_INTERVAL,
    score_and_resample,
)
from keras_tabular.model.files import MODEL_FILE
from keras_tabular.runs.run import REPORT_FILES, Run, locked_hashes, mismatch

SPLIT = Path("data/split")
# In each half of a 95% interval; Student's t, since about ten folds of each run
# estimate them.
TRAINING_DEVIATIONS = 2.1
LOCKED_VERSION = re.compile(r"^([\w.-]+)(?:\[.*\])?==(\S+)", re.MULTILINE)
# The keys of rows, see `plot_data.row_keys`, with shape (rows,), and the predictions
# for them.
TestRows = tuple[np.ndarray, Predictions]


class PairedScore(NamedTuple):
    """The score of a base on the test rows that a run shares with it, and the run's difference.

    Attributes:
        rows: Number of these rows.
        base: Score of the base on them.
        difference: Score of the run minus that of the base. Its interval also contains
            how much two trainings with other random numbers differ.
    """

    rows: int
    base: float
    difference: Difference


@cache
def paired_scores(run: Run, base: Run) -> dict[str, PairedScore]:
    """Compare the scores of two runs on the test rows that both have, by metric key.

    If they share too few of them, the model of the base predicts the test rows of the
    run that it has not learnt from; the run has to be the workspace then. The result is
    empty if that is not possible either.

    A run keeps only some of many test rows. If all test rows are the same, the
    difference is that on all of them, and its interval is moved and narrowed to their
    number.
    """
    rows = read_test_rows(run)
    base_rows = read_test_rows(base)
    if rows is None:
        return {}
    keys, predictions = rows
    if (
        base_rows is None
        or len(np.intersect1d(keys, base_rows[0])) < MIN_ROWS_FOR_INTERVAL
    ):
        base_rows = predict_test_rows(run, base)
    if base_rows is None or base_rows[1].task != predictions.task:
        return {}
    base_keys, base_predictions = base_rows
    evaluations = run.require_evaluation(), base.require_evaluation()
    counts = [evaluation.rows("test") for evaluation in evaluations]
    are_same = counts[0] == counts[1] and np.array_equal(keys, base_keys)
    if not are_same:
        keys, first, second = np.intersect1d(keys, base_keys, return_indices=True)
        predictions = predictions.select(first)
        base_predictions = base_predictions.select(second)
    if len(keys) < MIN_ROWS_FOR_INTERVAL:
        return {}
    scored = score_and_resample(predictions)
    base_scored = score_and_resample(base_predictions._replace(group=predictions.group))
    scores = {}
    for key, difference in scored.differences(base_scored).items():
        paired = PairedScore(len(keys), base_scored.values[key], difference)
        value, base_value = (
            evaluation.value("test", key) for evaluation in evaluations
        )
        if are_same and value is not None and base_value is not None:
            ratio = (len(keys) / counts[0]) ** 0.5
            change = value - base_value
            ends = difference.low, difference.high
            low, high = (change + ratio * (end - difference.value) for end in ends)
            difference = Difference(value=change, low=low, high=high)
            paired = PairedScore(counts[0], base_value, difference)
        deviations = (each.training_deviation.get(key, 0.0) for each in evaluations)
        scores[key] = paired._replace(difference=widen(difference, hypot(*deviations)))
    return scores


def widen(difference: Difference, deviation: float) -> Difference:
    """Add an independent standard deviation to the interval of a difference, if it has a width.

    The interval of a model and the same one has none.
    """
    if difference.low == difference.high:
        return difference
    value = difference.value
    spread = TRAINING_DEVIATIONS * deviation
    low, high = (
        hypot(end - value, spread) for end in (difference.low, difference.high)
    )
    return Difference(value=value, low=value - low, high=value + high)


def read_test_rows(run: Run) -> TestRows | None:
    """Read the test rows that a run has kept, see `kept_test_rows`; None if there are none."""
    rows = run.read_points("test_rows")
    if not rows:
        return None
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    outputs = [columns[name] for name in columns if name.startswith("output_")]
    y_pred = np.column_stack(outputs).astype(np.float32)  # as the model predicted them
    weight = columns.get("weight", np.ones(len(rows)))
    evaluation = run.require_evaluation()
    costs = evaluation.costs
    threshold = evaluation.threshold
    group = columns["group"].astype(int) if "group" in columns else None
    task = Schema.model_validate(run.schema).learning_task
    decision = (costs or 0.5) if threshold is None else threshold
    predictions = Predictions(
        task,
        columns["y"],
        y_pred,
        weight,
        decision,
        group,
        costs=costs,
    )
    return columns["row"].astype(np.int64), predictions


def predict_test_rows(run: Run, base: Run) -> TestRows | None:
    """Predict test rows of the workspace that the model of a base has not learnt from.

    Returns:
        None if the model or its training rows are not in DVC's cache, if it cannot read
        the rows, or if the test rows are not those of the run.
    """
    content = base.cached_output(MODEL_FILE)
    files = base.cached_files(SPLIT)
    test = SPLIT / "test"
    if run.sha or content is None or not files or not test.is_dir():
        return None
    import pyarrow.parquet as pq  # these imports take seconds

    from keras_tabular.evaluation import plot_data, result
    from keras_tabular.model.saved_model import load_saved_model
    from keras_tabular.table.groups import stable_hashes

    schema = Schema.model_validate(run.schema)
    names = sorted({schema.target, *schema.features})
    with suppress(UserError, KeyError, ValueError):  # an old model may be of any kind
        model = load_saved_model(MODEL_FILE, content)
        columns = model.metadata.table_schema or schema
        if any(
            columns.columns[name].kind != schema.columns[name].kind for name in names
        ):
            return None
        learnt = [
            stable_hashes(
                pq.read_table(file, columns=names).select(names).columns,
                seed=0,
            )
            for path, file in files.items()
            if not path.startswith("test/")
        ]
        keys = plot_data.row_keys(test, schema)
        is_new = ~np.isin(keys, plot_data.as_keys(np.concatenate(learnt)))
        predictions = result.predict_table(model.predict, test, columns, model.metadata)
        return keys[is_new], predictions.select(is_new)
    return None


class ChangedValue(NamedTuple):
    """A value that differs between two runs; None if a run does not have it."""

    name: str
    value: Any
    base: Any


class Comparison:
    """Everything that the page or the comment shows about a run and its base.

    Args:
        other: Another run, if there is one.

    Attributes:
        base: The other run, if it has the same table and target.
        not_compared: Why the other run cannot be compared; empty if it can.
        scores: Scores by row set, then by metric key; only those of the test rows are
            compared with the base.
        code: Paths of code that differs.
        data: Differences of the profiles, None if a run has no profile.
        stale: Parameters, and the paths of the schema and the scores, that were edited
            after the run.
        files: Contents of the files of the run that are shown as they are, by their
            names.

    Raises:
        UserError: The run has no scores.
    """

    def __init__(self, run: Run, other: Run | None) -> None:
        self.run, self.evaluation = run, run.require_evaluation()
        self.not_compared = mismatch(run, other) if other else ""
        self.base = base = None if self.not_compared else other
        names = *REPORT_FILES, "repeats"
        self.files = {name: run.load(run.metrics / f"{name}.json") for name in names}
        self.stale = _find_stale(run)
        runs = base or run, run  # without a base, nothing differs
        self.params = changed_values(*map(_settings, runs))
        texts = (each.read("requirements.txt") for each in runs)
        self.packages = changed_values(
            *(dict(LOCKED_VERSION.findall(text)) for text in texts),
        )
        changed = changed_values(*(locked_hashes(each.lock, "deps") for each in runs))
        paths = [each.name for each in changed]
        code = ("keras_tabular/", "requirements.txt")
        self.code = sorted(
            path for path in paths if path.startswith(code) or path.endswith(".py")
        )
        profiles = [each.load(each.metrics / "profile.json") for each in runs]
        self.data = changed_values(*profiles) if all(profiles) else None
        splits = [locked_hashes(each.lock, "outs").get("data/split") for each in runs]
        self.test_rows_differ = all(splits) and splits[0] != splits[1]
        paired = paired_scores(run, base) if base else {}
        self.shared_rows = max((score.rows for score in paired.values()), default=0)
        differences = {metric: score.difference for metric, score in paired.items()}
        base_evaluation = base.require_evaluation() if base else None
        has_same_costs = (
            base_evaluation and base_evaluation.costs == self.evaluation.costs
        )
        base_scores = {
            score.metric: score.model_copy(
                update={"difference": differences.get(score.metric)},
            )
            for score in (base_evaluation.scores if base_evaluation else ())
            if (score.row_set, score.model) == ("test", MODEL)
            and (score.metric != COST or has_same_costs)
        }
        self.scores = {
            row_set: compare_scores(
                [score for score in self.evaluation.scores if score.row_set == row_set],
                base_scores if row_set == "test" else {},
                self.evaluation.custom_metrics,
                first=self.evaluation.main_metrics,
            )
            for row_set in self.evaluation.row_sets()
        }


def changed_values(
    old: Mapping[Any, Any],
    new: Mapping[Any, Any],
) -> list[ChangedValue]:
    """List the leaves of nested mappings that differ, by dotted key."""
    before = dict(flatten(old))
    after = dict(flatten(new))
    return [
        ChangedValue(name, after.get(name), before.get(name))
        for name in after | before
        if before.get(name) != after.get(name)
    ]


def _settings(run: Run) -> dict[str, Any]:
    """Return the parameters of the results, and the keys of the schema as DVC names them."""
    params = run.params or run.load(PARAMS)
    return params | {f"{SCHEMA}:{key}": value for key, value in run.schema.items()}


def _find_stale(run: Run) -> list[str]:
    """List what was edited after the run: parameters, the schema or the scores."""
    current = run.load(PARAMS)
    current = {section: current.get(section) for section in run.params}
    names = [changed.name for changed in changed_values(run.params, current)]
    scores = str(run.metrics / "scores.json")
    locked = locked_hashes(run.lock, "deps") | locked_hashes(run.lock, "outs")
    for path in (str(SCHEMA), scores):
        md5 = md5_hash(run.read(path).encode())
        names += [path] if locked.get(path) not in (None, md5) else []
    return names
