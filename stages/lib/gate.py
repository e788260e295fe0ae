"""Whether a run may be accepted: limits for its scores, its baselines, and the run before it."""

import json
import operator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stages.lib.history import commit_before, content_at, git
from stages.lib.params import BASELINES, LOWER_IS_BETTER, MAIN_SCORE, Data, Gate
from stages.lib.stage import UserError
from stages.lib.words import flat

COMPARISONS = {
    "at least": operator.ge,
    "at most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}


class Run(NamedTuple):
    """A committed run; or why there is none to compare with, and no metrics."""

    name: str
    metrics: dict[str, Any]


class Rule(NamedTuple):
    """What `key` has to be; `limit` is None where the rule has nothing to hold it against."""

    name: str
    key: str
    comparison: str
    limit: float | None
    source: str = ""


def run_at(rev: str, metrics: Path, params: Path, data: Data) -> Run:
    """The run that a revision holds, if it is of the same table and target.

    Raises:
        UserError: git knows no such revision.
    """
    commit = git("rev-parse", "--quiet", "--verify", "--end-of-options", f"{rev}^{{commit}}")
    if commit is None:
        raise UserError(f"{rev}: git knows no such revision here; fetch it, or name another")
    name = commit[:7]
    then, scores = (content_at(commit, path) for path in (params, metrics))
    try:
        table = dict((yaml.safe_load(then or "") or {})["data"])
        found = dict(json.loads(scores or ""))
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        return Run(f"{name} holds no run", {})
    for key in ("target", "task", "source"):
        if table.get(key) != getattr(data, key):
            return Run(f"{name} is of another table: its data.{key} is {table.get(key)}", {})
    return Run(name, found)


def run_before(metrics: Path, params: Path, data: Data) -> Run:
    """The last committed run with other metrics."""
    commit = commit_before(metrics)
    if commit is None:
        return Run("no earlier run is committed here", {})
    return run_at(commit, metrics, params, data)


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """The numbers of nested metrics by dotted key."""
    return {key: value for key, value in flat(metrics) if isinstance(value, int | float)}


def rules(scores: dict[str, float], last: Run, gate: Gate, data: Data) -> list[Rule]:
    """Every rule of the gate; `scores` are those of this run, by dotted key."""
    before = numbers(last.metrics)
    found = [Rule("lowest", key, "at least", limit) for key, limit in gate.lowest.items()]
    found += [Rule("highest", key, "at most", limit) for key, limit in gate.highest.items()]
    for key, allowed in gate.worse_than_last.items():
        lower = key.split(".")[-1] in LOWER_IS_BETTER
        limit = round(before[key] + (allowed if lower else -allowed), 6) if key in before else None
        source = (
            f"{allowed:g} worse than {before[key]:g} of {last.name}"
            if limit is not None
            else last.name
        )
        found.append(
            Rule("worse_than_last", key, "at most" if lower else "at least", limit, source)
        )
    score = MAIN_SCORE[data.task]
    for kind in gate.beat_baselines:
        name = BASELINES[data.task][kind]
        limit = scores.get(f"baseline.{name}.{score}")
        comparison = "below" if score in LOWER_IS_BETTER else "above"
        found.append(Rule("beat_baselines", f"test.{score}", comparison, limit, name))
    return found


def judge(metrics: dict[str, Any], last: Run, gate: Gate, data: Data) -> dict[str, Any]:
    """The `verdict` (pass or fail) and the `checks`: each rule, its own verdict, and the reason.

    A score that the run has not fails its rule. A rule that needs an earlier run is `skipped`
    where there is none.
    """
    scores = numbers(metrics)
    checks = []
    for rule in rules(scores, last, gate, data):
        value = scores.get(rule.key)
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
