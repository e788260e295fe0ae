"""Whether a run may be accepted: limits of its scores, its baselines and the run before it."""

import operator
from typing import Any, NamedTuple

from tabular.metrics import TASKS, metric, numbers
from tabular.params.gate import Gate
from tabular.runs.git import Revision, commit_before
from tabular.runs.run import Run, mismatch

COMPARISONS = {
    "at least": operator.ge,
    "at most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}


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


def _rules(scores: dict[str, float], base: Base, gate: Gate, task: str) -> list[Rule]:
    before = numbers(base.scores)
    rules = [Rule("lowest", key, "at least", limit) for key, limit in gate.lowest.items()]
    rules += [Rule("highest", key, "at most", limit) for key, limit in gate.highest.items()]
    for key, allowed in gate.worse_than_last.items():
        greater = metric(key).greater_is_better
        limit, source = None, base.name
        if key in before:
            limit = round(before[key] + (-allowed if greater else allowed), 6)
            source = f"{allowed:g} worse than {before[key]:g} of {base.name}"
        comparison = "at least" if greater else "at most"
        rules.append(Rule("worse_than_last", key, comparison, limit, source))
    main = TASKS[task].main
    for kind in gate.beat_baselines:
        name = TASKS[task].baselines[kind]
        comparison = "above" if metric(main).greater_is_better else "below"
        limit = scores.get(f"baseline.{name}.{main}")
        rules.append(Rule("beat_baselines", f"test.{main}", comparison, limit, name))
    return rules


def evaluate_gate(scores: dict[str, Any], base: Base, gate: Gate, task: str) -> dict[str, Any]:
    """The `verdict` (pass or fail) and the `checks`: each rule, its own verdict, and the reason.

    A score that the run has not fails its rule. A rule that needs an earlier run is `skipped`
    where there is none.
    """
    values = numbers(scores)
    checks = []
    for rule in _rules(values, base, gate, task):
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
        checks.append(
            {
                "rule": f"{rule.name} {rule.key}",
                "found": value,
                "allowed": rule.limit,
                "verdict": verdict,
                "reason": reason,
            }
        )
    passed = all(check["verdict"] != "fail" for check in checks)
    return {"verdict": "pass" if passed else "fail", "checks": checks}
