"""Whether a run may be accepted: it learnt something, keeps its limits, and is not worse."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from tabular.config.params import PARAMS, Params
from tabular.config.schema import Schema
from tabular.config.sections import Gate
from tabular.core.metrics import BASELINES, CONSTANTS, TASKS, deciding_metric, metric
from tabular.core.numbers import format_number
from tabular.evaluation.evaluation import Evaluation, PairedDifference, ScoreSet
from tabular.evaluation.scores_json import flat
from tabular.evaluation.summary import evaluation_warnings
from tabular.runs.advice import next_steps
from tabular.runs.run import Revision, Run, commit_before, mismatch
from tabular.runs.verdict import BEAT_BASELINES, SKIPPED, VERDICTS, BaselineCheck, Check, Verdict


class Base(NamedTuple):
    """The run to compare with.

    Attributes:
        name: Its name; or, without an evaluation, the reason why there is none.
        compare: Returns the run's scores minus those of the base on the same test rows, by metric
            key; empty where the test rows differ.
    """

    name: str
    evaluation: Evaluation | None
    compare: Callable[[], Mapping[str, PairedDifference]] = dict


def base_of(run: Run, other: Run) -> Base:
    """Take another run as the base, if it is of the same table, split by the same rule."""
    reason = mismatch(run, other)
    split, other_split = ({"by": "random"} | r.load(PARAMS).get("split", {}) for r in (run, other))
    if not reason and split != other_split:
        reason = f"{other.label} has another split in params.yaml, and so other test rows"
    if reason:
        return Base(reason, None)

    def compare() -> dict[str, PairedDifference]:
        from tabular.runs.comparison import paired_differences  # NumPy takes 0.2 s

        return paired_differences(run, other)

    return Base(other.label, other.evaluation, compare)


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

    First of all the model has to be better than a constant: else it has learnt nothing. Then come
    the limits, and the linear and the boosted baseline. The paired difference of the loss on the
    test rows decides. Cross-validation decides nothing, since a search may have used it.

    Args:
        params: The sections `gate`, `split` and `train`.
        trained: Weight and parameters of each architecture that was trained.
    """
    gate, names = params.gate, TASKS[schema.task].baselines
    key = deciding_metric(params.train.loss)
    keys = dict.fromkeys([key, evaluation.primary_metrics[0]])
    limits = list(_limit_checks(flat(evaluation), base, gate))
    constant = check_constant(evaluation.test, names["constant"], [*keys])
    comparisons = [
        check_baseline(evaluation.test, names[kind], [*keys], gate.margin)
        for kind in gate.beat_baselines
        if kind != "constant"
    ]
    strongest = min(comparisons, key=_rank, default=None)

    required = [constant] if "constant" in gate.beat_baselines else []
    checks = [*required, *limits, *comparisons]
    failed = [check for check in checks if check.verdict == "fail"]
    verdicts = {check.verdict for check in checks} & set(VERDICTS)
    verdict = min(verdicts, key=VERDICTS.index, default="pass")
    learnt = constant.verdict == "pass"
    reasons = [] if learnt else [constant.reason]
    reasons += [check.reason for check in limits if check.verdict == "fail"]
    if learnt and strongest and strongest.verdict != SKIPPED:
        reasons.append(strongest.reason)
    elif learnt and not reasons:
        reasons.append(constant.reason)
    return Verdict(
        verdict,
        _headline(constant, failed, strongest, limits),
        ". ".join(reasons),
        evaluation_warnings(evaluation, schema.task),
        next_steps(evaluation, constant, strongest, schema, params, trained),
        checks,
    )


def _headline(
    constant: Check, failed: list[Check], strongest: Check | None, limits: list[Check]
) -> str:
    """Summarise the verdict in a few words, of which those about the constant come first."""
    if not isinstance(constant, BaselineCheck):
        return "Too few rows to tell whether anything was learnt"
    if constant.verdict != "pass":
        return "Nothing was learnt"
    if any(check in limits for check in failed):
        return "Outside a limit"
    if strongest is None or strongest.verdict == SKIPPED:
        return f"Better than {CONSTANTS[constant.subject]}"
    name = BASELINES[strongest.subject]
    return {
        "pass": f"Better than {name}",
        "undecided": f"Undecided against {name}",
        "fail": f"Worse than {name}",
    }[strongest.verdict]


def check_constant(scores: ScoreSet, name: str, keys: list[str]) -> Check:
    """Check that the model is better than a constant by more than chance.

    Args:
        scores: Scores for the test rows.
        name: Name of the constant baseline.
        keys: The deciding metric, then what else is said.
    """
    check = check_baseline(scores, name, keys, None)
    if not isinstance(check, BaselineCheck):
        reason = f"{scores.model.rows:,} test rows are too few to tell whether anything was learnt"
        return Check(rule=BEAT_BASELINES, subject=name, verdict="fail", reason=reason)
    if check.verdict == "pass":
        return check
    reason = (
        f"Nothing was learnt: on {scores.model.rows:,} test rows the model is not better than "
        f"{CONSTANTS[name]} by more than chance: {_format_pairs(scores, name, keys)}"
    )
    return replace(check, verdict="fail", reason=reason)


def check_baseline(scores: ScoreSet, name: str, keys: list[str], margin: float | None) -> Check:
    """Compare the model with a baseline by the paired difference of the deciding metric.

    Args:
        scores: Scores for the test rows.
        keys: The deciding metric, then what else is said.
        margin: Share of the baseline's score by which the model may be worse.
    """
    key, baseline = keys[0], scores.baselines.get(name)
    difference, value = scores.difference(name, key), scores.model.value(key)
    limit = baseline.value(key) if baseline else None
    if difference is None or value is None or limit is None:
        reason = "too few test rows, or no score to compare with"
        return Check(rule=BEAT_BASELINES, subject=name, verdict=SKIPPED, reason=reason)
    better, worse = _possible_changes(key, difference)
    verdict = "pass" if worse < 0 else "fail" if better < 0 else "undecided"
    words = {
        "pass": "the model is better than",
        "fail": "the model is worse than",
        "undecided": "it is undecided whether the model is better than",
    }
    if margin is not None and verdict == "undecided":
        accepted = worse <= margin * abs(limit)
        verdict = "pass" if accepted else "fail"
        words["pass"] = f"the model is at most {margin:.0%} worse than"
        words["fail"] = f"the model is not shown to be at most {margin:.0%} worse than"
    other = CONSTANTS.get(name, BASELINES[name])
    reason = (
        f"On {scores.model.rows:,} test rows {words[verdict]} {other}: "
        f"{_format_pairs(scores, name, keys)}"
    )
    return BaselineCheck(
        rule=BEAT_BASELINES, subject=name, verdict=verdict, reason=reason,
        value=value, limit=limit, score=f"test.{key}", difference=difference,
    )  # fmt: skip


def _possible_changes(key: str, difference: PairedDifference) -> tuple[float, float]:
    """Return by how much the model may be better and worse; below 0 where it cannot be."""
    if metric(key).greater_is_better:
        return difference.high, -difference.low
    return -difference.low, difference.high


def _format_pairs(scores: ScoreSet, name: str, keys: list[str]) -> str:
    return "; ".join(filter(None, (_format_pair(scores, name, key) for key in keys)))


def _format_pair(scores: ScoreSet, name: str, key: str) -> str:
    """Format a score of the model and of a baseline, and what their difference may be."""
    baseline, difference = scores.baselines[name].value(key), scores.difference(name, key)
    value, label = scores.model.value(key), metric(key).label.lower()
    label = metric(key).label if label.startswith(("roc", "r²", "f1")) else label
    if value is None or baseline is None:
        return ""
    text = f"{label} {format_number(value, baseline)} and {format_number(baseline, value)}"
    if difference is None:
        return text
    better, worse = _possible_changes(key, difference)
    ends = [(end, word) for end, word in ((worse, "worse"), (better, "better")) if end > 0]
    if len(ends) == 2:
        texts = [f"{format_number(end)} {word}" for end, word in ends]
        return f"{text} (may be up to {texts[0]} or {texts[1]})"
    if not ends:
        return text
    end, word = ends[0]
    least = abs(min(better, worse))
    return f"{text} ({format_number(least, end)} to {format_number(end, least)} {word})"


def _rank(check: Check) -> tuple[int, float]:
    """Sort the worst verdict first, and among equal ones the baseline with the best score."""
    if not isinstance(check, BaselineCheck) or check.limit is None:
        return len(VERDICTS), 0.0
    sign = -1 if metric(check.score).greater_is_better else 1
    return VERDICTS.index(check.verdict), sign * check.limit


def _limit_checks(scores: Mapping[str, float], base: Base, gate: Gate) -> Iterator[Check]:
    """Check the limits that params.yaml gives, and those that follow from the scores of the base.

    Args:
        scores: Scores by dotted key, as params.yaml names them.
    """
    for rule, limits, at_least in (("lowest", gate.lowest, True), ("highest", gate.highest, False)):
        for key, limit in limits.items():
            yield _limit_check(rule, key, scores.get(key), limit, at_least=at_least)
    before = flat(base.evaluation) if base.evaluation else {}
    for key, share in gate.worse_than_last.items():
        if key in scores and key not in before:
            yield Check(
                rule="worse_than_last", subject=key, verdict=SKIPPED, reason=base.name,
                value=scores[key],
            )  # fmt: skip
            continue
        greater, other = metric(key).greater_is_better, before.get(key, 0.0)
        limit = round(other + (-share if greater else share) * abs(other), 6)
        source = f"{share:.0%} worse than {format_number(other)} of {base.name}"
        check = _limit_check(
            "worse_than_last", key, scores.get(key), limit, at_least=greater, source=source
        )
        if check.verdict == "fail" and key in scores and key.startswith("test."):
            check = _check_against_chance(check, base)
        yield check


def _check_against_chance(check: Check, base: Base) -> Check:
    """Let a score that is worse than that of the base fail only if the same test rows show it."""
    difference = base.compare().get(check.subject.removeprefix("test."))
    if difference is None:
        reason = f"{base.name} has other test rows, and scores of other rows differ by chance"
        return replace(check, verdict=SKIPPED, reason=reason)
    if difference.within_chance:
        reason = f"{check.reason}, but the difference on the same test rows is within chance"
        return replace(check, verdict="pass", reason=reason)
    return check


def _limit_check(
    rule: str, key: str, value: float | None, limit: float, *, at_least: bool, source: str = ""
) -> Check:
    """Compare a score with a limit; a score that the run does not have fails."""
    verdict, reason = "fail", f"{key} is not among the scores of this run"
    if value is not None:
        verdict = "pass" if (value >= limit if at_least else value <= limit) else "fail"
        needed = f"{'at least' if at_least else 'at most'} {format_number(limit, value)}"
        reason = f"{key} is {format_number(value, limit)}; needed {needed}"
        reason += f" ({source})" if source else ""
    return Check(rule=rule, subject=key, verdict=verdict, reason=reason, value=value, limit=limit)
