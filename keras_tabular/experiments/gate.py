"""The gate: has a run learnt something, does it keep its limits, and is it not worse?

`evaluate_gate` gives the verdict that follows from the scores of a run alone. Where somebody asks
for it, `compare_with_base` adds the comparison with another run.

A rule judges the 95% interval of a score or of a difference, see `judge`: it passes if the interval
keeps the limit, fails if the interval misses it, and is undecided if the limit lies inside, or if
the rule cannot be checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from keras_tabular.config.params import Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Gate
from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.summary import (
    OTHER_PLACES,
    evaluation_warnings,
    format_interval,
)
from keras_tabular.experiments.advice import Networks, next_steps
from keras_tabular.experiments.run import Run, is_shallow, mismatch
from keras_tabular.experiments.verdict import STATUSES, Check, Status, Verdict, worst_status
from keras_tabular.scoring.evaluation import (
    MODEL,
    Difference,
    Evaluation,
    Interval,
    Score,
    model_values,
)
from keras_tabular.tasks.metrics import BASELINES, CONSTANTS, deciding_metric, metric
from keras_tabular.tasks.task import Task

NOTHING_LEARNT = "nothing was learnt"
TOO_FEW_ROWS = "too few rows to tell if anything was learnt"
NOT_SETTLED = "not settled by these rows"
LEARNT = {"pass": "", "fail": f"; {NOTHING_LEARNT}", "undecided": f"; {TOO_FEW_ROWS}"}
KEEPS_RULES = "The run keeps every rule of the gate"
MIN_USEFUL_GAIN = 0.05  # share of the loss of a constant; a model without it is of no use
RANDOM_AUC = 0.5  # area under the ROC curve of an order by chance
MAX_LOSS_RATIO = 2.0  # of a baseline's loss on test rows to the cross-validated one
POWER = (1.96 + 0.84) / 1.96  # half widths of a difference that is found in 80% of draws


def evaluate_gate(
    evaluation: Evaluation, params: Params, schema: Schema, networks: Networks
) -> Verdict:
    """Check a run against the rules of the gate.

    First of all, the model has to be significantly better than a constant. If it is not, that is
    only a warning if `beat_baselines` does not contain `constant`. Then the limits are checked, and
    the model is compared with the linear and the boosted baseline by the paired difference of the
    loss on the test rows.

    Args:
        params: The sections `gate`, `split` and `train`.
        networks: Weight and parameters of each architecture that was trained.
    """
    gate, task = params.gate, schema.learning_task
    keys = list(dict.fromkeys([deciding_metric(params.train.loss), evaluation.primary_metrics[0]]))
    constant = check_constant(evaluation, task, keys)
    limits = [*check_limits(evaluation, gate), *check_subgroups(evaluation, gate.groups)]
    names = [task.baselines[kind] for kind in gate.beat_baselines if kind != "constant"]
    breakdowns = {name: find_breakdown(evaluation, task, name, keys[0]) for name in names}
    margin = gate.margin or 0.0
    comparisons = [check_baseline(evaluation, name, keys, margin, breakdowns) for name in names]
    required = [constant] if "constant" in gate.beat_baselines else []
    has_learnt, warnings = constant.status == "pass", evaluation_warnings(evaluation, task)
    if has_learnt:
        broken = [text for text in breakdowns.values() if text]
        warnings += [f"{text}, so that beating it shows nothing" for text in broken]
    strongest = min(comparisons, key=_rank, default=None)
    decisive = [strongest] if strongest else []
    if not has_learnt:
        decisive = required
    if not required and not has_learnt:
        warnings.insert(0, constant.reason)
    verdict = Verdict(
        status="pass",
        headline=_headline(evaluation, constant, keys[0], task),
        reason=KEEPS_RULES,
        warnings=tuple(warnings),
        next_steps=tuple(next_steps(evaluation, constant, strongest, schema, params, networks)),
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
    status = worst_status([verdict.status, *(check.status for check in checks)])
    texts = [verdict.reason] if verdict.reason != KEEPS_RULES else []
    for check in reasons:
        if check.status == "fail" and check.metric is None:
            texts.insert(0, check.reason)
        elif check.status == "undecided" or check.metric is not None:
            texts.append(check.reason)
    update = {"status": status, "reason": ". ".join(texts) or KEEPS_RULES}
    return verdict.model_copy(update=update | {"checks": (*verdict.checks, *checks)})


def judge(low: float, high: float, limit: float) -> Status:
    """Judge by an interval whether a value is at most a limit."""
    if high <= limit:
        return "pass"
    return "fail" if low > limit else "undecided"


def _rank(check: Check) -> tuple[int, float]:
    """Sort by status, the worst first, then by the loss of the baseline, the best first."""
    return STATUSES.index(check.status), float("inf") if check.allowed is None else check.allowed


def _headline(evaluation: Evaluation, constant: Check, key: str, task: Task) -> str:
    """Say how large the loss is, how sure that is, and how much the model gains."""
    rows, score = f"{evaluation.rows('test'):,} test rows", evaluation.score("test", key)
    if score is None or constant.difference is None or constant.allowed is None:
        return f"There are {TOO_FEW_ROWS}"
    interval = f" {format_interval(*score.interval)}" if score.interval else ""
    gain = format_relative(constant.difference, constant.allowed)
    label = task.loss_label if key == "loss" else metric(key).label
    text = f"{label} {format_number(score.value)} on {rows}{interval}, {gain} than no model"
    ranking = find_ranking(evaluation, task)
    if constant.status == "pass" and constant.difference.within_chance and ranking:
        return f"{text}; {metric(ranking.metric).label} {format_number(ranking.value)}"
    return text + LEARNT[constant.status]


def check_constant(evaluation: Evaluation, task: Task, keys: Sequence[str]) -> Check:
    """Compare the model with the constant baseline.

    It passes if the model is significantly better, or if it is better and the order of its
    probabilities is significantly better than chance. It fails if the interval excludes a useful
    gain. Otherwise, the rows are too few to tell.

    Args:
        keys: Keys of the metrics to report; the first one is a loss, which decides.
    """
    name = task.baselines["constant"]
    score = evaluation.score("test", keys[0], name)
    if score is None or score.difference is None:
        reason = f"There are {TOO_FEW_ROWS}: {evaluation.rows('test'):,}"
        return Check(rule=f"beat_baselines {name}", status="undecided", reason=reason)
    status: Status = "pass"
    difference = score.difference
    has_gained = difference.value < 0 and find_ranking(evaluation, task) is not None
    if difference.high >= 0 and not has_gained:
        is_excluded = difference.low > -MIN_USEFUL_GAIN * abs(score.value)
        status = "fail" if is_excluded else "undecided"
    return _comparison(evaluation, score, keys, status, "")


def find_ranking(evaluation: Evaluation, task: Task) -> Score | None:
    """Return the ROC AUC of the test rows if it is significantly better than chance."""
    score = evaluation.score("test", task.second_metric) if task.classes else None
    return score if score and score.interval and score.interval[0] > RANDOM_AUC else None


def check_baseline(
    evaluation: Evaluation,
    name: str,
    keys: Sequence[str],
    margin: float,
    breakdowns: Mapping[str, str],
) -> Check:
    """Compare the model with another baseline by the paired difference of the loss.

    Args:
        keys: As for `check_constant`.
        margin: Share of the baseline's loss by which the model may be worse. With 0, it passes if
            it is significantly better, and fails if it is significantly worse.
        breakdowns: The result of `find_breakdown` for each baseline. If all broke down, the model
            cannot pass.
    """
    score = evaluation.score("test", keys[0], name)
    if score is None or score.difference is None:
        problem = "there are too few test rows, or no score to compare with"
        reason = f"Compared with {BASELINES[name]}: {problem}"
        return Check(rule=f"beat_baselines {name}", status="undecided", reason=reason)
    difference, unit = score.difference, abs(score.value)
    status, words = judge(difference.low, difference.high, margin * unit), ""
    if not margin and difference.within_chance:  # two equal models, too
        status = "undecided"
    if status == "undecided":
        words = f"; {NOT_SETTLED}"
    elif margin and difference.high > 0:
        inside = "equivalent within" if difference.low >= -margin * unit else "within"
        words = f"; {inside if status == 'pass' else 'worse than'} the margin of {margin:.0%}"
    if status == "pass" and breakdowns[name]:
        status = "undecided" if all(breakdowns.values()) else "pass"
        words = f"; but {breakdowns[name]}"
    return _comparison(evaluation, score, keys, status, words)


def _comparison(
    evaluation: Evaluation, score: Score, keys: Sequence[str], status: Status, words: str
) -> Check:
    """Build the check of a comparison with the score of a baseline."""
    name, difference, details = score.model, score.difference, []
    if difference is None:
        raise ValueError(f"{score.key}: there is no difference from {name}")
    for key in keys:
        value, baseline = evaluation.value("test", key), evaluation.value("test", key, name)
        label = metric(key).label
        label = label if label[:2].isupper() else label.lower()  # but ROC AUC, R² and F1
        scores = format_number(value, baseline), format_number(baseline, value)
        details.append(f"{label} {' vs '.join(scores)}")
    for place, where in OTHER_PLACES.items():
        if (other := evaluation.score(place, keys[0], name)) and other.difference:
            outcome = "better" if other.difference.high < 0 else "worse"
            outcome = "not settled" if other.difference.within_chance else outcome
            details.append(f"{where}: {outcome}")
    title = f"Compared with {CONSTANTS.get(name, BASELINES[name])}"
    relative = format_relative(difference, score.value)
    return Check(
        rule=f"beat_baselines {name}",
        status=status,
        reason=f"{title}: {relative}{words} ({'; '.join(details)})",
        value=evaluation.value("test", score.metric),
        allowed=score.value,
        metric=score.metric,
        difference=difference,
    )


def find_breakdown(evaluation: Evaluation, task: Task, name: str, key: str) -> str:
    """Say whether a baseline broke down on the test rows; empty if it did not.

    Its loss is then higher than that of a constant, or the whole interval of its loss is above
    `MAX_LOSS_RATIO` times its loss in cross-validation.

    Args:
        key: Key of the loss.
    """
    constant = evaluation.value("test", key, task.baselines["constant"])
    score, label = evaluation.score("test", key, name), BASELINES[name]
    if score is None:
        return ""
    if constant is not None and score.value > constant:
        loss, other = format_number(score.value, constant), format_number(constant, score.value)
        return f"{label} is worse than no model (loss {loss} vs {other})"
    for place, where in OTHER_PLACES.items():
        held_out = evaluation.value(place, key, name)
        if held_out and score.interval and score.interval[0] > MAX_LOSS_RATIO * held_out:
            loss, other = format_number(score.value), format_number(held_out)
            return f"{label} broke down (loss {loss}, and {other} {where})"
    return ""


def smallest_difference(difference: Difference, base: float) -> str:
    """Return the share of a loss that a difference must have to be found in 80% of draws.

    Args:
        difference: A difference with the width of its interval.
    """
    return _percent(POWER * (difference.high - difference.low) / 2, base)


def format_relative(difference: Difference, base: float) -> str:
    """Say in percent of a base how much better or worse a loss is, from end to end.

    Returns:
        For example "1.7% to 6.2% better", or "between 3.3% better and 0.3% worse".
    """
    low, high = (_percent(abs(end), base) for end in (difference.low, difference.high))
    if difference.low < 0 < difference.high:
        return f"between {low} better and {high} worse"
    is_better = difference.high <= 0
    first, last = (high, low) if is_better else (low, high)
    span = first if first == last else f"{first} to {last}"
    return f"{span} {'better' if is_better else 'worse'}"


def _percent(value: float, base: float) -> str:
    """Format a value in percent of a base; as it is if the base is 0."""
    if not base:
        return format_number(value)
    share = 100 * value / abs(base)
    return f"{share:.{0 if share >= 10 else 1}f}%"


def check_limits(evaluation: Evaluation, gate: Gate) -> Iterator[Check]:
    """Check the limits that params.yaml gives. A score without an interval is judged by itself."""
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
            yield _limit_check(f"{rule} {key}", status, score.value, limit, score.interval)


def check_subgroups(evaluation: Evaluation, limits: Mapping[str, float]) -> Iterator[Check]:
    """Check the largest differences between the subgroups of each column.

    Args:
        limits: Largest allowed differences, by keys such as `error_difference`.
    """
    differences = {name: column.differences for name, column in evaluation.subgroups.items()}
    for name, key in product(differences or ["evaluate.groups"], limits):
        rule, limit = f"groups {name}.{key}", limits[key]
        if largest := differences.get(name, {}).get(key.removesuffix("_difference")):
            status = judge(*(largest.interval or (0.0, float("inf"))), limit)
            check = _limit_check(rule, status, largest.value, limit, largest.interval)
            source = f" (highest: {largest.highest}, lowest: {largest.lowest})"
            yield check.model_copy(update={"reason": check.reason + source})
            continue
        problem = "no two groups have enough rows that decide it"
        if "groups" in evaluation.failed_explanations:
            problem = "they could not be computed"
        elif key == "coverage_difference" and not evaluation.interval_coverage:
            problem = "the model has no prediction intervals, which require train.folds above 1"
        reason = f"{name}.{key} is not among the scores of this run, since {problem}"
        yield Check(rule=rule, status="undecided", reason=reason, allowed=limit)


def _limit_check(
    rule: str, status: Status, value: float, limit: float, interval: Interval | None
) -> Check:
    """Build the check of a limit."""
    name, _, key = rule.partition(" ")
    bound = f"{'at least' if name == 'lowest' else 'at most'} {format_number(limit, value)}"
    text = format_number(value, limit)
    text += f" {format_interval(*interval)}" if interval else ""
    word, ending = {"pass": ("and", ""), "fail": ("but", "")}.get(
        status, ("and", f"; {NOT_SETTLED}")
    )
    reason = f"{key} is {text} {word} has to be {bound}{ending}"
    return Check(rule=rule, status=status, reason=reason, value=value, allowed=limit)


def check_base(run: Run, base: Run | None, gate: Gate) -> Iterator[Check]:
    """Check that scores are not worse than those of another run by more than a share.

    Scores of the test rows are compared on the rows that both runs have, see `paired_scores`.

    Args:
        base: The other run; None if there is none.
    """
    scores = model_values(run.require_evaluation().scores)
    no_base = mismatch(run, base) if base else ""
    base_scores = model_values(base.require_evaluation().scores) if base and not no_base else {}
    for key, share in gate.worse_than_last.items():
        rule = f"worse_than_last {key}"
        if base is None:
            yield _check_without_base(rule, gate)
        elif no_base or key not in scores or key not in base_scores:
            reason = f"{key}: {no_base or f'not among the scores of this run and of {base.label}'}"
            yield Check(rule=rule, status="undecided", reason=reason)
        else:
            yield _compare_with_base(rule, share, run, base, scores[key], base_scores[key])


def _check_without_base(rule: str, gate: Gate) -> Check:
    """Pass before the first run is committed, but not if the last one cannot be found."""
    key, status, problem = rule.partition(" ")[2], "pass", "no earlier run is committed"
    if gate.base != "last":
        status, problem = "undecided", f"gate.base: there is no {gate.base} in this clone"
    elif is_shallow():
        status, problem = "undecided", "this clone has no history; run `git fetch --unshallow`"
    return Check.model_validate({"rule": rule, "status": status, "reason": f"{key}: {problem}"})


def _compare_with_base(
    rule: str, share: float, run: Run, base: Run, value: float, base_value: float
) -> Check:
    key, rows, change = rule.partition(" ")[2], "", value - base_value
    difference = Difference(value=change, low=change, high=change)
    if key.startswith("test."):
        from keras_tabular.experiments.paired import paired_scores  # SciPy takes 0.5 s

        paired = paired_scores(run, base).get(key.removeprefix("test."))
        if paired is None:
            problem = f"{base.label} has other test rows, and its model cannot predict these"
            return Check(rule=rule, status="undecided", reason=f"{key}: {problem}")
        difference, base_value = paired.difference, paired.base
        rows = f" on {paired.rows:,} test rows"
    difference = difference.as_loss(metric(key).greater_is_better)
    limit = share * abs(base_value)
    status = judge(difference.low, difference.high, limit)
    if difference.low > 0 and difference.value > limit:  # worse, and probably by too much
        status = "fail"
    ending = f"; {NOT_SETTLED}" if status == "undecided" else ""
    relative = format_relative(difference, base_value)
    reason = f"{key} is {relative} than in {base.label}{rows}, and may be {share:.0%} worse{ending}"
    return Check(rule=rule, status=status, reason=reason, value=value, allowed=base_value)
