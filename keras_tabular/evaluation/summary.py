"""The lines with which evaluate ends, and the sentences that it shares with the gate."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from keras_tabular.config.sections import ThresholdRule
from keras_tabular.core.errors import format_list
from keras_tabular.core.metrics import BASELINES, TASKS, metric
from keras_tabular.core.numbers import UNDEFINED, format_number
from keras_tabular.evaluation.evaluation import (
    NO_SCORES,
    Estimate,
    Evaluation,
    IntervalCoverage,
    ScoreSet,
)

if TYPE_CHECKING:  # the gate needs nothing of what reads labelled rows
    from keras_tabular.evaluation.labelled import LabelledFile


def summary_lines(
    evaluation: Evaluation,
    files: Mapping[str, "LabelledFile"],
    task: str,
    choice: ThresholdRule | None,
) -> Iterator[str]:
    """Yield the scores of test files and of the test rows, then what else is worth a line.

    Args:
        files: The scores of each file of `evaluate.tests`, by its name.
        choice: The rule by which the threshold was chosen, if it was.
    """
    for name, (primary_metrics, scores, warnings) in files.items():
        yield from (f"warn: {name}: {warning}" for warning in warnings)
        of_file = Evaluation(primary_metrics, {"test": scores})
        yield f"{name}: {format_scores(of_file, task)}"
    yield format_scores(evaluation, task)
    if choice:
        yield format_threshold(evaluation)
    if coverage := evaluation.interval_coverage:
        text = format_coverage(coverage)
        yield f"{text[0].upper()}{text[1:]}; mean width {format_number(coverage.mean_width)}"
    yield from (f"warn: {text}" for text in evaluation_warnings(evaluation, task))


# A primary metric, or R², that looks like a leak, and the least lower end of its interval.
SUSPICIOUS, NEARLY_PERFECT = 0.999, 0.98


def evaluation_warnings(evaluation: Evaluation, task: str) -> list[str]:
    """Collect why the scores may be too good, or of little use for new rows."""
    warnings = format_equal_rows(evaluation)
    if evaluation.classes_not_found:
        names = format_list(evaluation.classes_not_found)
        warnings.append(f"no test row of class {names} is predicted correctly: its recall is 0")
    coverage = evaluation.interval_coverage
    if coverage and coverage.high < coverage.nominal:
        warnings.append(format_coverage(coverage))
    if shares := evaluation.outside_training:
        columns = ", ".join(f"{name} ({share:.0%})" for name, share in shares.items())
        warnings.append(f"test rows lie outside the values of the training rows in {columns}")
    key = "r2" if task == "regression" else evaluation.primary_metrics[0]
    value, interval = evaluation.test.model.get(key) or Estimate(0.0)
    if interval and value >= SUSPICIOUS and interval[0] >= NEARLY_PERFECT:
        score = f"{metric(key).label} is {format_number(value)} {format_interval(*interval)}"
        warnings.append(f"{score}, which often means that a column leaks the target")
    return warnings


def format_interval(low: float, high: float) -> str:
    """Format the ends of a 95% interval in parentheses."""
    return f"(95% CI {format_number(low)} to {format_number(high)})"


def format_scores(evaluation: Evaluation, task: str) -> str:
    """Format the first primary metric: of the model with its interval, and of the baselines."""
    key, test = evaluation.primary_metrics[0], evaluation.test
    on_test, on_folds, on_later_rows = (
        format_estimates(evaluation.score_sets.get(rows, NO_SCORES), key)
        for rows in ("test", "cross_validation", "forward_chaining")
    )
    text = f"{metric(key).label}: {on_test['model']} on {test.model.rows:,} test rows"
    estimate = test.model.get(key)
    if estimate and estimate.interval:
        text += f" {format_interval(*estimate.interval)}"
    if on_folds["model"] != UNDEFINED:
        text += f", {on_folds['model']} cross-validated"
    if on_later_rows["model"] != UNDEFINED:
        text += f", {on_later_rows['model']} on later rows by models of earlier ones"
    constant, *names = TASKS[task].baselines.values()
    baselines = []
    for name in (*names, constant):
        baseline = f"{BASELINES[name]} {on_test.get(name, UNDEFINED)}"
        for scores, place in ((on_folds, "cross-validated"), (on_later_rows, "on later rows")):
            value = scores.get(name, UNDEFINED)
            if value != UNDEFINED and name != constant:
                baseline += f" and {value} {place}"
        baselines.append(baseline)
    return f"{text}; {', '.join(baselines)}"


def format_estimates(scores: ScoreSet, key: str) -> dict[str, str]:
    """Format a score of the model, under "model", and of each baseline by its name."""
    model = scores.model.value(key)
    values = {name: baseline.value(key) for name, baseline in scores.baselines.items()}
    texts = {name: format_number(value, model) for name, value in values.items()}
    return {"model": format_number(model, *values.values())} | texts


def format_threshold(evaluation: Evaluation) -> str:
    """Format the scores that depend on the threshold."""
    texts = []
    for rows, place in (("test", "on the test rows"), ("cross_validation", "cross-validated")):
        scores = evaluation.score_sets.get(rows, NO_SCORES).model
        recall, precision, f1 = (
            format_number(scores.value(key)) for key in ("recall", "precision", "f1")
        )
        texts.append(f"recall {recall}, precision {precision}, F1 {f1} {place}")
    return f"Threshold {format_number(evaluation.threshold)}: {'; '.join(texts)}"


def format_coverage(coverage: IntervalCoverage) -> str:
    """Format how many values of the test rows are inside their prediction intervals."""
    return (
        f"intervals of {coverage.nominal:.0%} hold {format_number(coverage.coverage)} of the "
        f"values of test rows {format_interval(coverage.low, coverage.high)}"
    )


def format_equal_rows(evaluation: Evaluation) -> list[str]:
    """Format the number of rows that equal others in training, and the score without them."""
    key, texts = evaluation.primary_metrics[0], []
    places = {
        "test": "test rows equal a training row",
        "cross_validation": "training rows equal one of another fold",
    }
    for name, place in places.items():
        if rows := evaluation.equal_rows.get(name):
            count = evaluation.score_sets[name].model.rows
            texts.append(
                f"{rows.equal:,} of {count:,} {place}, {rows.equal_with_target:,} of them with the "
                f"same target; {metric(key).label} without them: "
                f"{format_number(rows.scores_without.value(key))}"
            )
    return texts
