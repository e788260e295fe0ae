"""Whether a run may be accepted: limits of its scores, its baselines and the run before it."""

import math
import operator
from typing import Any, NamedTuple

from tabular.config.sections import Gate
from tabular.core.errors import listed
from tabular.core.metrics import BASELINES, TASKS, flat_numbers, get_nested, metric, with_digits
from tabular.runs.git import Revision, commit_before
from tabular.runs.run import Run, mismatch

COMPARISONS = {"at least": operator.ge, "at most": operator.le}
ORDER = ("fail", "level", "pass")  # the worst verdict comes first
# A decisive score, or R², that looks like a leak; and the lower bound of its interval.
SUSPICIOUS, MIN_LOWER_BOUND = 0.999, 0.98
OVERFITTED = 0.7  # a training loss below this share of the cross-validated one is overfitting


class Base(NamedTuple):
    """The run to compare with; or why there is none, and no scores."""

    name: str
    scores: dict[str, Any]


class Rule(NamedTuple):
    """What `key` has to be; `limit` is None where the rule has nothing to compare it with."""

    name: str
    key: str
    comparison: str
    limit: float | None
    source: str = ""


def base_of(run: Run, other: Run) -> Base:
    """Another run as the base of this one, if it is of the same table, split by the same rule."""
    reason = mismatch(run, other)
    if not reason and split_of(run) != split_of(other):
        reason = f"{other.label} has another split in params.yaml, and so other test rows"
    return Base(reason, {}) if reason else Base(other.label, other.scores)


def split_of(run: Run) -> dict[str, Any]:
    """The section `split` of a run's params.yaml."""
    return {"by": "random"} | run.load("params.yaml").get("split", {})


def last_committed(run: Run) -> Base:
    """The last committed run with other metrics."""
    commit = commit_before(run.files["metrics"])
    if commit is None:
        return Base("no earlier run is committed here", {})
    return base_of(run, Run(Revision(commit[:7], commit), run.files))


def evaluate_gate(scores: dict[str, Any], base: Base, gate: Gate, task: str) -> dict[str, Any]:
    """The `verdict` with its `reason`, what to try `next`, and the `checks`.

    `by` is the score, and `against` the baseline, of the one comparison that decides.
    A limit passes or fails; one that needs an earlier run is `skipped` where there is none, and one
    of a score that the run has not fails. A baseline is beaten on the test rows by more than chance
    (pass), level with the model, or better by more than chance (fail). The verdict is the worst of
    all. Cross-validation, by which parameters may have been searched, decides nothing here.
    """
    limits = [_limit_check(rule, flat_numbers(scores)) for rule in _rules(scores, base, gate)]
    names = [TASKS[task].baselines[kind] for kind in gate.beat_baselines]
    compared = [
        check
        for name in names
        for key in scores.get("decides", [])
        if (check := _baseline_check(scores, name, key))
    ]
    skipped = [
        {
            "rule": f"beat_baselines {name}",
            "verdict": "skipped",
            "reason": f"nothing to compare with {BASELINES[name]}",
        }
        for name in names
        if not any(check["rule"] == f"beat_baselines {name}" for check in compared)
    ]
    decisive = min(compared, key=_rank, default=None)
    missed = [check for check in limits if check["verdict"] == "fail"]
    verdict = "fail" if missed else decisive["verdict"] if decisive else "pass"
    said = [check["reason"] for check in missed]
    said += [decisive["reason"]] if decisive else []
    if missed_classes := scores.get("classes_not_found"):
        said.append(f"no test row of class {listed(missed_classes)} is found, a recall of 0")
    return {
        "verdict": verdict,
        "reason": "; ".join(said) or "no limit is missed, and no baseline is declared",
        "against": decisive["rule"].partition(" ")[2] if decisive else None,
        "by": decisive["score"] if decisive else None,
        "next": next_steps(scores, decisive, task),
        "checks": [*limits, *compared, *skipped],
    }


def _rules(scores: dict[str, Any], base: Base, gate: Gate) -> list[Rule]:
    before = flat_numbers(base.scores)
    rules = [Rule("lowest", key, "at least", limit) for key, limit in gate.lowest.items()]
    rules += [Rule("highest", key, "at most", limit) for key, limit in gate.highest.items()]
    for key, share in gate.worse_than_last.items():
        greater = metric(key).greater_is_better
        limit, source = None, base.name
        if key in before:
            worse = share * abs(before[key])
            limit = round(before[key] + (-worse if greater else worse), 6)
            source = f"{share:.0%} worse than {before[key]:g} of {base.name}"
        comparison = "at least" if greater else "at most"
        rules.append(Rule("worse_than_last", key, comparison, limit, source))
    return rules


def _limit_check(rule: Rule, values: dict[str, float]) -> dict[str, Any]:
    value = values.get(rule.key)
    source = f" ({rule.source})" if rule.source else ""
    if value is None:
        verdict, reason = "fail", f"{rule.key} is not among the scores of this run"
    elif rule.limit is None:
        verdict, reason = "skipped", f"nothing to compare {rule.key} with{source}"
    else:
        passed = COMPARISONS[rule.comparison](value, rule.limit)
        verdict = "pass" if passed else "fail"
        reason = f"{rule.key} is {value:g}; needed {rule.comparison} {rule.limit:g}{source}"
    return {
        "rule": f"{rule.name} {rule.key}",
        "found": value,
        "allowed": rule.limit,
        "verdict": verdict,
        "reason": reason,
    }


def _baseline_check(
    scores: dict[str, Any], name: str, key: str, rows: str = "test"
) -> dict[str, Any] | None:
    """How a score compares with a baseline's on the same rows; None where one of them has none."""
    of = get_nested(scores, f"paired_difference.{rows}.{name}.{key}")
    if not of:
        return None
    sign = 1 if metric(key).greater_is_better else -1
    better, worse = (min(way * of["low"], way * of["high"]) > 0 for way in (sign, -sign))
    verdict = "pass" if better else "fail" if worse else "level"
    verb = {"pass": "is better than", "level": "is level with", "fail": "is worse than"}[verdict]
    baseline = scores["baseline"][name]
    mine = flat_numbers(scores[rows])[key]
    theirs = flat_numbers(baseline if rows == "test" else baseline[rows])[key]
    half = (of["high"] - of["low"]) / 2
    where = {"test": "test rows", "cross_validation": "cross-validated rows"}[rows]
    value, other, difference, low, high = (
        with_digits(number, half)
        for number in (mine, theirs, of["difference"], of["low"], of["high"])
    )
    return of | {
        "rule": f"beat_baselines {name}",
        "score": f"{rows}.{key}",
        "found": mine,
        "allowed": theirs,
        "verdict": verdict,
        "reason": (
            f"{metric(key).label} {value} on {scores[rows]['rows']:,} {where} {verb} {other} of "
            f"{BASELINES[name]}: the difference of {difference} is "
            f"{'within' if verdict == 'level' else 'more than'} chance "
            f"(95% interval {low} to {high})"
        ),
    }


def _rank(check: dict[str, Any]) -> tuple[int, float]:
    """The worst verdict first; among equal ones the baseline that does best."""
    sign = 1 if metric(check["score"]).greater_is_better else -1
    half = (check["high"] - check["low"]) / 2
    return ORDER.index(check["verdict"]), sign * check["difference"] / half if half else 0.0


def next_steps(scores: dict[str, Any], decisive: dict[str, Any] | None, task: str) -> list[str]:
    """What to try, from what the scores tell; nothing where they tell nothing.

    Args:
        decisive: the comparison with a baseline that decides, if there is one.
    """
    steps = [_missed_classes_step(scores, task)]
    if decisive:
        steps += [
            _row_count_step(scores, decisive),
            _fit_step(scores, decisive),
            _cross_validation_step(scores, decisive),
            _baseline_step(decisive),
        ]
    steps += [_threshold_step(scores, task), _interval_step(scores), _leak_step(scores, task)]
    return [step for step in steps if step]


def _missed_classes_step(scores: dict[str, Any], task: str) -> str | None:
    """How to find classes of which no test row is found."""
    missed = scores.get("classes_not_found")
    if not missed:
        return None
    if task == "binary":
        return (
            f"no row of class {listed(missed)} is found at threshold "
            f"{scores.get('threshold', 0.5):g}: let evaluate.threshold be "
            "chosen, as in {best: f1} or {recall: 0.8}"
        )
    return (
        f"no row of class {listed(missed)} is found: try train.class_weight: balanced, or more "
        "rows of it"
    )


def _row_count_step(scores: dict[str, Any], decisive: dict[str, Any]) -> str | None:
    """How many rows would show a difference that is within chance now."""
    if decisive["verdict"] != "level" or not decisive["difference"]:
        return None
    rows = scores[decisive["score"].partition(".")[0]]["rows"]
    half = (decisive["high"] - decisive["low"]) / 2
    needed = rows * (half / decisive["difference"]) ** 2
    if needed <= rows:
        return None
    unit = 10 ** max(int(math.log10(needed)) - 1, 0)  # two digits are kept
    return (
        f"too few rows to tell: a difference of {abs(decisive['difference']):.2g} shows "
        f"from about {math.ceil(needed / unit) * unit:,} rows on, and these are {rows:,}"
    )


def _fit_step(scores: dict[str, Any], decisive: dict[str, Any]) -> str | None:
    """What to do about overfitting; or what else may help, where there is none."""
    train, folds = (scores.get(rows, {}).get("loss") for rows in ("train", "cross_validation"))
    if train is None or folds is None:
        return None
    losses = [with_digits(loss, folds / 100) for loss in (train, folds)]
    if train < OVERFITTED * folds:
        return (
            f"the training rows are known better than others (loss {losses[0]} against "
            f"{losses[1]}): more rows are likely to help, or more dropout and l2"
        )
    if decisive["verdict"] == "pass":
        return None
    return (
        f"the loss of training rows, {losses[0]}, is close to that of others, {losses[1]}: "
        "other columns are likely to help more than more rows"
    )


def _cross_validation_step(scores: dict[str, Any], decisive: dict[str, Any]) -> str | None:
    """A baseline against which cross-validation gives a worse verdict than the test rows."""
    checks = [
        check
        for name in scores.get("paired_difference", {}).get("cross_validation", {})
        for key in scores.get("decides", [])
        if (check := _baseline_check(scores, name, key, "cross_validation"))
    ]
    worst = min(checks, key=_rank, default=None)
    if not worst or _rank(worst)[0] >= _rank(decisive)[0]:
        return None
    return f"cross-validation does not say so: {worst['reason']}"


def _baseline_step(decisive: dict[str, Any]) -> str | None:
    """What to use in place of a model that is worse than a baseline."""
    if decisive["verdict"] != "fail":
        return None
    name = BASELINES[decisive["rule"].partition(" ")[2]]
    return f"use {name}, or try another of train.networks or python -m commands.search"


def _threshold_step(scores: dict[str, Any], task: str) -> str | None:
    """Whether to choose a threshold, where a class is rare and its rows are found at 0.5."""
    rare = task == "binary" and len(scores.get("decides", [])) > 1
    if not rare or scores.get("threshold") != 0.5 or scores.get("classes_not_found"):
        return None
    return (
        "a class is rare: a threshold by evaluate.threshold says how many of its rows are "
        "found, and at what price"
    )


def _interval_step(scores: dict[str, Any]) -> str | None:
    """What to ask where the intervals of a regression cover too few test rows."""
    interval = scores.get("interval")
    if interval and interval["coverage_high"] < interval["asked"]:
        return (
            f"intervals of {interval['asked']:.0%} hold {interval['coverage']:.1%} of the values "
            "of test rows, fewer than by chance: are these as the training rows? Another "
            "split.seed tells"
        )
    return None


def _leak_step(scores: dict[str, Any], task: str) -> str | None:
    """What to ask of a score that is nearly perfect."""
    key = "r2" if task == "regression" else next(iter(scores.get("decides", [])), "")
    test = flat_numbers(scores.get("test", {}))
    if test.get(key, 0) >= SUSPICIOUS and test.get(f"{key}_low", 0) >= MIN_LOWER_BOUND:
        return (
            "nearly no error: is the most important column known before the answer is, or a leak?"
        )
    return None
