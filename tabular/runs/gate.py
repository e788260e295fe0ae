"""Whether a run may be accepted: limits of its scores, its baselines and the run before it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from tabular.config.params import PARAMS, Params
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

ORDER = ("fail", "level", "pass")  # the worst verdict comes first


class Base(NamedTuple):
    """The run to compare with; or why there is none, and no scores."""

    name: str
    scores: dict[str, Any]


def base_of(run: Run, other: Run) -> Base:
    """Another run as the base of this one, if it is of the same table, split by the same rule."""
    reason = mismatch(run, other)
    split, of_other = ({"by": "random"} | r.load(PARAMS).get("split", {}) for r in (run, other))
    if not reason and split != of_other:
        reason = f"{other.label} has another split in params.yaml, and so other test rows"
    return Base(reason, {}) if reason else Base(other.label, other.scores)


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
    limits = list(_limit_checks(flat_numbers(scores), base, gate))
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


def _limit_checks(values: dict[str, float], base: Base, gate: Gate) -> Iterator[dict[str, Any]]:
    """The limits that params.yaml gives, and those that follow from the scores of the base."""
    before = flat_numbers(base.scores)
    rules: list[tuple[str, str, bool, float | None, str]] = [
        *(("lowest", key, True, limit, "") for key, limit in gate.lowest.items()),
        *(("highest", key, False, limit, "") for key, limit in gate.highest.items()),
    ]
    for key, share in gate.worse_than_last.items():
        greater, limit, source = metric(key).greater_is_better, None, base.name
        if key in before:
            worse = share * abs(before[key])
            limit = round(before[key] + (-worse if greater else worse), 6)
            source = f"{share:.0%} worse than {shown(before[key])} of {base.name}"
        rules.append(("worse_than_last", key, greater, limit, source))
    for name, key, at_least, limit, source in rules:
        value = values.get(key)
        if value is None:
            verdict, reason = "fail", f"{key} is not among the scores of this run"
        elif limit is None:
            verdict, reason = "skipped", source
        else:
            verdict = "pass" if (value >= limit if at_least else value <= limit) else "fail"
            needed = f"{'at least' if at_least else 'at most'} {shown(limit, value)}"
            reason = f"{key} is {shown(value, limit)}; needed {needed}"
            reason += f" ({source})" if source else ""
        found = {"found": value, "allowed": limit, "verdict": verdict, "reason": reason}
        yield {"rule": f"{name} {key}", **found}


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
    """How the scores that decide compare with those of these baselines on the same rows."""
    where = {"test": "test rows", "cross_validation": "cross-validated rows"}[rows]
    for name, key in product(names, scores.get("decides", [])):
        of = get_nested(scores, f"paired_difference.{rows}.{name}.{key}")
        if not of:  # one of them has none
            continue
        beyond = not of["low"] <= 0 <= of["high"]
        better = metric(key).greater_is_better == (of["low"] > 0)
        verdict = "level" if not beyond else "pass" if better else "fail"
        verb = {"pass": "is better than", "level": "is level with", "fail": "is worse than"}
        texts = shown_scores(scores, rows, key)
        difference, low, high = (shown(of[end]) for end in ("difference", "low", "high"))
        yield of | {
            "rule": f"beat_baselines {name}",
            "score": f"{rows}.{key}",
            "found": get_nested(scores[rows], key),
            "allowed": get_nested(scores["baseline"][name], f"{rows}.{key}".removeprefix("test.")),
            "verdict": verdict,
            "reason": (
                f"{metric(key).label} {texts['model']} on {scores[rows]['rows']:,} {where} "
                f"{verb[verdict]} {texts[name]} of {BASELINES[name]}: the difference of "
                f"{difference} is {'more than' if beyond else 'within'} chance "
                f"(95% interval {low} to {high})"
            ),
        }


def _rank(check: dict[str, Any]) -> tuple[int, float]:
    """The worst verdict first; among equal ones the baseline that does best."""
    sign = 1 if metric(check["score"]).greater_is_better else -1
    half = (check["high"] - check["low"]) / 2
    return ORDER.index(check["verdict"]), sign * check["difference"] / half if half else 0.0
