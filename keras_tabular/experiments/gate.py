"""Whether a run may be accepted: it learnt something, keeps its limits, and is not worse."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from keras_tabular.config.params import PARAMS, Params
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Gate
from keras_tabular.core.metrics import BASELINES, CONSTANTS, TASKS, deciding_metric, metric
from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.evaluation import Evaluation, PairedDifference, ScoreSet
from keras_tabular.evaluation.scores_json import flat
from keras_tabular.evaluation.summary import evaluation_warnings
from keras_tabular.experiments.advice import next_steps
from keras_tabular.experiments.run import Revision, Run, commit_before, mismatch
from keras_tabular.experiments.verdict import SKIPPED, VERDICTS, Check, Verdict


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
        from keras_tabular.experiments.comparison import paired_differences  # NumPy takes 0.2 s

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
    gate, test, names = params.gate, evaluation.test, TASKS[schema.task].baselines
    keys = list(dict.fromkeys([deciding_metric(params.train.loss), evaluation.primary_metrics[0]]))
    constant = check_constant(test, names["constant"], keys)
    limits = list(_limit_checks(flat(evaluation), base, gate))
    comparisons = [
        check_baseline(test, names[kind], keys, gate.margin)
        for kind in gate.beat_baselines
        if kind != "constant"
    ]
    compared = [check for check in comparisons if check.verdict != SKIPPED]
    strongest = min(compared, key=_rank, default=None)

    required = [constant] if "constant" in gate.beat_baselines else []
    checks = [*required, *limits, *comparisons]
    verdicts = {check.verdict for check in checks}
    missed_limits = [check.reason for check in limits if check.verdict == "fail"]
    learnt = constant.verdict == "pass"
    reasons = missed_limits if learnt else [constant.reason, *missed_limits]
    if learnt and strongest:
        reasons = [*reasons, strongest.reason]
    return Verdict(
        verdict=next((verdict for verdict in VERDICTS if verdict in verdicts), "pass"),
        headline=_headline(constant, bool(missed_limits), strongest),
        reason=". ".join(reasons or [constant.reason]),
        warnings=evaluation_warnings(evaluation, schema.task),
        next_steps=next_steps(evaluation, constant, strongest, schema, params, trained),
        checks=checks,
    )


def _headline(constant: Check, misses_limit: bool, strongest: Check | None) -> str:
    """Summarise the verdict in a few words, of which those about the constant come first."""
    if constant.score is None:
        return "Too few rows to tell whether anything was learnt"
    if constant.verdict != "pass":
        return "Nothing was learnt"
    if misses_limit:
        return "Outside a limit"
    if strongest is None:
        return f"Better than {CONSTANTS[constant.subject]}"
    words = {"pass": "Better than", "undecided": "Undecided against", "fail": "Worse than"}
    return f"{words[strongest.verdict]} {BASELINES[strongest.subject]}"


def check_constant(scores: ScoreSet, name: str, keys: list[str]) -> Check:
    """Check that the model is better than a constant by more than chance.

    Args:
        scores: Scores for the test rows.
        name: Name of the constant baseline.
        keys: The deciding metric, then what else is said.
    """
    check = check_baseline(scores, name, keys, None)
    if check.verdict == "pass":
        return check
    rows = f"{scores.model.rows:,} test rows"
    reason = f"{rows} are too few to tell whether anything was learnt"
    if check.verdict != SKIPPED:
        reason = (
            f"Nothing was learnt: on {rows} the model is not better than {CONSTANTS[name]} by more "
            f"than chance: {_format_pairs(scores, name, keys)}"
        )
    return check.model_copy(update={"verdict": "fail", "reason": reason})


def check_baseline(scores: ScoreSet, name: str, keys: list[str], margin: float | None) -> Check:
    """Compare the model with a baseline by the paired difference of the deciding metric.

    Args:
        scores: Scores for the test rows.
        keys: The deciding metric, then what else is said.
        margin: Share of the baseline's score by which the model may be worse.
    """
    rule, key, baseline = f"beat_baselines {name}", keys[0], scores.baselines.get(name)
    difference, value = scores.difference(name, key), scores.model.value(key)
    limit = baseline.value(key) if baseline else None
    if difference is None or value is None or limit is None:
        reason = "too few test rows, or no score to compare with"
        return Check(rule=rule, verdict=SKIPPED, reason=reason)
    better, worse = _possible_changes(key, difference)
    if worse < 0:
        verdict, words = "pass", "the model is better than"
    elif better < 0:
        verdict, words = "fail", "the model is worse than"
    elif margin is None:
        verdict, words = "undecided", "it is undecided whether the model is better than"
    elif worse <= margin * abs(limit):
        verdict, words = "pass", f"the model is at most {margin:.0%} worse than"
    else:
        verdict, words = "fail", f"the model is not shown to be at most {margin:.0%} worse than"
    other = CONSTANTS.get(name, BASELINES[name])
    pairs = _format_pairs(scores, name, keys)
    return Check(
        rule=rule,
        verdict=verdict,
        reason=f"On {scores.model.rows:,} test rows {words} {other}: {pairs}",
        found=value,
        allowed=limit,
        score=f"test.{key}",
        **difference._asdict(),
    )


def _possible_changes(key: str, difference: PairedDifference) -> tuple[float, float]:
    """Return by how much the model may be better and worse; below 0 where it cannot be."""
    if metric(key).greater_is_better:
        return difference.high, -difference.low
    return -difference.low, difference.high


def _format_pairs(scores: ScoreSet, name: str, keys: list[str]) -> str:
    """Format scores of the model and of a baseline, and what their differences may be."""
    texts = []
    for key in keys:
        value, baseline = scores.model.value(key), scores.baselines[name].value(key)
        difference, label = scores.difference(name, key), metric(key).label
        if value is None or baseline is None or difference is None:
            continue
        if not label.startswith(("ROC", "R²", "F1")):
            label = label.lower()
        text = f"{label} {format_number(value, baseline)} and {format_number(baseline, value)}"
        better, worse = _possible_changes(key, difference)
        if better > 0 and worse > 0:
            ends = f"{format_number(worse)} worse or {format_number(better)} better"
            text += f" (may be up to {ends})"
        elif better > 0 or worse > 0:
            least, most = abs(min(better, worse)), max(better, worse)
            ends = f"{format_number(least, most)} to {format_number(most, least)}"
            text += f" ({ends} {'worse' if worse > 0 else 'better'})"
        texts.append(text)
    return "; ".join(texts)


def _rank(check: Check) -> tuple[int, float]:
    """Sort the worst verdict first, and among equal ones the baseline with the best score."""
    sign = -1 if metric(str(check.score)).greater_is_better else 1
    return VERDICTS.index(check.verdict), sign * (check.allowed or 0.0)


def _limit_checks(scores: Mapping[str, float], base: Base, gate: Gate) -> Iterator[Check]:
    """Check the limits that params.yaml gives, and those that follow from the scores of the base.

    Args:
        scores: Scores by dotted key, as params.yaml names them.
    """
    for rule, limits, at_least in (("lowest", gate.lowest, True), ("highest", gate.highest, False)):
        for key, limit in limits.items():
            yield _limit_check(f"{rule} {key}", scores.get(key), limit, at_least)
    before = flat(base.evaluation) if base.evaluation else {}
    for key, share in gate.worse_than_last.items():
        rule, value = f"worse_than_last {key}", scores.get(key)
        if value is not None and key not in before:
            yield Check(rule=rule, verdict=SKIPPED, reason=base.name, found=value, allowed=None)
            continue
        greater, other = metric(key).greater_is_better, before.get(key, 0.0)
        limit = round(other + (-share if greater else share) * abs(other), 6)
        source = f" ({share:.0%} worse than {format_number(other)} of {base.name})"
        check = _limit_check(rule, value, limit, greater, source)
        if check.verdict == "fail" and value is not None and key.startswith("test."):
            check = _check_against_chance(check, base)
        yield check


def _check_against_chance(check: Check, base: Base) -> Check:
    """Let a score that is worse than that of the base fail only if the same test rows show it."""
    difference = base.compare().get(check.subject.removeprefix("test."))
    if difference is None:
        reason = f"{base.name} has other test rows, and scores of other rows differ by chance"
        return check.model_copy(update={"verdict": SKIPPED, "reason": reason})
    if difference.within_chance:
        reason = f"{check.reason}, but the difference on the same test rows is within chance"
        return check.model_copy(update={"verdict": "pass", "reason": reason})
    return check


def _limit_check(
    rule: str, value: float | None, limit: float, at_least: bool, source: str = ""
) -> Check:
    """Compare a score with a limit; a score that the run does not have fails."""
    key = rule.partition(" ")[2]
    if value is None:
        reason = f"{key} is not among the scores of this run"
        return Check(rule=rule, verdict="fail", reason=reason, found=None, allowed=limit)
    needed = f"{'at least' if at_least else 'at most'} {format_number(limit, value)}"
    reason = f"{key} is {format_number(value, limit)}; needed {needed}{source}"
    keeps = value >= limit if at_least else value <= limit
    verdict = "pass" if keeps else "fail"
    return Check(rule=rule, verdict=verdict, reason=reason, found=value, allowed=limit)
