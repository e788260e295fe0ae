"""Whether a run may be accepted: limits of its scores, its baselines and the run before it."""

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tabular.config.params import Params
from tabular.config.sections import Gate
from tabular.core.errors import listed
from tabular.core.metrics import (
    BASELINES,
    TASKS,
    flat_numbers,
    get_nested,
    metric,
    shown,
    shown_scores,
)
from tabular.evaluation.sentences import equal_rows_told
from tabular.runs.advice import next_steps
from tabular.runs.git import Revision, commit_before
from tabular.runs.run import Run, mismatch

COMPARISONS = {"at least": operator.ge, "at most": operator.le}
ORDER = ("fail", "level", "pass")  # the worst verdict comes first


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


def evaluate_gate(
    scores: dict[str, Any],
    base: Base,
    params: Params,
    task: str,
    trained: Mapping[str, Any],
) -> dict[str, Any]:
    """The `verdict` with its `reason`, what to try `next`, and the `checks`.

    `by` is the score, and `against` the baseline, of the one comparison that decides.
    A limit passes or fails; one that needs an earlier run is `skipped` where there is none, and one
    of a score that the run has not fails. A baseline is beaten on the test rows by more than chance
    (pass), level with the model, or better by more than chance (fail). The verdict is the worst of
    all. Cross-validation, by which parameters may have been searched, decides nothing here.

    Args:
        params: of `gate`, `split` and `train`.
        trained: `weight` and `params` of each kind of networks.
    """
    gate = params.gate
    limits = [_limit_check(rule, flat_numbers(scores)) for rule in _rules(scores, base, gate)]
    names = [TASKS[task].baselines[kind] for kind in gate.beat_baselines]
    compared = list(_baseline_checks(scores, names, "test"))
    known = {check["rule"] for check in compared}
    skipped = [
        {"rule": rule, "verdict": "skipped", "reason": "no score to compare with"}
        for rule in (f"beat_baselines {name}" for name in names)
        if rule not in known
    ]
    decisive = min(compared, key=_rank, default=None)
    every = scores.get("paired_difference", {}).get("cross_validation", {})
    crossed = min(_baseline_checks(scores, every, "cross_validation"), key=_rank, default=None)
    if not decisive or (crossed and _rank(crossed)[0] >= _rank(decisive)[0]):
        crossed = None
    missed = [check for check in limits if check["verdict"] == "fail"]
    verdict = "fail" if missed else decisive["verdict"] if decisive else "pass"
    said = [check["reason"] for check in missed]
    said += [decisive["reason"]] if decisive else []
    said += [text for rows, text in equal_rows_told(scores).items() if rows == "test"]
    if missed_classes := scores.get("classes_not_found"):
        said.append(f"no test row of class {listed(missed_classes)} is found, a recall of 0")
    networks = {name: {} for name in params.train.networks} | dict(trained)
    return {
        "verdict": verdict,
        "reason": "; ".join(said) or "no limit is missed, and no baseline is declared",
        "against": decisive["rule"].partition(" ")[2] if decisive else None,
        "by": decisive["score"] if decisive else None,
        "next": next_steps(scores, decisive, crossed, task, params.split, networks),
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
            source = f"{share:.0%} worse than {shown(before[key])} of {base.name}"
        comparison = "at least" if greater else "at most"
        rules.append(Rule("worse_than_last", key, comparison, limit, source))
    return rules


def _limit_check(rule: Rule, values: dict[str, float]) -> dict[str, Any]:
    value = values.get(rule.key)
    if value is None:
        verdict, reason = "fail", f"{rule.key} is not among the scores of this run"
    elif rule.limit is None:
        verdict, reason = "skipped", rule.source
    else:
        passed = COMPARISONS[rule.comparison](value, rule.limit)
        verdict = "pass" if passed else "fail"
        needed = f"{rule.comparison} {shown(rule.limit, value)}"
        reason = f"{rule.key} is {shown(value, rule.limit)}; needed {needed}"
        reason += f" ({rule.source})" if rule.source else ""
    return {
        "rule": f"{rule.name} {rule.key}",
        "found": value,
        "allowed": rule.limit,
        "verdict": verdict,
        "reason": reason,
    }


def told(checks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The verdict and the reason of each check, of all that are skipped together at the end."""
    skipped: dict[str, list[str]] = {}
    for check in checks:
        if check["verdict"] == "skipped":
            name = check["rule"].partition(" ")[2]
            skipped.setdefault(check["reason"], []).append(BASELINES.get(name, name))
    said = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in skipped.items())
    found = [(of["verdict"], of["reason"]) for of in checks if of["verdict"] != "skipped"]
    return [*found, ("skipped", said)] if skipped else found


def _baseline_checks(
    scores: dict[str, Any], names: Iterable[str], rows: str
) -> Iterator[dict[str, Any]]:
    """The comparisons with these baselines by the scores that decide."""
    for name in names:
        for key in scores.get("decides", []):
            if check := _baseline_check(scores, name, key, rows):
                yield check


def _baseline_check(
    scores: dict[str, Any], name: str, key: str, rows: str
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
    texts = shown_scores(scores, rows, key)
    where = {"test": "test rows", "cross_validation": "cross-validated rows"}[rows]
    difference, low, high = (shown(of[end]) for end in ("difference", "low", "high"))
    return of | {
        "rule": f"beat_baselines {name}",
        "score": f"{rows}.{key}",
        "found": mine,
        "allowed": theirs,
        "verdict": verdict,
        "reason": (
            f"{metric(key).label} {texts['model']} on {scores[rows]['rows']:,} {where} {verb} "
            f"{texts[name]} of {BASELINES[name]}: the difference of {difference} is "
            f"{'within' if verdict == 'level' else 'more than'} chance "
            f"(95% interval {low} to {high})"
        ),
    }


def _rank(check: dict[str, Any]) -> tuple[int, float]:
    """The worst verdict first; among equal ones the baseline that does best."""
    sign = 1 if metric(check["score"]).greater_is_better else -1
    half = (check["high"] - check["low"]) / 2
    return ORDER.index(check["verdict"]), sign * check["difference"] / half if half else 0.0
