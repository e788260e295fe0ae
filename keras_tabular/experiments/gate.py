"""The gate: has a run learnt something, does it keep its limits, and is it not worse?

`evaluate_gate` gives the verdict that follows from the scores of a run alone. Where somebody asks
for it, `compare_with_base` adds the comparison with another run.

A rule judges the 95% interval of a score or of a difference, see `judge`: it passes if the interval
keeps the limit, fails if the interval misses it, and is undecided if the limit lies inside, or if
the rule cannot be checked.
"""

from collections.abc import Iterator, Sequence

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Gate
from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.summary import evaluation_warnings, format_interval
from keras_tabular.experiments.advice import CHECK_TARGETS, SAME_DECISION, Networks, next_steps
from keras_tabular.experiments.deciding import NOT_SETTLED, DecidingScores, format_relative
from keras_tabular.experiments.run import Run, is_shallow, mismatch
from keras_tabular.experiments.verdict import STATUSES, Check, Status, Verdict, judge
from keras_tabular.scoring.evaluation import MODEL, Difference, Evaluation, model_values
from keras_tabular.tasks.metrics import COST, metric

HELD_OUT = ("test", "cross_validation", "forward_chaining")  # row sets with intervals
KEEPS_RULES = "The run keeps every rule of the gate"


def evaluate_gate(
    evaluation: Evaluation, params: Params, schema: Schema, networks: Networks
) -> Verdict:
    """Check a run against the rules of the gate.

    First of all, the model has to have learnt something, see
    `DecidingScores.compare_with_constant`. If it has not, that is only a warning if
    `beat_baselines` does not contain `constant`. Then the limits are checked, and the model is
    compared with the linear and the boosted baseline by the paired difference of the metric that
    decides, on the test rows.

    Args:
        params: The sections `gate`, `split` and `train`.
        networks: Weight and parameters of each architecture that was trained.
    """
    gate, task = params.gate, schema.learning_task
    deciding = DecidingScores(evaluation, task)
    constant = deciding.compare_with_constant()
    limits = [*check_limits(evaluation, gate)]
    names = [task.baselines[kind] for kind in gate.beat_baselines if kind != "constant"]
    breakdowns = {name: deciding.find_breakdown(name) for name in names}
    margin = gate.margin or 0.0
    comparisons = [deciding.compare_with(name, margin, breakdowns) for name in names]
    required = [constant] if "constant" in gate.beat_baselines else []
    has_learnt, warnings = constant.status == "pass", evaluation_warnings(evaluation, task)
    if has_learnt:
        broken = filter(None, breakdowns.values())
        warnings += [f"{text}, so that beating it shows nothing" for text in broken]
    elif not required:
        warnings.insert(0, constant.reason)
    strongest = min(comparisons, key=_rank, default=None)
    decisive, learnt = [] if has_learnt else required, has_learnt or bool(deciding.ranking)
    if strongest and (not decisive or (strongest.status == "fail" and constant.status != "fail")):
        decisive = [*decisive, strongest]
    steps = [] if has_learnt else [SAME_DECISION if learnt else CHECK_TARGETS]
    steps += next_steps(evaluation, strongest, task, params, networks) if learnt else []
    verdict = Verdict(
        status="pass",
        headline=deciding.headline(constant),
        reason=KEEPS_RULES,
        warnings=tuple(warnings),
        next_steps=tuple(steps),
        checks=(),
    )
    return _add_checks(verdict, [*required, *limits, *comparisons], [*limits, *decisive])


def compare_with_base(verdict: Verdict, run: Run, base: Run | None, gate: Gate) -> Verdict:
    """Add the checks against another run to the verdict on a run.

    Args:
        base: The other run; None if there is none.
    """
    checks = [*check_base(run, base, gate)]
    return _add_checks(verdict, checks, checks)


def _add_checks(verdict: Verdict, checks: Sequence[Check], reasons: Sequence[Check]) -> Verdict:
    """Add checks to a verdict. Some of them explain it, unless they are limits that are kept."""
    status = min([verdict.status, *(check.status for check in checks)], key=STATUSES.index)
    texts = [verdict.reason] if verdict.reason != KEEPS_RULES else []
    for check in reasons:
        if check.status == "fail" and check.metric is None:
            texts.insert(0, check.reason)
        elif check.status == "undecided" or check.metric is not None:
            texts.append(check.reason)
    update = {"status": status, "reason": ". ".join(texts) or KEEPS_RULES}
    return verdict.model_copy(update=update | {"checks": (*verdict.checks, *checks)})


def _rank(check: Check) -> tuple[int, float]:
    """Sort by status, the worst first, then by the baseline, the best first."""
    difference = check.difference
    return STATUSES.index(check.status), -difference.value if difference else float("inf")


def check_limits(evaluation: Evaluation, gate: Gate) -> Iterator[Check]:
    """Check the limits that params.yaml gives.

    A score without an interval is judged by itself if its row set has no intervals. Otherwise, too
    few rows decide it.
    """
    scores = {score.key: score for score in evaluation.scores if score.model == MODEL}
    for rule, limits in (("lowest", gate.lowest), ("highest", gate.highest)):
        for key, limit in limits.items():
            score = scores.get(key)
            if score is None:
                reason = f"{key} is not among the scores of this run"
                yield Check(rule=f"{rule} {key}", status="fail", reason=reason, allowed=limit)
                continue
            low, high = score.interval or (score.value, score.value)
            status = judge(low, high, limit) if rule == "highest" else judge(-high, -low, -limit)
            if score.row_set in HELD_OUT and not score.interval and score.value not in (0, 1):
                status = "undecided"  # too few rows decide it
            bound = "at least" if rule == "lowest" else "at most"
            text = format_number(score.value, limit)
            text += f" {format_interval(*score.interval)}" if score.interval else ""
            word = "but" if status == "fail" else "and"
            ending = f"; {NOT_SETTLED}" if status == "undecided" else ""
            yield Check(
                rule=f"{rule} {key}",
                status=status,
                reason=f"{key} is {text} {word} has to be {bound} "
                f"{format_number(limit, score.value)}{ending}",
                value=score.value,
                allowed=limit,
            )


def check_base(run: Run, base: Run | None, gate: Gate) -> Iterator[Check]:
    """Check that scores are not worse than those of another run by more than a share.

    Scores of the test rows are compared on the rows that both runs have, see `paired_scores`.

    Args:
        base: The other run; None if there is none.
    """
    evaluation = run.require_evaluation()
    scores = model_values(evaluation.scores)
    no_base = mismatch(run, base) if base else ""
    base_scores, costs = dict[str, float](), None
    if base and not no_base:
        base_evaluation = base.require_evaluation()
        base_scores, costs = model_values(base_evaluation.scores), base_evaluation.costs
    for key, share in gate.worse_than_last.items():
        rule = f"worse_than_last {key}"
        if base is None:
            status, problem = _explain_no_base(gate)
            yield Check(rule=rule, status=status, reason=f"{key}: {problem}")
        elif not no_base and key.endswith(f".{COST}") and costs != evaluation.costs:
            reason = f"{key}: {base.label} has other costs"
            yield Check(rule=rule, status="undecided", reason=reason)
        elif no_base or key not in scores or key not in base_scores:
            reason = f"{key}: {no_base or f'not among the scores of this run and of {base.label}'}"
            yield Check(rule=rule, status="undecided", reason=reason)
        else:
            yield _compare_with_base(rule, share, run, base, scores[key], base_scores[key])


def _explain_no_base(gate: Gate) -> tuple[Status, str]:
    """Pass before the first run is committed, but not if the base cannot be found."""
    if gate.base != "last":
        return "undecided", f"gate.base: there is no {gate.base} in this clone"
    if is_shallow():
        return "undecided", "this clone has no history; run `git fetch --unshallow`"
    return "pass", "no earlier run is committed"


def _compare_with_base(
    rule: str, share: float, run: Run, base: Run, value: float, base_value: float
) -> Check:
    key, rows, change = rule.partition(" ")[2], "", value - base_value
    difference = Difference(value=change, low=change, high=change)
    if key.startswith("test."):
        from keras_tabular.experiments.paired import paired_scores  # SciPy takes 0.5 s

        paired = paired_scores(run, base).get(key.removeprefix("test."))
        if paired is None:
            problem = f"this run and {base.label} share too few test rows that decide it"
            return Check(rule=rule, status="undecided", reason=f"{key}: {problem}")
        difference, base_value = paired.difference, paired.base
        rows = f" on {paired.rows:,} test rows"
    difference = difference.as_loss(greater_is_better=metric(key).greater_is_better)
    limit = share * abs(base_value)
    status = judge(difference.low, difference.high, limit)
    if difference.low > 0 and difference.value > limit:  # worse, and probably by too much
        status = "fail"
    ending = f"; {NOT_SETTLED}" if status == "undecided" else ""
    is_loss = not metric(key).greater_is_better and base_value > 0
    relative = format_relative(difference, base_value, is_loss=is_loss)
    reason = f"{key} is {relative} than in {base.label}{rows} (allowed: {share:.0%} worse){ending}"
    return Check(rule=rule, status=status, reason=reason, value=value, allowed=base_value)
