"""The summary that evaluate prints, and the warnings that the gate shows."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from keras_tabular.core.errors import format_list
from keras_tabular.evaluation.records import (
    EXPLANATION_LOG,
    MODEL,
    TEST_FILE,
    Evaluation,
    Interval,
    IntervalCoverage,
    format_number,
)
from keras_tabular.tasks.metrics import COST, ROW_SETS
from keras_tabular.tasks.task import Task

if TYPE_CHECKING:  # the gate needs nothing of what reads labelled rows
    from keras_tabular.evaluation.labelled_file import LabelledFile


# The accuracy, R², or the ROC AUC of rare rows hint at a leak if the score and the
# lower end of its interval are at least as high, or if the score is perfect.
MIN_SUSPICIOUS_SCORE = 0.999
MIN_SUSPICIOUS_LOWER_END = 0.98
MIN_SUSPICIOUS_ROWS = 10
# With many rows, any slope surely differs from 1 a little, and any intercept from 0.
MAX_MISCALIBRATION = 0.1
MAX_CALIBRATIONS = 20  # that a warning names
MAX_MAJORITY = 0.9  # share of the most frequent class, above which the others are rare
MIN_PREDICTED_POSITIVES = 30  # rows; with fewer ones, the precision is hardly known
# The row sets whose scores follow those on the test rows, in words.
MAX_SHARE_OF_LARGEST_ERRORS = 0.5  # of the squared error
OTHER_PLACES = {
    "cross_validation": "cross-validated",
    "forward_chaining": "on later rows",
}


def summary_lines(
    evaluation: Evaluation,
    files: Mapping[str, "LabelledFile"],
    task: Task,
) -> Iterator[str]:
    """Yield the scores of test files, with their warnings, and those of the test rows.

    Args:
        files: Scores of each file of `evaluate.tests`, by its name.
    """
    for name, file in files.items():
        for warning in file.warnings:
            yield f"warn: {name}: {warning}"
        row_set = TEST_FILE + name
        scores = format_scores(evaluation, task, file.main_metrics[0], row_set)
        yield f"{name}: {scores}"
    for key in evaluation.main_metrics[:2]:
        yield format_scores(evaluation, task, key)
    if evaluation.predicted_positives:  # a rule has chosen the threshold
        yield format_threshold(evaluation)
    if coverage := evaluation.interval_coverage:
        yield (
            f"{format_coverage(coverage)}; mean width"
            f" {format_number(coverage.mean_width)}"
        )


def evaluation_warnings(evaluation: Evaluation, task: Task) -> Iterator[str]:
    """Yield why the scores may be too optimistic, or of little use for new rows."""
    yield from evaluation.missed_classes
    for name, rows in evaluation.undeclared_groups.items():
        yield (
            f"{rows:.0f} rows for each `{name}`: without `group: {name}` intervals are"
            " too narrow and the scores may be too good"
        )
    if too_good := describe_suspicion(evaluation, task):
        yield too_good
    yield from format_duplicates(evaluation)
    for name, error in evaluation.failed_explanations.items():
        yield (
            f"{name}: this explanation is missing, because it failed"
            f" ({EXPLANATION_LOG}): {error}"
        )
    yield from class_warnings(evaluation)
    yield from range_warnings(evaluation, task)
    highest = evaluation.highest_probability
    if highest is not None and highest < (evaluation.threshold or 0.0):
        yield (
            "no test row reaches the threshold: the highest probability is"
            f" {highest:.3g}"
        )


def class_warnings(evaluation: Evaluation) -> Iterator[str]:
    """Yield what is wrong with the predicted classes."""
    if evaluation.classes_without_rows:
        yield (
            f"no test row is of class {format_list(evaluation.classes_without_rows)}:"
            " the scores say nothing about it"
        )
    if evaluation.classes_not_found:
        yield (
            f"no test row of class {format_list(evaluation.classes_not_found)} is"
            " predicted correctly: its recall is 0"
        )
    if not evaluation.reaches_rule:
        yield (
            "no threshold reaches the rule of evaluate.threshold; the best one for its"
            " precision or recall was chosen"
        )
    for row_set, rows in evaluation.predicted_positives.items():
        if rows < MIN_PREDICTED_POSITIVES:
            yield (
                f"{ROW_SETS[row_set]}: {rows:.0f} rows are predicted as positive: the"
                " precision is hardly known"
            )


def range_warnings(evaluation: Evaluation, task: Task) -> Iterator[str]:
    """Yield where values are outside of the range in which they should be."""
    if evaluation.largest_errors > MAX_SHARE_OF_LARGEST_ERRORS:
        yield (
            f"1% of the test rows has {evaluation.largest_errors:.0%} of the squared"
            " error, so that intervals of squared errors and R² are unreliable;"
            " compare by the mean absolute error"
        )
    coverage = evaluation.interval_coverage
    if coverage and coverage.high < coverage.nominal:
        yield f"{format_coverage(coverage)}: they are too narrow"
    elif coverage and coverage.low > coverage.nominal:
        yield f"{format_coverage(coverage)}: they are too wide"
    if shares := evaluation.outside_training:
        columns = (f"{name} ({share:.0%})" for name, share in shares.items())
        yield (
            "test rows are outside the range of the training rows in"
            f" {', '.join(columns)}"
        )
    tolerance = MAX_MISCALIBRATION if task.classes else 0.0
    wrong = []
    for name, measure in evaluation.calibration.items():
        if direction := measure.direction(tolerance):
            value = format_number(measure.value)
            value += format_interval(measure.interval, percent=99)
            wrong.append(f"{direction}: the {name} is {value}")
    if wrong:
        subject = "probabilities" if task.classes else "predictions"
        yield f"the {subject} are {'; '.join(wrong[:MAX_CALIBRATIONS])}"


def describe_suspicion(evaluation: Evaluation, task: Task) -> str:
    """Say that a score is too good, and which column explains most; else return ""."""
    key = task.leak_metric or task.main_metric
    majority = evaluation.value("test", key, "dummy") or 0.0
    is_perfect = round(evaluation.value("test", key) or 0.0, 9) == 1
    if majority > MAX_MAJORITY and not is_perfect:
        key = task.rare_metrics[0]
    score = evaluation.score("test", key)
    constant = evaluation.value("test", key, "dummy")
    if score is None or constant is None or score.rows < MIN_SUSPICIOUS_ROWS:
        return ""
    # Few rows of a split by time and a perfect ROC AUC have no interval.
    lowest, _ = score.interval or (1.0, 1.0)
    if score.value <= constant or score.value < MIN_SUSPICIOUS_SCORE:
        return ""
    if lowest < MIN_SUSPICIOUS_LOWER_END and not is_perfect:
        return ""
    value = format_number(score.value) + format_interval(score.interval)
    text = (
        f"{evaluation.metric(key).label} is {value}, which often means that a column"
        " leaks the target"
    )
    if evaluation.strongest_column:
        name, share = evaluation.strongest_column
        text += f": {name} has {share:.0%} of the attribution"
    return text


def format_interval(interval: Interval | None, percent: int = 95) -> str:
    """Format an interval as it follows a score, after a space; empty for None."""
    if interval is None:
        return ""
    low, high = interval
    return f" ({percent}% CI {format_number(low)} to {format_number(high)})"


def metric_label(evaluation: Evaluation, task: Task, key: str) -> str:
    """Return the label of a metric; that of the loss says which loss it is."""
    return task.loss_label if key == "loss" else evaluation.metric(key).label


def format_scores(
    evaluation: Evaluation,
    task: Task,
    key: str,
    row_set: str = "test",
) -> str:
    """Format a main metric, of the model with its interval and of the baselines."""
    places = OTHER_PLACES if row_set == "test" else {}
    label = metric_label(evaluation, task, key)
    value = format_row_set_score(evaluation, row_set, key)
    rows = "rows, cross-validated" if row_set == "cross_validation" else "test rows"
    text = f"{label}: {value} on {evaluation.rows(row_set):,} {rows}"
    if score := evaluation.score(row_set, key):
        text += format_interval(score.interval)
    for place, words in places.items():
        if evaluation.score(place, key):
            text += f", {format_row_set_score(evaluation, place, key)} {words}"
    baselines = []
    for name in sorted(task.baselines, key=lambda name: name == "dummy"):
        values = [format_row_set_score(evaluation, row_set, key, name)]
        for place, words in places.items():
            if name != "dummy" and evaluation.score(place, key, name):
                values.append(
                    f"{format_row_set_score(evaluation, place, key, name)} {words}",
                )
        baselines.append(f"{task.baselines[name]} {' and '.join(values)}")
    if key == COST and row_set == "test" and evaluation.constant_costs:
        baselines.pop()  # the best constant is one of these
        for words, cost in evaluation.constant_costs.items():
            baselines.append(f"{words} {format_number(cost)}")
    return f"{text}; {', '.join(baselines)}"


def format_row_set_score(
    evaluation: Evaluation,
    row_set: str,
    key: str,
    model: str = MODEL,
) -> str:
    """Format a score with enough digits to differ from those it is compared with."""
    compared = [MODEL] if model != MODEL else evaluation.baselines(row_set)
    values = [evaluation.value(row_set, key, name) for name in compared]
    return format_number(evaluation.value(row_set, key, model), *values)


def format_threshold(evaluation: Evaluation) -> str:
    """Format the scores that depend on the threshold."""
    texts = []
    places = {"test": "on the test rows", "cross_validation": "cross-validated"}
    for row_set, place in places.items():
        scores = []
        for label in ("recall", "precision", "F1"):
            value = evaluation.value(row_set, label.lower())
            scores.append(f"{label} {format_number(value)}")
        texts.append(f"{', '.join(scores)} {place}")
    return f"Threshold {format_number(evaluation.threshold)}: {'; '.join(texts)}"


def format_coverage(coverage: IntervalCoverage) -> str:
    """Format the share of the test values inside of their prediction intervals."""
    share = format_number(coverage.coverage)
    share += format_interval((coverage.low, coverage.high))
    return (
        f"{coverage.nominal:.0%} prediction intervals contain {share} of the test"
        " values"
    )


def format_duplicates(evaluation: Evaluation) -> Iterator[str]:
    """Format how many rows are equal to training rows, and the score without them."""
    key = evaluation.primary_metric
    label = evaluation.metric(key).label
    places = {
        "test": "test rows are equal to a training row",
        "cross_validation": "training rows are equal to one of another fold",
    }
    for row_set, place in places.items():
        if rows := evaluation.duplicates.get(row_set):
            yield (
                f"{rows.equal:,} of {evaluation.rows(row_set):,} {place}, "
                f"{rows.equal_with_target:,} of them with the same target; "
                f"{label} without these rows: {format_number(rows.without.get(key))}"
            )
