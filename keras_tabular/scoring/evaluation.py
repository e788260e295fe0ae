"""The result of an evaluation as typed structures, and their conversion to JSON and back.

Keys with dots become nested objects: `macro.roc_auc` is written as `{"macro": {"roc_auc": ...}}`.
The ends of an interval stand next to their score, as `accuracy_low` and `accuracy_high`. The scores
of a baseline for other row sets than the test rows are nested in its scores for the test rows.
"""

from collections.abc import Collection, ItemsView, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from keras_tabular.core.files import write_json
from keras_tabular.core.nested import flatten, nest
from keras_tabular.scoring.subgroups import ColumnGroups
from keras_tabular.tasks.metrics import CUSTOM, METRIC_KEYS, ROW_SETS
from keras_tabular.tasks.task import Task


class Estimate(NamedTuple):
    """A score with its 95% confidence interval, if it has one."""

    value: float
    interval: tuple[float, float] | None = None


class PairedDifference(NamedTuple):
    """The difference between two scores of the same rows, with its 95% confidence interval."""

    difference: float
    low: float
    high: float

    @property
    def within_chance(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Scores:
    """The scores of one set of rows, by metric key such as `accuracy` or `macro.roc_auc`.

    Undefined scores are left out, which is common. There is no `scores[key]`, so that mypy makes
    every caller handle an undefined score.

    Attributes:
        rows: Number of rows.
    """

    rows: int
    _estimates: Mapping[str, Estimate] = field(default_factory=dict)

    def get(self, key: str) -> Estimate | None:
        """Return a score, or None if it is undefined."""
        return self._estimates.get(key)

    def value(self, key: str) -> float | None:
        """Return a score without its interval, or None if it is undefined."""
        estimate = self.get(key)
        return None if estimate is None else estimate.value

    def items(self) -> ItemsView[str, Estimate]:
        """Iterate over the keys and the estimates of all defined scores."""
        return self._estimates.items()

    def with_intervals(self, intervals: Mapping[str, tuple[float, float]]) -> "Scores":
        """Return the scores with these intervals; those of undefined scores are ignored."""
        return Scores(self.rows, {k: Estimate(e.value, intervals.get(k)) for k, e in self.items()})

    def with_loss(self, loss: float) -> "Scores":
        """Return the scores with another loss, without its interval."""
        return Scores(self.rows, {**self._estimates, "loss": Estimate(loss)})

    def select(self, keys: Collection[str]) -> "Scores":
        """Return only the scores with these keys."""
        return Scores(self.rows, {key: e for key, e in self.items() if key in keys})


@dataclass(frozen=True)
class ScoreSet:
    """The scores of the model and of its baselines for the same rows.

    Attributes:
        baselines: Scores of each baseline, by its name.
        differences: Score of the model minus that of the baseline, by baseline and metric key.
        training_rows: Number of these rows that the model was trained on, if they were counted.
    """

    model: Scores
    baselines: Mapping[str, Scores] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, PairedDifference]] = field(default_factory=dict)
    training_rows: int | None = None

    def difference(self, baseline: str, key: str) -> PairedDifference | None:
        """Return the model's score minus that of a baseline, if both are defined."""
        return self.differences.get(baseline, {}).get(key)


NO_SCORES = ScoreSet(Scores(0))


class IntervalCoverage(NamedTuple):
    """Coverage of the prediction intervals on the test rows.

    Attributes:
        nominal: Share of the values that the intervals should contain.
        coverage: Share of the values that they do contain.
        low, high: The 95% interval of `coverage`.
        mean_width: Mean width of the intervals, in units of the target.
    """

    nominal: float
    coverage: float
    low: float
    high: float
    mean_width: float


class EqualRows(NamedTuple):
    """Rows that are equal to a row from which their prediction was learnt.

    Attributes:
        equal: Number of rows that are equal in all columns that the model reads.
        equal_with_target: Number of rows that are also equal in the target.
        without: Scores of the rows without these.
    """

    equal: int
    equal_with_target: int
    without: Scores


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation of a model.

    Attributes:
        primary_metrics: Keys of the metrics by which the model is compared with its baselines; at
            least one.
        score_sets: Scores of each row set that has rows, by the keys of `metrics.ROW_SETS`. The
            test rows are always among them.
        test_files: Scores of additional test files, by name without the ending.
        slices: Scores of the model for the test rows of each declared slice, by its name.
        groups: Groups of the test rows, by the column that forms them.
        threshold: The lowest probability that counts as positive; None unless there are two
            classes.
        baseline_thresholds: The thresholds of the baselines, by name.
        calibration: The temperature of the probabilities, see `calibration.choose_temperature`;
            empty for a regression.
        interval_coverage: Coverage of the prediction intervals, if the model has any.
        equal_rows: Rows that are equal to rows of the training, by row set.
        outside_training: Share of the test rows outside the training values, by column.
        classes_not_found: Classes with a recall of 0 on the test rows.
        failed_explanations: Error of each explanation that could not be computed, by its name.
        custom_metrics: Whether greater is better, by the name of each metric of the project.
        version: Version of the pipeline that trained the model.
        repeats: On which machines a training has the same result.
    """

    primary_metrics: tuple[str, ...]
    score_sets: Mapping[str, ScoreSet]
    test_files: Mapping[str, ScoreSet] = field(default_factory=dict)
    slices: Mapping[str, Scores] = field(default_factory=dict)
    groups: Mapping[str, ColumnGroups] = field(default_factory=dict)
    threshold: float | None = None
    baseline_thresholds: dict[str, float] = field(default_factory=dict)
    calibration: Mapping[str, float] = field(default_factory=dict)
    interval_coverage: IntervalCoverage | None = None
    equal_rows: Mapping[str, EqualRows] = field(default_factory=dict)
    outside_training: Mapping[str, float] = field(default_factory=dict)
    classes_not_found: tuple[str, ...] = ()
    failed_explanations: Mapping[str, str] = field(default_factory=dict)
    custom_metrics: Mapping[str, bool] = field(default_factory=dict)
    version: str | None = None
    repeats: str | None = None

    @property
    def test(self) -> ScoreSet:
        """The scores for the test rows."""
        return self.score_sets["test"]


EXPLANATION_LOG = Path("evaluate.log")  # has the tracebacks of `failed_explanations`
COVERAGE_KEYS = ("asked", "coverage", "coverage_low", "coverage_high", "mean_width")
# Fields of an evaluation that are written as they are.
PLAIN_FIELDS = (
    *("calibration", "classes_not_found", "custom_metrics", "failed_explanations"),
    *("outside_training", "primary_metrics", "repeats", "threshold", "version"),
)
REQUIRED = {"equal_rows", "outside_training", "repeats", "version"}  # also without content


def write_scores(metrics: Path, evaluation: Evaluation, task: Task) -> None:
    """Write all scores to `scores.json`, and those that readers compare to `metrics.json`."""
    write_json(metrics / "scores.json", to_json(evaluation))
    write_json(metrics / "metrics.json", summary_to_json(evaluation, task))


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of `metrics/scores.json`."""
    coverage = evaluation.interval_coverage
    content = score_sets_to_json(evaluation.score_sets) | {
        "equal_rows": {
            name: rows._asdict() | {"without": scores_to_json(rows.without)}
            for name, rows in evaluation.equal_rows.items()
        },
        "groups": {k: v.model_dump(exclude_defaults=True) for k, v in evaluation.groups.items()},
        "interval": coverage and dict(zip(COVERAGE_KEYS, coverage, strict=True)),
        "slices": {name: scores_to_json(scores) for name, scores in evaluation.slices.items()},
        "tests": {k: _test_file_to_json(scores) for k, scores in evaluation.test_files.items()},
        "thresholds": evaluation.baseline_thresholds,
    }
    content |= {name: getattr(evaluation, name) for name in PLAIN_FIELDS}
    return {key: v for key, v in content.items() if key in REQUIRED or v not in (None, {})}


def score_sets_to_json(score_sets: Mapping[str, ScoreSet]) -> dict[str, Any]:
    """Return the scores of the model and of its baselines for several row sets."""
    content: dict[str, Any] = {}
    for row_set, scores in score_sets.items():
        content[row_set] = scores_to_json(scores.model)
        if scores.baselines:
            differences = content.setdefault("paired_difference", {})
            differences[row_set] = _differences_to_json(scores)
        for name, baseline in scores.baselines.items():
            values = scores_to_json(baseline)
            values = values if row_set == "test" else {row_set: values}
            content.setdefault("baseline", {}).setdefault(name, {}).update(values)
    return content


def scores_to_json(scores: Scores) -> dict[str, Any]:
    """Return the number of rows under `rows`, and the scores with their intervals."""
    values: dict[str, float] = {"rows": scores.rows}
    for key, (value, interval) in scores.items():
        values[key] = value
        if interval:
            values[f"{key}_low"], values[f"{key}_high"] = interval
    return nest(values)


def _test_file_to_json(scores: ScoreSet) -> dict[str, Any]:
    return scores_to_json(scores.model) | {
        "training_rows": scores.training_rows,
        "baseline": {k: scores_to_json(baseline) for k, baseline in scores.baselines.items()},
        "paired_difference": _differences_to_json(scores),
    }


def _differences_to_json(scores: ScoreSet) -> dict[str, Any]:
    return {
        name: nest({key: difference._asdict() for key, difference in by_metric.items()})
        for name, by_metric in scores.differences.items()
    }


def flat(evaluation: Evaluation) -> dict[str, float]:
    """Return all numbers by dotted keys like `test.macro.roc_auc`, as in params.yaml."""
    leaves = flatten(to_json(evaluation))
    return {key: value for key, value in leaves if isinstance(value, int | float)}


def summary_to_json(evaluation: Evaluation, task: Task) -> dict[str, Any]:
    """Return the content of `metrics/metrics.json`: the scores that readers compare.

    - Of the model: the main score, the second one, the loss, the primary metrics and the metrics of
      the project, for the test rows, the folds and additional test files.
    - Of each baseline: the main score and the primary metrics for the test rows.
    - The interval of the first primary metric, and the threshold.
    """
    primary = evaluation.primary_metrics
    test_files = (f"tests.{name}" for name in evaluation.test_files)
    custom = [CUSTOM + name for name in evaluation.custom_metrics]
    model_keys = (task.main_metric, task.second_metric, "loss", *primary, *custom)
    baseline_keys = (task.main_metric, *primary)
    row_sets = ("test", "cross_validation", "forward_chaining", *test_files)
    keys = {"threshold", f"test.{primary[0]}_low", f"test.{primary[0]}_high"}
    keys |= {f"{row_set}.{key}" for row_set in row_sets for key in model_keys}
    keys |= {f"baseline.{name}.{key}" for name in task.baselines.values() for key in baseline_keys}
    return nest({key: value for key, value in flatten(to_json(evaluation)) if key in keys})


# Raised by `from_json` for content in another format, such as that of an old commit.
OTHER_SHAPE = (AttributeError, KeyError, TypeError, ValueError)


def from_json(content: Mapping[str, Any]) -> Evaluation:
    """Read the content of `metrics/scores.json`; all but the test rows may be missing.

    Raises:
        OTHER_SHAPE: The content has another format.
    """
    primary_metrics = tuple(content["primary_metrics"])
    if not primary_metrics or not set(primary_metrics) <= set(METRIC_KEYS):
        raise ValueError
    all_differences, score_sets = content.get("paired_difference", {}), {}
    for row_set in (name for name in ROW_SETS if name == "test" or name in content):
        baselines, differences = content.get("baseline", {}), all_differences.get(row_set, {})
        if row_set != "test":
            baselines = {k: scores[row_set] for k, scores in baselines.items() if row_set in scores}
        score_sets[row_set] = _score_set(content[row_set], baselines, differences)
    coverage = content.get("interval")
    fields = {key: content[key] for key in PLAIN_FIELDS if key in content}
    fields["primary_metrics"] = primary_metrics
    fields["classes_not_found"] = tuple(content.get("classes_not_found", ()))
    return Evaluation(
        score_sets=score_sets,
        test_files={
            name: _score_set(scores, scores["baseline"], scores["paired_difference"])
            for name, scores in content.get("tests", {}).items()
        },
        slices={k: scores_from_json(v) for k, v in content.get("slices", {}).items()},
        groups={k: ColumnGroups.model_validate(v) for k, v in content.get("groups", {}).items()},
        baseline_thresholds=content.get("thresholds", {}),
        interval_coverage=coverage and IntervalCoverage(*(coverage[key] for key in COVERAGE_KEYS)),
        equal_rows={
            name: EqualRows(**rows | {"without": scores_from_json(rows["without"])})
            for name, rows in content.get("equal_rows", {}).items()
        },
        **fields,
    )


def _score_set(scores: Any, baselines: Any, differences: Any) -> ScoreSet:
    return ScoreSet(
        scores_from_json(scores),
        {name: scores_from_json(baseline) for name, baseline in baselines.items()},
        {name: _differences_from_json(by_metric) for name, by_metric in differences.items()},
        scores.get("training_rows"),
    )


def scores_from_json(content: Any) -> Scores:
    """Read the scores of one row set."""
    values = dict(flatten(content))
    estimates = {}
    for key, value in values.items():
        is_custom = key.startswith(CUSTOM) and not key.endswith(("_low", "_high"))
        if key in METRIC_KEYS or is_custom:
            interval = None
            if f"{key}_low" in values:
                interval = (float(values[f"{key}_low"]), float(values[f"{key}_high"]))
            estimates[key] = Estimate(float(value), interval)
    return Scores(int(content["rows"]), estimates)


def _differences_from_json(content: Any) -> dict[str, PairedDifference]:
    values = dict(flatten(content))
    keys = [key.removesuffix(".low") for key in values if key.endswith(".low")]
    ends = PairedDifference._fields
    return {key: PairedDifference(*(float(values[f"{key}.{end}"]) for end in ends)) for key in keys}
