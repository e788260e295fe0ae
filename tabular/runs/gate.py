"""Whether a run may be accepted: limits, baselines, and the run before it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from tabular.config.params import PARAMS, Params
from tabular.config.schema import Schema
from tabular.config.sections import Gate
from tabular.core.errors import listed
from tabular.core.metrics import BASELINES, TASKS, metric
from tabular.core.numbers import format_number
from tabular.evaluation.evaluation import Evaluation, ScoreSet
from tabular.evaluation.scores_json import flat
from tabular.evaluation.summary import format_equal_rows, format_estimates
from tabular.runs.advice import next_steps
from tabular.runs.run import Revision, Run, commit_before, mismatch
from tabular.runs.verdict import BEAT_BASELINES, SKIPPED, VERDICTS, BaselineCheck, Check, Verdict


class Base(NamedTuple):
    """The run to compare with; or, without an evaluation, the reason why there is none."""

    name: str
    evaluation: Evaluation | None


def base_of(run: Run, other: Run) -> Base:
    """Take another run as the base, if it is of the same table, split by the same rule."""
    reason = mismatch(run, other)
    split, other_split = ({"by": "random"} | r.load(PARAMS).get("split", {}) for r in (run, other))
    if not reason and split != other_split:
        reason = f"{other.label} has another split in params.yaml, and so other test rows"
    return Base(reason, None) if reason else Base(other.label, other.evaluation)


def last_committed(run: Run) -> Base:
    """Take the last committed run with other metrics as the base."""
    commit = commit_before(run.files["metrics"])
    if commit is None:
        return Base("no earlier run is committed here", None)
    return base_of(run, Run(Revision(commit[:7], commit), run.files))


def evaluate_gate(
    evaluation: Evaluation,
    base: Base,
    params: Params,
    schema: Schema,
    trained: Mapping[str, Mapping[str, Any]],
) -> Verdict:
    """Check a run against the rules of the gate.

    A limit passes or fails; one that needs an earlier run is skipped where there is none, and one
    of a score that the run has not fails. A baseline is beaten on the test rows by more than chance
    (pass), level with the model, or better by more than chance (fail). The verdict is the worst of
    all. Cross-validation, by which parameters may have been searched, decides nothing here.

    Args:
        params: of `gate`, `split` and `train`.
        trained: `weight` and `params` of each kind of networks.
    """
    gate = params.gate
    limits = list(_limit_checks(flat(evaluation), base, gate))
    keys, test = evaluation.primary_metrics, evaluation.test
    baselines = [TASKS[schema.task].baselines[kind] for kind in gate.beat_baselines]
    comparisons = list(_baseline_checks(keys, test, baselines, "test"))
    deciding = min(comparisons, key=_rank, default=None)

    failed = [check for check in limits if check.verdict == "fail"]
    verdict = "fail" if failed else deciding.verdict if deciding else "pass"
    reasons = [check.reason for check in failed] + ([deciding.reason] if deciding else [])
    reasons += [text for rows, text in format_equal_rows(evaluation).items() if rows == "test"]
    if missed := evaluation.classes_not_found:
        reasons.append(f"no test row of class {listed(missed)} is found, a recall of 0")

    networks: dict[str, Mapping[str, Any]] = {name: {} for name in params.train.networks} | dict(
        trained
    )
    crossed = _cross_validated_check(evaluation, deciding)
    weighted = bool(params.train.class_weight)
    return Verdict(
        verdict,
        "; ".join(reasons) or "no limit is missed, and no baseline is declared",
        next_steps(
            *(evaluation, deciding, crossed, schema, params.split, networks), weighted=weighted
        ),
        [*limits, *comparisons, *_skipped_checks(baselines, comparisons)],
        baseline=deciding.subject if deciding else None,
        score=deciding.score if deciding else None,
    )


def _limit_checks(scores: Mapping[str, float], base: Base, gate: Gate) -> Iterator[Check]:
    """Check the limits that params.yaml gives, and those that follow from the scores of the base.

    Args:
        scores: by dotted key, as params.yaml names them.
    """
    before = flat(base.evaluation) if base.evaluation else {}
    rules: list[tuple[str, str, bool, float | None, str]] = [
        *(("lowest", key, True, limit, "") for key, limit in gate.lowest.items()),
        *(("highest", key, False, limit, "") for key, limit in gate.highest.items()),
    ]
    for key, share in gate.worse_than_last.items():
        greater, limit, source = metric(key).greater_is_better, None, base.name
        if key in before:
            worse = share * abs(before[key])
            limit = round(before[key] + (-worse if greater else worse), 6)
            source = f"{share:.0%} worse than {format_number(before[key])} of {base.name}"
        rules.append(("worse_than_last", key, greater, limit, source))
    for rule, key, at_least, limit, source in rules:
        value = scores.get(key)
        if value is None:
            verdict, reason = "fail", f"{key} is not among the scores of this run"
        elif limit is None:
            verdict, reason = SKIPPED, source
        else:
            verdict = "pass" if (value >= limit if at_least else value <= limit) else "fail"
            needed = f"{'at least' if at_least else 'at most'} {format_number(limit, value)}"
            reason = f"{key} is {format_number(value, limit)}; needed {needed}"
            reason += f" ({source})" if source else ""
        yield Check(
            rule=rule, subject=key, verdict=verdict, reason=reason, value=value, limit=limit
        )


def _baseline_checks(
    keys: Iterable[str], scores: ScoreSet, baselines: Iterable[str], rows: str
) -> Iterator[BaselineCheck]:
    """Compare the primary metrics with those of these baselines, where both define them."""
    places = {"test": "test rows", "cross_validation": "cross-validated rows"}
    verbs = {"pass": "is better than", "level": "is level with", "fail": "is worse than"}
    for name, key in product(baselines, keys):
        baseline, difference = scores.baselines.get(name), scores.difference(name, key)
        if baseline is None or difference is None:
            continue
        better = metric(key).greater_is_better == (difference.low > 0)
        verdict = "level" if difference.within_chance else "pass" if better else "fail"
        texts, label = format_estimates(scores, key), BASELINES.get(name, name)
        distance, low, high = map(format_number, difference)
        yield BaselineCheck(
            rule=BEAT_BASELINES,
            subject=name,
            verdict=verdict,
            reason=(
                f"{metric(key).label} {texts.model} on {scores.model.rows:,} {places[rows]} "
                f"{verbs[verdict]} {texts.baselines[name]} of {label}: the difference of "
                f"{distance} is {'within' if difference.within_chance else 'more than'} chance "
                f"(95% interval {low} to {high})"
            ),
            value=scores.model.value(key),
            limit=baseline.value(key),
            score=f"{rows}.{key}",
            difference=difference,
        )


def _skipped_checks(baselines: Iterable[str], comparisons: Iterable[Check]) -> Iterator[Check]:
    """Name the baselines that could not be compared."""
    compared = {check.subject for check in comparisons}
    reason = "no score to compare with"
    for name in baselines:
        if name not in compared:
            yield Check(rule=BEAT_BASELINES, subject=name, verdict=SKIPPED, reason=reason)


def _cross_validated_check(
    evaluation: Evaluation, deciding: BaselineCheck | None
) -> BaselineCheck | None:
    """Return the worst comparison of cross-validated rows, if its verdict is a worse one."""
    folds = evaluation.cross_validation
    if folds is None or deciding is None:
        return None
    keys, baselines = evaluation.primary_metrics, folds.differences
    checks = _baseline_checks(keys, folds, baselines, "cross_validation")
    worst = min(checks, key=_rank, default=None)
    return worst if worst and _rank(worst)[0] < _rank(deciding)[0] else None


def _rank(check: BaselineCheck) -> tuple[int, float]:
    """Sort the worst verdict first, and among equal ones the baseline that does best."""
    difference = check.difference
    sign = 1 if metric(check.score).greater_is_better else -1
    half = (difference.high - difference.low) / 2
    distance = sign * difference.difference / half if half else 0.0
    return VERDICTS.index(check.verdict), distance
