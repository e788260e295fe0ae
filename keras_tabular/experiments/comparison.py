"""Comparison of a run with its baselines and with another run."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import SCHEMA
from keras_tabular.core.files import md5_hash
from keras_tabular.core.nested import flatten
from keras_tabular.experiments.gate import compare_with_base
from keras_tabular.experiments.paired import paired_scores
from keras_tabular.experiments.run import Run, locked_inputs, locked_outputs, mismatch
from keras_tabular.scoring.evaluation import MODEL, Score
from keras_tabular.tasks.metrics import AVERAGES, COST, metrics_by_key

REPORT_FILES = ("slices", "effects", "columns", "networks", "profile", "repeats", "validation")
MAX_RELATIVE_DIFFERENCE = 1e-4  # of scores that are shown as the same
MAX_ROUNDING = 1e-9  # of a difference


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
        if is_close and (difference is None or abs(difference.value) < MAX_ROUNDING):
            return "same"
        if difference and difference.within_chance:
            return "not_significant"
        # Without an interval, the scores may even be those of other rows.
        change = difference.value if difference else value - other.value
        return "better" if (change > 0) == self.greater_is_better else "worse"


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
        verdict: The verdict of the gate, if the run has one, with the checks against the base.
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

    def __init__(self, run: Run, other: Run | None) -> None:
        self.run, self.evaluation, self.verdict = run, run.require_evaluation(), run.verdict
        self.not_compared = mismatch(run, other) if other else ""
        self.base = base = None if self.not_compared else other
        if other and self.verdict:
            self.verdict = compare_with_base(self.verdict, run, other, run.gate)
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
        paired = paired_scores(run, base) if base else {}
        self.shared_rows = max((score.rows for score in paired.values()), default=0)
        differences = {metric: score.difference for metric, score in paired.items()}
        base_evaluation = base.require_evaluation() if base else None
        has_same_costs = base_evaluation and base_evaluation.costs == self.evaluation.costs
        base_scores = {
            score.metric: score.model_copy(update={"difference": differences.get(score.metric)})
            for score in (base_evaluation.scores if base_evaluation else ())
            if (score.row_set, score.model) == ("test", MODEL)
            and (score.metric != COST or has_same_costs)
        }
        self.scores = {
            row_set: compare_scores(
                [score for score in self.evaluation.scores if score.row_set == row_set],
                base_scores if row_set == "test" else {},
                self.evaluation.custom_metrics,
                first=self.evaluation.primary_metrics,
            )
            for row_set in self.evaluation.row_sets()
        }


def compare_scores(
    scores: Iterable[Score],
    base: Mapping[str, Score],
    custom_metrics: Mapping[str, bool],
    keys: Iterable[str] = (),
    first: Iterable[str] = (),
) -> dict[str, ScoreRow]:
    """Arrange the scores for one set of rows by metric.

    Args:
        scores: Scores of the model and of the baselines.
        base: Scores of the base for the same set of rows, by metric key.
        custom_metrics: Whether greater is better, by the name of each metric of the project.
        keys: Metric keys that have a row even if they are undefined everywhere.
        first: Metric keys whose rows come first.

    Returns:
        The rows by metric key, in the order in which metrics are shown.
    """
    by_metric: dict[str, dict[str, Score]] = {key: {} for key in (*keys, *base)}
    for score in scores:
        by_metric.setdefault(score.metric, {})[score.model] = score
    metrics = metrics_by_key(custom_metrics)
    names = sorted({name for models in by_metric.values() for name in models} - {MODEL})
    return {
        key: ScoreRow(
            *(key, metrics[key].label, AVERAGES.get(key.rpartition(".")[0], "")),
            *(metrics[key].greater_is_better, by_metric[key].get(MODEL), base.get(key)),
            {name: by_metric[key].get(name) for name in names},
        )
        for key in dict.fromkeys((*first, *metrics))
        if key in by_metric
    }


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
