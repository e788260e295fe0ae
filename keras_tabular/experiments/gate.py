"""The gate: has a run learnt something, does it keep its limits, and is it not worse?

`evaluate_gate` gives the verdict that follows from the scores of a run alone. Where somebody asks
for it, `compare_with_base` adds the comparison with another run.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from keras_tabular.config.params import PARAMS, Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Gate
from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.summary import evaluation_warnings
from keras_tabular.experiments.advice import Networks, next_steps
from keras_tabular.experiments.run import Run, mismatch
from keras_tabular.experiments.verdict import STATUSES, Check, Status, Verdict, worst_status
from keras_tabular.scoring.evaluation import Difference, Evaluation, Score, model_values
from keras_tabular.tasks.metrics import BASELINES, CONSTANTS, deciding_metric, metric

NOTHING_LEARNT, MISSES_LIMIT = "Nothing was learnt", "A score misses its limit"
KEEPS_RULES = "The run keeps every rule of the gate"


def evaluate_gate(
    evaluation: Evaluation, params: Params, schema: Schema, networks: Networks
) -> Verdict:
    """Check a run against the rules of the gate.

    First of all, the model has to be significantly better than a constant: otherwise it has learnt
    nothing, which is only a warning if `beat_baselines` does not contain `constant`. Then the
    limits are checked, and the model is compared with the linear and the boosted baseline by the
    paired difference of the loss on the test rows. Scores of cross-validation are compared only
    with limits, since a search may have optimised them.

    Args:
        params: The sections `gate`, `split` and `train`.
        networks: Weight and parameters of each architecture that was trained.
    """
    gate, task = params.gate, schema.learning_task
    names, scores = task.baselines, model_values(evaluation.scores)
    keys = list(dict.fromkeys([deciding_metric(params.train.loss), evaluation.primary_metrics[0]]))
    constant = check_baseline(evaluation, names["constant"], keys, None)
    limits = [*check_limits(scores, gate), *check_subgroups(evaluation, gate.groups)]
    comparisons = [
        check_baseline(evaluation, names[kind], keys, gate.margin)
        for kind in gate.beat_baselines
        if kind != "constant"
    ]
    compared = [check for check in comparisons if check.status != "skipped"]
    strongest = min(compared, key=_rank, default=None)

    required = [constant] if "constant" in gate.beat_baselines else []
    checks = [*required, *limits, *comparisons]
    missed_limits = [check.reason for check in limits if check.status == "fail"]
    has_learnt = constant.status == "pass"
    reasons, warnings = [*missed_limits], evaluation_warnings(evaluation, task)
    if required and not has_learnt:
        reasons.insert(0, constant.reason)
    elif strongest:
        reasons.append(strongest.reason)
    if not required and not has_learnt:
        warnings.insert(0, constant.reason.removeprefix(f"{NOTHING_LEARNT}: "))
    decisive_constant = constant if required or has_learnt else None
    return Verdict(
        status=worst_status([check.status for check in checks]),
        headline=_headline(decisive_constant, bool(missed_limits), strongest),
        reason=". ".join(reasons) or (constant.reason if has_learnt else KEEPS_RULES),
        warnings=tuple(warnings),
        next_steps=tuple(next_steps(evaluation, constant, strongest, schema, params, networks)),
        checks=tuple(checks),
    )


def compare_with_base(
    verdict: Verdict, run: Run, base: Run | None, limits: Mapping[str, float]
) -> Verdict:
    """Add the checks against another run to the verdict on a run.

    Args:
        base: The other run; None if there is none.
        limits: The key `worse_than_last` of the section `gate`.
    """
    checks = [*check_base(run, base, limits)]
    failed = [check.reason for check in checks if check.status == "fail"]
    statuses = [verdict.status, *(check.status for check in checks)]
    update: dict[str, object] = {"checks": (*verdict.checks, *checks)}
    update["status"] = worst_status(statuses)
    if failed and verdict.status == "fail":
        update["reason"] = ". ".join([verdict.reason, *failed])
    elif failed:
        own_reason = [verdict.reason] if verdict.reason != KEEPS_RULES else []
        update |= {"headline": MISSES_LIMIT, "reason": ". ".join([*failed, *own_reason])}
    return verdict.model_copy(update=update)


def _rank(check: Check) -> tuple[int, float]:
    """Sort by status, the worst first, then by the score of the baseline, the best first."""
    sign = -1 if metric(str(check.metric)).greater_is_better else 1
    return STATUSES.index(check.status), sign * (check.allowed or 0.0)


def _headline(constant: Check | None, misses_limit: bool, strongest: Check | None) -> str:
    if constant and constant.status != "pass":
        too_few = "There are too few test rows to tell whether anything was learnt"
        return too_few if constant.metric is None else NOTHING_LEARNT
    if misses_limit:
        return MISSES_LIMIT
    if strongest is None:
        is_better = f"The model is better than {CONSTANTS[constant.subject]}" if constant else ""
        return is_better or KEEPS_RULES
    if not strongest.is_significant:
        return f"No significant difference from {BASELINES[strongest.subject]}"
    outcome = "better" if strongest.status == "pass" else "worse"
    return f"The model is {outcome} than {BASELINES[strongest.subject]}"


def check_baseline(
    evaluation: Evaluation, name: str, keys: Sequence[str], margin: float | None
) -> Check:
    """Compare the model with a baseline by the paired difference of the deciding metric.

    The model has to be significantly better than a constant, but not than another baseline.

    Args:
        name: Name of the baseline.
        keys: Keys of the metrics to report; the first one decides.
        margin: Share of the baseline's score by which the model may be worse.
    """
    rule, key, is_constant = f"beat_baselines {name}", keys[0], name in CONSTANTS
    value, baseline = evaluation.value("test", key), evaluation.score("test", key, name)
    difference = baseline.difference if baseline else None
    rows = f"{evaluation.rows('test'):,} test rows"
    if value is None or baseline is None or difference is None:
        reason = f"{BASELINES[name]}: there are too few test rows, or no score to compare with"
        if is_constant:
            reason = f"{rows} are too few to tell whether anything was learnt"
        return Check(rule=rule, status="fail" if is_constant else "skipped", reason=reason)
    status, words = _judge_difference(baseline, difference, margin)
    reason = f"On {rows}, {words} {CONSTANTS.get(name, BASELINES[name])}"
    if is_constant and status != "pass":
        status, words = "fail", "the model is not significantly better than"
        reason = f"{NOTHING_LEARNT}: on {rows}, {words} {CONSTANTS[name]}"
    return Check(
        rule=rule,
        status=status,
        reason=f"{reason}: {_format_comparison(evaluation, name, keys)}",
        value=value,
        allowed=baseline.value,
        metric=key,
        difference=difference,
    )


def _judge_difference(
    baseline: Score, difference: Difference, margin: float | None
) -> tuple[Status, str]:
    """Return the status of a comparison with a baseline, and its outcome in words."""
    greater = metric(baseline.metric).greater_is_better
    if not difference.within_chance:
        if (difference.low > 0) == greater:
            return "pass", "the model is significantly better than"
        return "fail", "the model is significantly worse than"
    if margin is None:
        return "undecided", "there is no significant difference between the model and"
    most_worse = -difference.low if greater else difference.high  # that the interval contains
    if most_worse <= margin * abs(baseline.value):
        return "pass", f"the model is at most {margin:.0%} worse than"
    return "fail", f"the model may be more than {margin:.0%} worse than"


def _format_comparison(evaluation: Evaluation, name: str, keys: Sequence[str]) -> str:
    """Format the scores of the model and of a baseline, with the intervals of their differences."""
    texts = []
    for key in keys:
        value, baseline = evaluation.value("test", key), evaluation.score("test", key, name)
        if value is None or baseline is None or baseline.difference is None:
            continue
        label, greater_is_better, _ = metric(key)
        label = label if label[:2].isupper() else label.lower()  # but ROC AUC, R² and F1
        low, high = baseline.difference.low, baseline.difference.high
        direction = "" if greater_is_better else "lower is better; "
        texts.append(
            f"{label} {format_number(value, baseline.value)} vs "
            f"{format_number(baseline.value, value)} ({direction}95% CI of the difference "
            f"{format_number(low, high)} to {format_number(high, low)})"
        )
    return "; ".join(texts)


def check_limits(scores: Mapping[str, float], gate: Gate) -> Iterator[Check]:
    """Check the limits that params.yaml gives.

    Args:
        scores: Scores by dotted key, as params.yaml names them.
    """
    for rule, limits, at_least in (("lowest", gate.lowest, True), ("highest", gate.highest, False)):
        for key, limit in limits.items():
            yield _check_limit(f"{rule} {key}", scores.get(key), limit, at_least)


def check_base(run: Run, base: Run | None, limits: Mapping[str, float]) -> Iterator[Check]:
    """Check that scores are not worse than those of another run by more than a share.

    A score of the test rows fails only if the difference on the same test rows is significant.

    Args:
        base: The other run. The checks are skipped if there is none, or if it has another table or
            another rule of the split.
        limits: The largest allowed share, by the key of the score.
    """
    reason = _explain_no_base(run, base)
    if base is None or reason:
        for key in limits:
            rule = f"worse_than_last {key}"
            yield Check(rule=rule, status="skipped", reason=f"{key}: {reason}")
        return
    scores, base_scores = (model_values(each.require_evaluation().scores) for each in (run, base))
    for key, share in limits.items():
        rule, value, base_value = f"worse_than_last {key}", scores.get(key), base_scores.get(key)
        if base_value is None:
            reason = f"{key}: {base.label} has no such score"
            yield Check(rule=rule, status="skipped", reason=reason)
            continue
        greater = metric(key).greater_is_better
        limit = round(base_value + (-share if greater else share) * abs(base_value), 6)
        source = f" ({share:.0%} worse than {format_number(base_value)} in {base.label})"
        check = _check_limit(rule, value, limit, greater, "" if value is None else source)
        if check.status == "fail" and value is not None and key.startswith("test."):
            check = _check_significance(check, run, base)
        yield check


def _explain_no_base(run: Run, base: Run | None) -> str:
    if base is None:
        return "no earlier run is committed"
    split, base_split = ({"by": "random"} | r.load(PARAMS).get("split", {}) for r in (run, base))
    other_split = f"{base.label} has another split in params.yaml, so its test rows differ"
    return mismatch(run, base) or (other_split if split != base_split else "")


def _check_significance(check: Check, run: Run, base: Run) -> Check:
    from keras_tabular.experiments.paired import paired_differences  # SciPy takes 0.5 s

    difference = paired_differences(run, base).get(check.subject.removeprefix("test."))
    if difference is None:
        problem = f"{base.label} has different test rows, so its scores cannot be compared"
        reason = f"{check.subject}: {problem}"
        return check.model_copy(update={"status": "skipped", "reason": reason})
    if difference.within_chance:
        reason = f"{check.reason}; the difference on the same test rows is not significant"
        return check.model_copy(update={"status": "pass", "reason": reason})
    return check


def check_subgroups(evaluation: Evaluation, limits: Mapping[str, float]) -> Iterator[Check]:
    """Check the largest differences between the subgroups of each column.

    As with all limits, the difference itself decides, and not its interval.

    Args:
        limits: Largest allowed differences, by keys such as `error_difference`.
    """
    differences = {name: column.differences for name, column in evaluation.subgroups.items()}
    for name, key in product(differences or ["evaluate.groups"], limits):
        value, source = None, ", since no two groups have enough rows that decide it"
        if "subgroups" in evaluation.failed_explanations:
            source = ", since they could not be computed"
        elif key == "coverage_difference" and not evaluation.interval_coverage:
            source = ", since the model has no prediction intervals, which require "
            source += "train.folds above 1"
        if largest := differences.get(name, {}).get(key.removesuffix("_difference")):
            value, interval = largest.value, "no interval"
            if largest.interval:
                low, high = largest.interval
                interval = f"95% CI {format_number(low, high)} to {format_number(high, low)}"
            source = f" (highest: {largest.highest}, lowest: {largest.lowest}; {interval})"
        yield _check_limit(f"groups {name}.{key}", value, limits[key], False, source)


def _check_limit(
    rule: str, value: float | None, limit: float, at_least: bool, source: str = ""
) -> Check:
    key = rule.partition(" ")[2]
    status: Status = "fail"
    reason = f"{key} is not among the scores of this run{source}"
    if value is not None:
        is_met = value >= limit if at_least else value <= limit
        status = "pass" if is_met else "fail"
        reason = (
            f"{key} is {format_number(value, limit)} {'and' if is_met else 'but'} has to be "
            f"{'at least' if at_least else 'at most'} {format_number(limit, value)}{source}"
        )
    return Check(rule=rule, status=status, reason=reason, value=value, allowed=limit)
