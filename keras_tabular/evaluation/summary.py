"""The summary that evaluate prints, and the warnings that the gate also shows."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from keras_tabular.config.sections import ThresholdRule
from keras_tabular.core.errors import format_list
from keras_tabular.core.numbers import UNDEFINED, format_number
from keras_tabular.scoring.evaluation import (
    EXPLANATION_LOG,
    NO_SCORES,
    Evaluation,
    IntervalCoverage,
    ScoreSet,
)
from keras_tabular.tasks.metrics import BASELINES, metric
from keras_tabular.tasks.task import Task

if TYPE_CHECKING:  # the gate needs nothing of what reads labelled rows
    from keras_tabular.evaluation.result import LabelledFile


def summary_lines(
    evaluation: Evaluation,
    files: Mapping[str, "LabelledFile"],
    task: Task,
    rule: ThresholdRule | None,
) -> Iterator[str]:
    """Yield the scores of test files and of the test rows, and then warnings.

    Args:
        files: Scores of each file of `evaluate.tests`, by its name.
        rule: The rule by which the threshold was chosen, if it was.
    """
    for name, (primary_metrics, scores, warnings) in files.items():
        yield from (f"warn: {name}: {warning}" for warning in warnings)
        file_evaluation = Evaluation(primary_metrics, {"test": scores})
        yield f"{name}: {format_scores(file_evaluation, task)}"
    yield format_scores(evaluation, task)
    if rule:
        yield format_threshold(evaluation)
    if coverage := evaluation.interval_coverage:
        yield f"{format_coverage(coverage)}; mean width {format_number(coverage.mean_width)}"
    yield from (f"warn: {text}" for text in evaluation_warnings(evaluation, task))


# A primary metric, or R², hints at a leak if the score and the lower end of its interval are at
# least as high.
MIN_SUSPICIOUS_SCORE, MIN_SUSPICIOUS_LOWER_END = 0.999, 0.98


def evaluation_warnings(evaluation: Evaluation, task: Task) -> list[str]:
    """List the reasons why the scores may be too optimistic, or of little use for new rows."""
    warnings = format_equal_rows(evaluation)
    warnings += [
        f"{name}: this explanation is missing, because it failed ({EXPLANATION_LOG}): {error}"
        for name, error in evaluation.failed_explanations.items()
    ]
    if evaluation.classes_not_found:
        names = format_list(evaluation.classes_not_found)
        warnings.append(f"no test row of class {names} is predicted correctly: its recall is 0")
    coverage = evaluation.interval_coverage
    if coverage and coverage.high < coverage.nominal:
        warnings.append(format_coverage(coverage))
    if shares := evaluation.outside_training:
        columns = ", ".join(f"{name} ({share:.0%})" for name, share in shares.items())
        warnings.append(f"test rows are outside the range of the training rows in {columns}")
    key = task.leak_metric or evaluation.primary_metrics[0]
    value, interval = evaluation.test.model.get(key) or (0.0, None)
    if interval and value >= MIN_SUSPICIOUS_SCORE and interval[0] >= MIN_SUSPICIOUS_LOWER_END:
        score = f"{metric(key).label} is {format_number(value)} {format_interval(*interval)}"
        warnings.append(f"{score}, which often means that a column leaks the target")
    return warnings


def format_interval(low: float, high: float) -> str:
    """Format the ends of a 95% interval in parentheses."""
    return f"(95% CI {format_number(low)} to {format_number(high)})"


def format_scores(evaluation: Evaluation, task: Task) -> str:
    """Format the first primary metric, of the model with its interval and of the baselines."""
    key, test = evaluation.primary_metrics[0], evaluation.test
    on_test, on_folds, on_later_rows = (
        _format_values(evaluation.score_sets.get(row_set, NO_SCORES), key)
        for row_set in ("test", "cross_validation", "forward_chaining")
    )
    text = f"{metric(key).label}: {on_test['model']} on {test.model.rows:,} test rows"
    estimate = test.model.get(key)
    if estimate and estimate.interval:
        text += f" {format_interval(*estimate.interval)}"
    if on_folds["model"] != UNDEFINED:
        text += f", {on_folds['model']} cross-validated"
    if on_later_rows["model"] != UNDEFINED:
        text += f", {on_later_rows['model']} on later rows by models of earlier ones"
    constant, *names = task.baselines.values()
    baselines = []
    for name in (*names, constant):
        baseline = f"{BASELINES[name]} {on_test.get(name, UNDEFINED)}"
        for values, place in ((on_folds, "cross-validated"), (on_later_rows, "on later rows")):
            value = values.get(name, UNDEFINED)
            if value != UNDEFINED and name != constant:
                baseline += f" and {value} {place}"
        baselines.append(baseline)
    return f"{text}; {', '.join(baselines)}"


def _format_values(scores: ScoreSet, key: str) -> dict[str, str]:
    """Format a score of the model, with the key "model", and of each baseline by its name."""
    model = scores.model.value(key)
    values = {name: baseline.value(key) for name, baseline in scores.baselines.items()}
    texts = {name: format_number(value, model) for name, value in values.items()}
    return {"model": format_number(model, *values.values())} | texts


def format_threshold(evaluation: Evaluation) -> str:
    """Format the scores that depend on the threshold."""
    texts = []
    for row_set, place in (("test", "on the test rows"), ("cross_validation", "cross-validated")):
        scores = evaluation.score_sets.get(row_set, NO_SCORES).model
        recall, precision, f1 = (
            format_number(scores.value(key)) for key in ("recall", "precision", "f1")
        )
        texts.append(f"recall {recall}, precision {precision}, F1 {f1} {place}")
    return f"Threshold {format_number(evaluation.threshold)}: {'; '.join(texts)}"


def format_coverage(coverage: IntervalCoverage) -> str:
    """Format the share of the test values that are inside of their prediction intervals."""
    share = f"{format_number(coverage.coverage)} {format_interval(coverage.low, coverage.high)}"
    return f"{coverage.nominal:.0%} prediction intervals contain {share} of the test values"


def format_equal_rows(evaluation: Evaluation) -> list[str]:
    """Format the number of rows that are equal to rows of the training, and the score without."""
    key, texts = evaluation.primary_metrics[0], []
    for row_set, place in (
        ("test", "test rows are equal to a training row"),
        ("cross_validation", "training rows are equal to one of another fold"),
    ):
        if rows := evaluation.equal_rows.get(row_set):
            row_count = evaluation.score_sets[row_set].model.rows
            score = format_number(rows.without.value(key))
            texts.append(
                f"{rows.equal:,} of {row_count:,} {place}, {rows.equal_with_target:,} of "
                f"them with the same target; {metric(key).label} without these rows: {score}"
            )
    return texts
