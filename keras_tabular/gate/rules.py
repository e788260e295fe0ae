"""The rules of the gate: the verdict that follows from the scores of a run alone.

A rule judges the 95% interval of a score or of a difference, see `judge`: it passes if
the interval keeps the limit, fails if the interval misses it, and is undecided if the
limit lies inside, or if the rule cannot be checked.
"""

from collections.abc import Iterator, Sequence

from keras_tabular.config.sections import Gate
from keras_tabular.config.task import Task
from keras_tabular.evaluation import summary
from keras_tabular.evaluation.records import MODEL, Evaluation, format_number
from keras_tabular.gate.primary import NOT_SETTLED, PrimaryScores
from keras_tabular.gate.verdict import STATUSES, RuleResult, Verdict, judge

WITHOUT_INTERVALS = ("train", "validation")  # row sets from which the model was learnt
KEEPS_RULES = "The run keeps every rule of the gate"


def evaluate_gate(evaluation: Evaluation, gate: Gate, task: Task) -> Verdict:
    """Check a run against the rules of the gate.

    First of all, the model has to be better than the best constant, see
    `PrimaryScores.compare_with_constant`. If it is not, that is only a warning if
    `beat_baselines` does not contain `dummy`. Then the limits are checked, and the
    model is compared with the other baselines by the paired difference of the primary
    metric on the test rows.
    """
    primary = PrimaryScores(evaluation, task)
    constant = primary.compare_with_constant(gate.min_gain)
    limits = [*check_limits(evaluation, gate)]
    names: list[str] = [name for name in gate.beat_baselines if name != "dummy"]
    breakdowns = {name: primary.find_breakdown(name) for name in names}
    comparisons = [
        primary.compare_with(name, gate.margin or 0.0, breakdowns) for name in names
    ]
    required = [constant] if "dummy" in gate.beat_baselines else []
    is_better = constant.status == "pass"
    warnings = [*summary.evaluation_warnings(evaluation, task)]
    if is_better:
        broken = filter(None, breakdowns.values())
        warnings += [f"{text}, so that beating it shows nothing" for text in broken]
    else:
        warnings += [
            *([] if required else [constant.reason]),
            *primary.describe_ranking(),
        ]
    strongest = min(comparisons, key=_rank, default=None)
    deciding = [] if is_better else required
    if strongest and (
        not deciding or (strongest.status == "fail" and constant.status != "fail")
    ):
        deciding = [strongest]
    too_good = summary.describe_suspicion(evaluation, task)
    sentences = filter(None, [too_good, primary.headline(constant)])
    verdict = Verdict(
        status="pass",
        headline=". ".join(sentences),
        reason=KEEPS_RULES,
        warnings=tuple(warnings),
        checks=(),
    )
    return add_checks(verdict, [*required, *limits, *comparisons], [*limits, *deciding])


def add_checks(
    verdict: Verdict,
    checks: Sequence[RuleResult],
    reasons: Sequence[RuleResult],
) -> Verdict:
    """Add checks to a verdict. Some of them explain it, unless they are limits that are kept."""
    status = min(
        [verdict.status, *(check.status for check in checks)],
        key=STATUSES.index,
    )
    texts = [verdict.reason] if verdict.reason != KEEPS_RULES else []
    for check in reasons:
        if check.status == "fail" and not check.metric:
            texts.insert(0, check.reason)
        elif check.status == "undecided" or check.metric:
            texts.append(check.reason)
    update = {"status": status, "reason": ". ".join(texts) or KEEPS_RULES}
    return verdict.model_copy(update=update | {"checks": (*verdict.checks, *checks)})


def _rank(check: RuleResult) -> tuple[int, float]:
    """Sort by status, the worst first, then by the baseline, the best first."""
    difference = check.difference
    return STATUSES.index(check.status), (
        -difference.value
        if difference
        else float(
            "inf",
        )
    )


def check_limits(evaluation: Evaluation, gate: Gate) -> Iterator[RuleResult]:
    """Check the limits that params.yaml gives.

    A score without an interval is judged by itself if its row set has no intervals.
    Otherwise, it is undecided: too few rows decide it, or they all agree.
    """
    scores = {score.key: score for score in evaluation.scores if score.model == MODEL}
    for rule, limits in (("min", gate.min), ("max", gate.max)):
        for key, limit in limits.items():
            name = f"{rule} {key}"
            score = scores.get(key)
            if score is None:
                reason = f"{key} is not among the scores of this run"
                yield RuleResult(rule=name, status="fail", reason=reason)
                continue
            low, high = score.interval or (score.value, score.value)
            status = (
                judge(low, high, limit) if rule == "max" else judge(-high, -low, -limit)
            )
            if score.row_set not in WITHOUT_INTERVALS and not score.interval:
                status = "undecided"
            bound = "at least" if rule == "min" else "at most"
            text = format_number(score.value, limit) + summary.format_interval(
                score.interval,
            )
            text += f" {'but' if status == 'fail' else 'and'} has to be {bound} "
            text += format_number(limit, score.value)
            text += f"; {NOT_SETTLED}" if status == "undecided" else ""
            yield RuleResult(rule=name, status=status, reason=f"{key} is {text}")
