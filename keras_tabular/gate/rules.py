"""The rules of the gate: the verdict that follows from the scores of a run alone.

A rule judges the 95% interval of a score or of a difference, see `judge`: it passes if
the interval keeps the limit, fails if the interval misses it, and is undecided if the
limit lies inside, or if the rule cannot be checked.
"""

import math
from collections.abc import Iterator, Sequence

from keras_tabular.config.sections import Gate
from keras_tabular.evaluation import summary
from keras_tabular.evaluation.records import MODEL, Evaluation, Score, format_number
from keras_tabular.gate import STATUSES, RuleResult, Verdict, judge
from keras_tabular.gate.primary import NOT_SETTLED, PrimaryScores
from keras_tabular.tasks.task import Task

# The row sets from which the model was learnt.
WITHOUT_INTERVALS = ("train", "validation")
KEEPS_RULES = "The run keeps every rule of the gate"


def evaluate_gate(evaluation: Evaluation, gate: Gate, task: Task) -> Verdict:
    """Check a run against the rules of the gate.

    First of all, the model has to be better than the best constant, see
    `PrimaryScores.compare_with_constant`. If it is not, that is only a warning if
    `beat_baselines` does not contain `dummy`. Then the limits are checked, and the
    model is compared with the other baselines by the paired difference of the primary
    metric on the test rows.
    """
    scores = PrimaryScores(evaluation, task)
    constant = scores.compare_with_constant(gate.min_gain)
    is_better = constant.status == "pass"
    required = [constant] if "dummy" in gate.beat_baselines else []
    names: list[str] = [name for name in gate.beat_baselines if name != "dummy"]
    comparisons = [
        scores.compare_with_baseline(name, gate.margin or 0.0) for name in names
    ]

    warnings = [*summary.evaluation_warnings(evaluation, task)]
    if not is_better and not required:
        warnings.append(constant.reason)
    warnings += filter(None, map(scores.describe_unfairness, names))

    # The comparison that explains the verdict, next to the limits.
    deciding = [] if is_better else required
    if comparisons:
        strongest = min(comparisons, key=_rank)
        only_strongest_fails = strongest.status == "fail" and constant.status != "fail"
        if not deciding or only_strongest_fails:
            deciding = [strongest]

    headline = scores.format_headline(constant)
    too_good = summary.describe_suspicion(evaluation, task)
    verdict = Verdict(
        status="pass",
        headline=f"{too_good}. {headline}" if too_good else headline,
        reason=KEEPS_RULES,
        warnings=tuple(warnings),
        checks=(),
    )
    limits = [*check_limits(evaluation, gate)]
    return add_checks(verdict, [*required, *limits, *comparisons], [*limits, *deciding])


def _rank(check: RuleResult) -> tuple[int, float]:
    """Sort by status, the worst first, then by the baseline, the best first."""
    gain = -check.difference.value if check.difference else math.inf
    return STATUSES.index(check.status), gain


def check_limits(evaluation: Evaluation, gate: Gate) -> Iterator[RuleResult]:
    """Check the limits that params.yaml gives."""
    scores = {score.key: score for score in evaluation.scores if score.model == MODEL}
    for rule, limits in (("min", gate.min), ("max", gate.max)):
        for key, limit in limits.items():
            score = scores.get(key)
            if score is None:
                yield RuleResult(
                    rule=f"{rule} {key}",
                    status="fail",
                    reason=f"{key} is not among the scores of this run",
                )
            else:
                yield _check_limit(rule, limit, score)


def _check_limit(rule: str, limit: float, score: Score) -> RuleResult:
    """Check that a score is at least or at most a limit.

    A score without an interval is judged by itself if its row set has no intervals.
    Otherwise, it is undecided: too few rows decide it, or they all agree.
    """
    low, high = score.interval or (score.value, score.value)
    if rule == "min":
        bound = "at least"
        # As `judge` checks that a value is at most a limit.
        status = judge(-high, -low, -limit)
    else:
        bound = "at most"
        status = judge(low, high, limit)
    if score.interval is None and score.row_set not in WITHOUT_INTERVALS:
        status = "undecided"
    value = format_number(score.value, limit) + summary.format_interval(score.interval)
    ending = f"; {NOT_SETTLED}" if status == "undecided" else ""
    return RuleResult(
        rule=f"{rule} {score.key}",
        status=status,
        reason=(
            f"{score.key} is {value}; it has to be {bound}"
            f" {format_number(limit, score.value)}{ending}"
        ),
    )


def add_checks(
    verdict: Verdict,
    checks: Sequence[RuleResult],
    reasons: Sequence[RuleResult],
) -> Verdict:
    """Add checks to a verdict.

    Args:
        verdict: The verdict.
        checks: The checks to add.
        reasons: The checks that explain the verdict, unless they are limits that the
            run keeps.
    """
    statuses = [verdict.status, *(check.status for check in checks)]
    texts = [verdict.reason] if verdict.reason != KEEPS_RULES else []
    for check in reasons:
        if check.status == "fail" and not check.metric:
            texts.insert(0, check.reason)
        elif check.status == "undecided" or check.metric:
            texts.append(check.reason)
    changes = {
        "status": min(statuses, key=STATUSES.index),
        "reason": ". ".join(texts) or KEEPS_RULES,
        "checks": (*verdict.checks, *checks),
    }
    return verdict.model_copy(update=changes)
