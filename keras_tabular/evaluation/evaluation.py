"""All that an evaluation finds out about a model, as one typed structure.

`scores_json` is the only place where it becomes JSON, and where it is read back.
"""

from collections.abc import Collection, ItemsView, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Estimate(NamedTuple):
    """A score, and its 95% interval where there is one."""

    value: float
    interval: tuple[float, float] | None = None


class PairedDifference(NamedTuple):
    """The difference between two scores of the same rows, with its 95% interval."""

    difference: float
    low: float
    high: float

    @property
    def within_chance(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Scores:
    """Scores for one set of rows, by metric key such as `accuracy` or `macro.roc_auc`.

    Undefined scores are ordinary and are left out. There is no `scores[key]`, so that mypy makes
    every caller say what happens where a score is undefined.
    """

    rows: int
    _estimates: Mapping[str, Estimate] = field(default_factory=dict)

    def get(self, key: str) -> Estimate | None:
        """Return a score, or None where it is undefined."""
        return self._estimates.get(key)

    def value(self, key: str) -> float | None:
        """Return a score without its interval, or None where it is undefined."""
        estimate = self.get(key)
        return None if estimate is None else estimate.value

    def items(self) -> ItemsView[str, Estimate]:
        """Iterate over the keys and the estimates of all defined scores."""
        return self._estimates.items()

    def with_intervals(self, intervals: Mapping[str, tuple[float, float]]) -> "Scores":
        """Return the same scores with intervals; those of undefined scores are ignored."""
        return Scores(self.rows, {k: Estimate(e.value, intervals.get(k)) for k, e in self.items()})

    def select(self, keys: Collection[str]) -> "Scores":
        """Return only the scores with these keys."""
        return Scores(self.rows, {key: e for key, e in self.items() if key in keys})


@dataclass(frozen=True)
class ScoreSet:
    """Scores of the model and of its baselines for the same rows.

    Attributes:
        baselines: Scores by the name of the baseline.
        differences: Score of the model minus that of the baseline, by baseline and metric key.
        training_rows: Number of rows that the model was trained on, where they were counted.
    """

    model: Scores
    baselines: Mapping[str, Scores] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, PairedDifference]] = field(default_factory=dict)
    training_rows: int | None = None

    def difference(self, baseline: str, key: str) -> PairedDifference | None:
        """Return how far the model's score lies above that of a baseline, if both are defined."""
        return self.differences.get(baseline, {}).get(key)


NO_SCORES = ScoreSet(Scores(0))


class Calibration(NamedTuple):
    """The temperature of the probabilities.

    Attributes:
        loss_change, ...: By how much a temperature changes the loss of rows that did not choose it,
            with its 95% interval; None where the temperature was not chosen.
    """

    temperature: float
    loss_change: float | None = None
    loss_change_low: float | None = None
    loss_change_high: float | None = None


class IntervalCoverage(NamedTuple):
    """Coverage of the prediction intervals on the test rows.

    Attributes:
        nominal: The share of values that the intervals should contain.
        coverage: The share that they contain; `low` and `high` are its 95% interval.
        mean_width: In units of the target.
    """

    nominal: float
    coverage: float
    low: float
    high: float
    mean_width: float


class EqualRows(NamedTuple):
    """Number of rows that equal a row which their prediction was learnt from.

    Attributes:
        equal: Number of rows that are equal in all columns that the model reads.
        equal_with_target: Number of rows that are equal in the target, too.
        scores_without: Scores of the remaining rows.
    """

    equal: int
    equal_with_target: int
    scores_without: Scores


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation finds out about a model.

    Attributes:
        primary_metrics: Keys by which the model is compared with its baselines; at least one.
        score_sets: The scores of each set of rows that has some, by the keys of
            `metrics.ROW_SETS`; of the test rows at least.
        test_files: Scores of additional test files, by name without ending.
        equal_rows: By set of rows.
        outside_training: Share of the test rows outside what training saw, by column.
        classes_not_found: Classes with a recall of 0 on the test rows.
        custom_metrics: Whether greater is better, by the name of each metric of the project.
        version, repeats: Version of the pipeline and degree of reproducibility, from the model.
    """

    primary_metrics: tuple[str, ...]
    score_sets: Mapping[str, ScoreSet]
    test_files: Mapping[str, ScoreSet] = field(default_factory=dict)
    threshold: float | None = None
    baseline_thresholds: dict[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
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
