"""Scores as records, their comparison, and the files that contain them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from keras_tabular.core.files import write_json
from keras_tabular.core.typed_yaml import Section, nest
from keras_tabular.tasks.metrics import AVERAGES, CUSTOM, Metric, metrics_by_key
from keras_tabular.tasks.task import CostMatrix, Task

MODEL = "model"  # next to the names of the baselines
# Row sets of additional test files and of declared slices begin with these.
TEST_FILE = "tests."
SLICE = "slices."
EXPLANATION_LOG = Path("evaluate.log")  # has the tracebacks of `failed_explanations`
UNDEFINED = "–"
MAX_DIGITS = 17  # that tell any two floats apart
# Exponents of numbers that are shown without one.
MIN_EXPONENT = -5
MAX_EXPONENT = 9
MAX_RELATIVE_DIFFERENCE = 1e-4  # of scores that are shown as the same
MAX_ROUNDING = 1e-9  # of a difference, as a share of the score

Interval = tuple[float, float]


def format_number(value: float | None, *compared_with: float | None) -> str:
    """Format a number with three significant digits, or more to differ from others.

    A number below 1 is never shown as 1, and an undefined number is "–".

    Examples:
        >>> [format_number(value) for value in (0.13, -0.007874, 0.0, float("nan"))]
        ['0.130', '-0.00787', '0.00', '–']
        >>> format_number(0.7244, 0.7239), format_number(0.7244, 0.7323, None)
        ('0.7244', '0.724')
        >>> format_number(0.9996), format_number(1.0, 0.9996), format_number(1 - 1e-16)
        ('0.9996', '1.000', '0.9999999999999999')
        >>> format_number(12345.678, 12399.0), format_number(1.25e-12, 1.26e-12)
        ('12,346', '1.25e-12')
        >>> format_number(1e300), format_number(None, 0.5)
        ('1.00e+300', '–')
    """
    if value is None or not math.isfinite(value):
        return UNDEFINED
    different = [1.0] if value < 1 else []
    for number in compared_with:
        if number is not None and math.isfinite(number) and number != value:
            different.append(number)
    for digits in range(3, MAX_DIGITS):
        text = _with_digits(value, digits)
        if text not in [_with_digits(number, digits) for number in different]:
            return text
    return _with_digits(value, MAX_DIGITS)


def _with_digits(value: float, digits: int) -> str:
    """Format a number with significant digits, and with all before the point."""
    scientific = f"{value:.{digits - 1}e}"
    exponent = int(scientific.partition("e")[2])
    if not MIN_EXPONENT <= exponent < MAX_EXPONENT:
        return scientific
    decimals = max(digits - 1 - exponent, 0)
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # + 0.0 turns -0.0 into 0.0


class Difference(Section):
    """The difference of two scores of the same rows, with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def within_chance(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0 <= self.high

    def as_loss(self, greater_is_better: bool) -> "Difference":
        """Return the difference with the sign by which more is worse."""
        if not greater_is_better:
            return self
        return Difference(value=-self.value, low=-self.high, high=-self.low)


class Score(Section):
    """One score of the model, or of a baseline, for a set of rows.

    An undefined score has no record.

    Attributes:
        row_set: A key of `metrics.ROW_SETS`; `tests.` and the name of an additional
            test file without its ending; or `slices.` and the name of a declared slice.
        model: `MODEL`, or the name of a baseline.
        metric: Key of the metric, such as `accuracy`, `macro.roc_auc` or `custom.` and
            a name.
        rows: Number of rows.
        interval: The ends of the 95% confidence interval, if there is one.
        difference: The score of the model minus that of this baseline.
    """

    row_set: str
    model: str
    metric: str
    value: float
    rows: int
    interval: Interval | None = None
    difference: Difference | None = None

    @property
    def key(self) -> str:
        """Row set and metric, joined by a dot as in params.yaml.

        That of a baseline begins with `baseline.` and its name, and leaves out `test.`.
        """
        key = f"{self.row_set}.{self.metric}"
        if self.model == MODEL:
            return key
        return f"baseline.{self.model}.{key.removeprefix('test.')}"


class IntervalCoverage(Section):
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


class Calibration(Section):
    """A measure of the calibration of the predictions for the test rows.

    Attributes:
        interval: The ends of the 99% interval, for all classes together.
        ideal: The value of a perfectly calibrated model: 1 for a slope, and otherwise
            0.
    """

    value: float
    interval: Interval
    ideal: float = 0.0

    def direction(self, tolerance: float) -> str:
        """Say in which direction predictions are surely wrong; else return ""."""
        low, high = self.interval
        if high < self.ideal - tolerance:
            return "too extreme" if self.ideal else "too high"
        if low > self.ideal + tolerance:
            return "too near to each other" if self.ideal else "too low"
        return ""


class Duplicates(Section):
    """Rows that are equal to a row from which their prediction was learnt.

    Attributes:
        equal: Number of rows that are equal in all columns that the model reads.
        equal_with_target: Number of rows that are also equal in the target.
        without: Scores of the rows without these, by metric.
    """

    equal: int
    equal_with_target: int
    without: dict[str, float]


class Evaluation(Section):
    """The result of an evaluation of a model.

    Attributes:
        main_metrics: Keys of the metrics that a summary shows. The first one is the
            primary metric, by which the model is compared with its baselines.
        costs: The costs by which classes are predicted, if there are any.
        constant_costs: Mean cost of the test rows if the same class is always
            predicted, by words such as "always 1".
        scores: All defined scores. Some of them are of the test rows.
        training_rows: Number of rows that the model was trained on, by additional test
            file.
        threshold: The lowest probability that counts as positive; None unless there are
            two classes.
        highest_probability: The highest probability of a test row, if there is a
            threshold.
        baseline_thresholds: The thresholds of the baselines, by name.
        reaches_rule: Whether the threshold reaches the recall or precision of its rule.
        predicted_positives: If a rule has chosen the threshold, the number of
            independent rows that are predicted as positive, by row set.
        undeclared_groups: Mean number of rows with the same value, by column, if the
            rows with the same value resemble each other.
        interval_coverage: Coverage of the prediction intervals, if the model has any.
        calibration: The measures of calibration by their names in words.
        largest_errors: Share of the squared error that the hundredth of the test rows
            with the largest errors has; 0 for classes.
        constant_is_learnt: Whether the constants are those of the training rows, since
            the split is by time, and not the best ones for the rows that are scored.
        strongest_column: The column with the largest share of the attribution, and this
            share.
        duplicates: Rows that are equal to rows of the training, by row set.
        outside_training: Share of the test rows outside the training values, by column.
        training_deviation: Standard deviation of the scores of the test rows between
            trainings that differ in their seed, by metric; empty if the model has a
            single network.
        classes_without_rows: Classes of no test row.
        classes_not_found: Classes with a recall of 0 on the test rows.
        missed_classes: A sentence about each class of which a baseline finds
            significantly more test rows.
        failed_explanations: Error of each explanation that could not be computed, by
            its name.
        custom_metrics: Whether greater is better, by the name of each metric of the
            project.
        version: Version of the pipeline that trained the model.
        repeats: On which machines a training has the same result.
    """

    main_metrics: tuple[str, ...] = Field(min_length=1)
    scores: tuple[Score, ...]
    costs: CostMatrix | None = None
    constant_costs: dict[str, float] = Field(default_factory=dict)
    training_rows: dict[str, int] = Field(default_factory=dict)
    threshold: float | None = None
    highest_probability: float | None = None
    baseline_thresholds: dict[str, float] = Field(default_factory=dict)
    reaches_rule: bool = True
    predicted_positives: dict[str, float] = Field(default_factory=dict)
    undeclared_groups: dict[str, float] = Field(default_factory=dict)
    interval_coverage: IntervalCoverage | None = None
    calibration: dict[str, Calibration] = Field(default_factory=dict)
    largest_errors: float = 0.0
    constant_is_learnt: bool = False
    strongest_column: tuple[str, float] | None = None
    duplicates: dict[str, Duplicates] = Field(default_factory=dict)
    outside_training: dict[str, float] = Field(default_factory=dict)
    training_deviation: dict[str, float] = Field(default_factory=dict)
    classes_without_rows: tuple[str, ...] = ()
    classes_not_found: tuple[str, ...] = ()
    missed_classes: tuple[str, ...] = ()
    failed_explanations: dict[str, str] = Field(default_factory=dict)
    custom_metrics: dict[str, bool] = Field(default_factory=dict)
    version: str | None = None
    repeats: str | None = None

    @property
    def primary_metric(self) -> str:
        """Key of the primary metric."""
        return self.main_metrics[0]

    def metric(self, key: str) -> Metric:
        """Return the metric of a key, which may be one of the project."""
        return metrics_by_key(self.custom_metrics)[key]

    def score(self, row_set: str, metric: str, model: str = MODEL) -> Score | None:
        """Return a score of the model or of a baseline; None if it is undefined."""
        for score in self.scores:
            if (score.row_set, score.metric, score.model) == (row_set, metric, model):
                return score
        return None

    def value(self, row_set: str, metric: str, model: str = MODEL) -> float | None:
        """Return the value of a score; None if it is undefined."""
        score = self.score(row_set, metric, model)
        return None if score is None else score.value

    def rows(self, row_set: str) -> int:
        """Return the number of rows of a row set; 0 without scores."""
        return max(
            (score.rows for score in self.scores if score.row_set == row_set),
            default=0,
        )

    def baselines(self, row_set: str) -> list[str]:
        """Return the sorted names of the baselines that have scores for a row set."""
        models = {score.model for score in self.scores if score.row_set == row_set}
        return sorted(models - {MODEL})

    def row_sets(self, prefix: str = "") -> list[str]:
        """Return the names of the row sets, or of those with `tests.` or `slices.`."""
        names = dict.fromkeys(score.row_set for score in self.scores)
        return [name for name in names if name.startswith(prefix)]


def score_records(
    row_set: str,
    model: str,
    values: dict[str, float],
    rows: int,
    interval: Mapping[str, Interval] = {},
    difference: Mapping[str, Difference] = {},
) -> Iterator[Score]:
    """Yield the records of the scores of one model for one row set.

    Args:
        values: The scores by metric.
        interval: The interval of each score that has one, by metric.
        difference: The difference of the model from this baseline, likewise.
    """
    for metric, value in values.items():
        yield Score(
            row_set=row_set,
            model=model,
            metric=metric,
            value=value,
            rows=rows,
            interval=interval.get(metric),
            difference=difference.get(metric),
        )


def write_scores(metrics: Path, evaluation: Evaluation, task: Task) -> None:
    """Write all scores to `scores.json`, and those to compare to `metrics.json`."""
    write_json(metrics / "scores.json", evaluation.model_dump(exclude_defaults=True))
    write_json(metrics / "metrics.json", summary_metrics(evaluation, task))


def read_scores(metrics: Path) -> Evaluation:
    """Read what `write_scores` wrote."""
    return Evaluation.model_validate_json((metrics / "scores.json").read_bytes())


def model_values(scores: Iterable[Score]) -> dict[str, float]:
    """Return the scores of the model by their keys, such as `test.macro.roc_auc`."""
    return {score.key: score.value for score in scores if score.model == MODEL}


def summary_metrics(evaluation: Evaluation, task: Task) -> dict[str, Any]:
    """Return the content of `metrics/metrics.json`: the scores that readers compare.

    - Of the model: the main metrics, the second one, the loss and the metrics of the
      project, for the test rows, the folds and additional test files.
    - Of each baseline: the main metrics for the test rows.
    - The intervals of the first two main metrics, and the threshold.
    """
    custom = [CUSTOM + name for name in evaluation.custom_metrics]
    baseline_metrics = {task.main_metric, *evaluation.main_metrics}
    model_metrics = {*baseline_metrics, task.second_metric, "loss", *custom}
    model_row_sets = {
        "test",
        "cross_validation",
        "forward_chaining",
        *evaluation.row_sets(TEST_FILE),
    }
    content = {}
    for score in evaluation.scores:
        if score.model == MODEL:
            is_shown = score.metric in model_metrics and score.row_set in model_row_sets
        else:
            is_shown = score.metric in baseline_metrics and score.row_set == "test"
        if is_shown:
            content[score.key] = score.value
    for metric in evaluation.main_metrics[:2]:
        main_score = evaluation.score("test", metric)
        if main_score and main_score.interval:
            low, high = main_score.interval
            content[f"{main_score.key}_low"] = low
            content[f"{main_score.key}_high"] = high
    if evaluation.threshold is not None:
        content["threshold"] = evaluation.threshold
    return nest(content)


class ScoreRow(NamedTuple):
    """One metric of a run, of its base and of its baselines, for the same row set.

    Attributes:
        average: How the score is averaged over the classes, in words; empty if it is
            not.
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
            `better`, `worse`, `same`, `not_significant` if the interval of the
            difference contains 0, or `no_interval` if there is none; empty if one of
            the two scores is undefined.
        """
        if self.model is None or other is None:
            return ""
        value = self.model.value
        is_same = math.isclose(value, other.value, rel_tol=MAX_RELATIVE_DIFFERENCE)
        difference = other.difference
        if not difference:  # the scores may even be those of other rows
            return "same" if is_same else "no_interval"
        if is_same and abs(difference.value) <= MAX_ROUNDING * abs(value):
            return "same"
        if difference.within_chance:
            return "not_significant"
        is_better = (difference.value > 0) == self.greater_is_better
        return "better" if is_better else "worse"


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
        custom_metrics: Whether greater is better, by the name of each metric of the
            project.
        keys: Metric keys that have a row even if they are undefined everywhere.
        first: Metric keys whose rows come first.

    Returns:
        The rows by metric key, in the order in which metrics are shown.
    """
    by_model = {(score.metric, score.model): score for score in scores}
    baselines = sorted({model for _, model in by_model} - {MODEL})
    listed = {*keys, *base, *(metric for metric, _ in by_model)}
    metrics = metrics_by_key(custom_metrics)
    rows = {}
    for key in dict.fromkeys((*first, *metrics)):
        if key in listed:
            rows[key] = ScoreRow(
                key=key,
                label=metrics[key].label,
                average=AVERAGES.get(key.rpartition(".")[0], ""),
                greater_is_better=metrics[key].greater_is_better,
                model=by_model.get((key, MODEL)),
                base=base.get(key),
                baselines={name: by_model.get((key, name)) for name in baselines},
            )
    return rows
