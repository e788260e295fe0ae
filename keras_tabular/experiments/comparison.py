"""Comparison of a run with its baselines and with another run."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import SCHEMA, Schema
from keras_tabular.core.files import md5_hash
from keras_tabular.core.nested import flatten
from keras_tabular.experiments.run import Run, locked_inputs, locked_outputs
from keras_tabular.experiments.verdict import Verdict
from keras_tabular.scoring.evaluation import MODEL, Difference, Score
from keras_tabular.scoring.scores import Predictions
from keras_tabular.scoring.uncertainty import score_and_resample
from keras_tabular.tasks.metrics import AVERAGES, Metric, metrics_by_key

REPORT_FILES = ("slices", "effects", "columns", "networks", "profile", "validation")
TEXT_COLUMNS = {"true class", "predicted class", "column"}  # of the files with plot data
METRICS_OF_TASKS = metrics_by_key({})
MAX_RELATIVE_DIFFERENCE = 1e-4  # of scores that are shown as the same


class ScoreRow(NamedTuple):
    """One metric of a run, of its base and of its baselines, for the same row set.

    Attributes:
        average: How the score is averaged over the classes, in words; empty if it is not.
        model: The score of the run; None if it is undefined, as for the other scores.
        base: The score of the base, with the difference of the run from it.
        baselines: The score of each baseline by its name.
    """

    key: str
    label: str
    average: str
    greater_is_better: bool
    model: Score | None
    base: Score | None
    baselines: dict[str, Score | None]

    def outcome(self, other: Score | None) -> str:
        """Compare the run with another score.

        Returns:
            `better`, `worse`, `same`, or `not_significant` if the interval of the difference
            contains 0; empty if one of the two scores is undefined.
        """
        if self.model is None or other is None:
            return ""
        value, difference = self.model.value, other.difference
        is_close = math.isclose(value, other.value, rel_tol=MAX_RELATIVE_DIFFERENCE)
        if is_close and not (difference and difference.value):
            return "same"
        if difference and difference.within_chance:
            return "not_significant"
        return "better" if (value > other.value) == self.greater_is_better else "worse"


class ChangedValue(NamedTuple):
    """A value that differs between two runs; None if a run does not have it."""

    name: str
    value: Any
    base: Any


class Comparison:
    """Everything that the page or the comment shows about a run and its base.

    Args:
        base: Another run of the same table, if there is one.
        verdict: The verdict to show instead of that of the run.

    Attributes:
        verdict: The verdict of the gate, if the run has one.
        scores: Scores by row set, then by metric key; only those of the test rows are compared
            with the base.
        code: Paths of code that differs.
        data: Differences of the profiles, None if a run has no profile.
        stale: Parameters, and the paths of the schema and the scores, that were edited after the
            run.
        files: Contents of the files of the run that are shown as they are, by `REPORT_FILES`.

    Raises:
        UserError: The run has no scores.
    """

    def __init__(self, run: Run, base: Run | None, verdict: Verdict | None = None) -> None:
        self.run, self.base, self.verdict = run, base, verdict or run.verdict
        self.evaluation = evaluation = run.require_evaluation()
        self.files = {name: run.load(run.metrics / f"{name}.json") for name in REPORT_FILES}
        self.stale = _find_stale(run)
        runs = base or run, run  # without a base, nothing differs
        self.params = changed_values(*map(_settings, runs))
        self.packages = changed_values(*map(_locked_versions, runs))
        self.code = _changed_code(*runs)
        profiles = [each.load(each.metrics / "profile.json") for each in runs]
        self.data = changed_values(*profiles) if all(profiles) else None
        splits = [locked_outputs(each.lock).get("data/split") for each in runs]
        self.test_rows_differ = all(splits) and splits[0] != splits[1]
        metrics, with_base = metrics_by_key(evaluation.custom_metrics), dict[str, Score]()
        if base:
            paired = {} if self.test_rows_differ else paired_differences(run, base)
            with_base = base_scores(base, paired)
        self.scores = {
            row_set: compare_scores(
                [score for score in evaluation.scores if score.row_set == row_set],
                with_base if row_set == "test" else {},
                metrics=metrics,
            )
            for row_set in evaluation.row_sets()
        }


def compare_scores(
    scores: Iterable[Score],
    base: Mapping[str, Score] = MappingProxyType({}),
    keys: Iterable[str] = (),
    metrics: Mapping[str, Metric] = METRICS_OF_TASKS,
) -> dict[str, ScoreRow]:
    """Arrange the scores for one set of rows by metric.

    Args:
        scores: Scores of the model and of the baselines.
        base: Scores of the base for the same set of rows, by metric key.
        keys: Metric keys that have a row even if they are undefined everywhere.
        metrics: The metrics to compare, by their keys, in the order of the result.

    Returns:
        The rows by metric key.
    """
    by_metric: dict[str, dict[str, Score]] = {key: {} for key in (*keys, *base)}
    for score in scores:
        by_metric.setdefault(score.metric, {})[score.model] = score
    names = sorted({name for models in by_metric.values() for name in models} - {MODEL})
    return {
        key: ScoreRow(
            *(key, metric.label, AVERAGES.get(key.rpartition(".")[0], "")),
            *(metric.greater_is_better, by_metric[key].get(MODEL), base.get(key)),
            {name: by_metric[key].get(name) for name in names},
        )
        for key, metric in metrics.items()
        if key in by_metric
    }


def base_scores(base: Run, differences: Mapping[str, Difference]) -> dict[str, Score]:
    """Return the scores of the base on its test rows by metric, with the differences from them."""
    return {
        score.metric: score.model_copy(update={"difference": differences.get(score.metric)})
        for score in base.require_evaluation().scores
        if (score.row_set, score.model) == ("test", MODEL)
    }


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
    scored, base_scored = (score_and_resample(each) for each in (rows, base_rows))
    on_kept_rows = scored.differences(base_scored)
    evaluation, base_evaluation = (each.require_evaluation() for each in (run, base))
    n_rows = evaluation.rows("test")
    if n_rows <= len(rows.y):
        return on_kept_rows
    width_ratio = (len(rows.y) / n_rows) ** 0.5
    differences = {}
    for key, paired in on_kept_rows.items():
        value, base_value = (each.value("test", key) for each in (evaluation, base_evaluation))
        if value is not None and base_value is not None:
            difference = value - base_value
            low, high = (
                difference + width_ratio * (end - paired.value) for end in (paired.low, paired.high)
            )
            differences[key] = Difference(value=difference, low=low, high=high)
    return differences


def read_test_rows(run: Run) -> Predictions | None:
    """Read the test rows that a run has kept, see `kept_test_rows`; None if there are none."""
    rows = read_points(run, "test_rows")
    if not rows:
        return None
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    y_pred = np.column_stack([columns[name] for name in columns if name.startswith("output_")])
    weight = columns.get("weight", np.ones(len(rows)))
    threshold = run.require_evaluation().threshold
    threshold = 0.5 if threshold is None else threshold
    group = columns["group"].astype(int) if "group" in columns else None
    task = Schema.model_validate(run.schema).learning_task
    return Predictions(task, columns["y"], y_pred, weight, threshold, group)


def read_points(run: Run, name: str, folder: str = "plots") -> list[dict[str, Any]]:
    """Read a file of plot data in `metrics/`; an empty cell is None, others are numbers or text."""
    text = run.read(run.metrics / folder / f"{name}.csv")
    return [
        {
            key: cell if key in TEXT_COLUMNS else float(cell) if cell else None
            for key, cell in row.items()
        }
        for row in csv.DictReader(io.StringIO(text))
    ]


def changed_values(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[ChangedValue]:
    """List the leaves of nested mappings that differ, by dotted key."""
    before, after = dict(flatten(old)), dict(flatten(new))
    return [
        ChangedValue(name, after.get(name), before.get(name))
        for name in after | before
        if before.get(name) != after.get(name)
    ]


def _settings(run: Run) -> dict[str, Any]:
    """Return the parameters of the results, and the keys of the schema as DVC names them."""
    params = run.params or run.load(PARAMS)
    return params | {f"{SCHEMA}:{key}": value for key, value in run.schema.items()}


def _changed_code(base: Run, run: Run) -> list[str]:
    """List the paths of code that the stages use and whose content differs."""
    changed = changed_values(locked_inputs(base.lock), locked_inputs(run.lock))
    paths, code = [each.name for each in changed], ("keras_tabular/", "requirements.txt")
    return sorted(path for path in paths if path.startswith(code) or path.endswith(".py"))


def _locked_versions(run: Run) -> dict[str, str]:
    """Return the version of each package that requirements.txt locks."""
    text = run.read("requirements.txt")
    return dict(re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


def _find_stale(run: Run) -> list[str]:
    """List what was edited after the run: parameters, the schema or the scores."""
    current = run.load(PARAMS)
    current = {section: current.get(section) for section in run.params}
    names = [changed.name for changed in changed_values(run.params, current)]
    scores = str(run.metrics / "scores.json")
    locked = locked_inputs(run.lock) | {scores: locked_outputs(run.lock).get(scores, {}).get("md5")}
    for path in (str(SCHEMA), scores):
        md5 = md5_hash(run.read(path).encode())
        names += [path] if locked.get(path) not in (None, md5) else []
    return names
