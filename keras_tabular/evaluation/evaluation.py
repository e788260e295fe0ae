"""The result of an evaluation, as typed structures.

`scores_json` alone converts them to JSON and back.
"""

from collections.abc import Collection, ItemsView, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


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
        threshold: The lowest probability that counts as positive; None unless there are two
            classes.
        baseline_thresholds: The thresholds of the baselines, by name.
        calibration: The temperature of the probabilities, see `calibration.choose_temperature`;
            empty for a regression.
        interval_coverage: Coverage of the prediction intervals, if the model has any.
        equal_rows: Rows that are equal to rows of the training, by row set.
        outside_training: Share of the test rows outside the training values, by column.
        classes_not_found: Classes with a recall of 0 on the test rows.
        custom_metrics: Whether greater is better, by the name of each metric of the project.
        version: Version of the pipeline that trained the model.
        repeats: On which machines a training has the same result.
    """

    primary_metrics: tuple[str, ...]
    score_sets: Mapping[str, ScoreSet]
    test_files: Mapping[str, ScoreSet] = field(default_factory=dict)
    threshold: float | None = None
    baseline_thresholds: dict[str, float] = field(default_factory=dict)
    calibration: Mapping[str, float] = field(default_factory=dict)
    interval_coverage: IntervalCoverage | None = None
    equal_rows: Mapping[str, EqualRows] = field(default_factory=dict)
    outside_training: Mapping[str, float] = field(default_factory=dict)
    classes_not_found: tuple[str, ...] = ()
    custom_metrics: Mapping[str, bool] = field(default_factory=dict)
    version: str | None = None
    repeats: str | None = None

    @property
    def test(self) -> ScoreSet:
        """The scores for the test rows."""
        return self.score_sets["test"]
