"""The comparison of a run with another revision, by the rule of the gate."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_tabular.config.sections import Gate
from keras_tabular.evaluation.records import Difference, model_values
from keras_tabular.gate.primary import NOT_SETTLED, format_relative
from keras_tabular.gate.rules import add_checks
from keras_tabular.gate.verdict import RuleResult, Status, Verdict, judge
from keras_tabular.runs.run import Run, git, mismatch, parse_or_none
from keras_tabular.tasks.metrics import COST, metric

if TYPE_CHECKING:
    from keras_tabular.runs.comparison import PairedScore


class NotComparableError(Exception):
    """A score cannot be compared with that of another run. The message says why."""


def read_verdict(run: Run, base: Run | None = None) -> Verdict | None:
    """Read the verdict on a run, with the checks against another run if there is one.

    Returns:
        None if the run has no verdict in the present format.
    """
    verdict = parse_or_none(run.load(run.metrics / "gate.json"), Verdict)
    if verdict is None or base is None:
        return verdict
    return compare_with_base(verdict, run, base, run.gate)


def compare_with_base(
    verdict: Verdict,
    run: Run,
    base: Run | None,
    gate: Gate,
) -> Verdict:
    """Add the checks against another run to the verdict on a run.

    Args:
        base: The other run; None if there is none.
    """
    checks = list(check_base(run, base, gate))
    return add_checks(verdict, checks, checks)


def check_base(run: Run, base: Run | None, gate: Gate) -> Iterator[RuleResult]:
    """Check that scores are not worse than those of another run by more than a share.

    Scores of the test rows are compared on the rows that both runs have, see
    `paired_scores`.

    Args:
        base: The other run; None if there is none.
    """
    for key, share in gate.worse_than_base.items():
        status: Status
        try:
            if base is None:
                status = "pass"
                reason = f"{key}: {_explain_no_base(gate)}"
            else:
                status, reason = _compare_scores(key, share, run, base)
        except NotComparableError as error:
            status = "undecided"
            reason = f"{key}: {error}"
        yield RuleResult(rule=f"worse_than_base {key}", status=status, reason=reason)


def _explain_no_base(gate: Gate) -> str:
    """Explain why there is no other run before the first run is committed.

    Raises:
        NotComparableError: There may be one, but it cannot be found.
    """
    if gate.base != "last":
        raise NotComparableError(f"gate.base: there is no {gate.base} in this clone")
    if (git("rev-parse", "--is-shallow-repository") or "").strip() == "true":
        raise NotComparableError(
            "this clone has no history; run `git fetch --unshallow`",
        )
    return "no earlier run is committed"


def _compare_scores(
    key: str,
    share: float,
    run: Run,
    base: Run,
) -> tuple[Status, str]:
    """Judge the change of a score, and describe it.

    Args:
        key: Dotted key of the score.
        share: Share of the score of the other run by which it may be worse.

    Raises:
        NotComparableError: See `_measure_change`.
    """
    change = _measure_change(key, run, base)
    greater_is_better = metric(key).greater_is_better
    difference = change.difference.as_loss(greater_is_better)
    limit = share * abs(change.base)
    status = judge(difference.low, difference.high, limit)
    if difference.low > 0 and difference.value > limit:
        status = "fail"  # the score is worse, and probably by too much
    is_loss = not greater_is_better and change.base > 0
    relative = format_relative(difference, change.base, is_loss)
    rows = f" on {change.rows:,} test rows" if change.rows else ""
    ending = f"; {NOT_SETTLED}" if status == "undecided" else ""
    return status, (
        f"{key} is {relative} than in {base.label}{rows} (allowed: {share:.0%}"
        f" worse){ending}"
    )


def _measure_change(key: str, run: Run, base: Run) -> "PairedScore":
    """Compare a score of two runs, on the same rows if it is a score of the test rows.

    Returns:
        The comparison; with 0 rows if the scores are compared as they are.

    Raises:
        NotComparableError: The scores cannot be compared. The message says why.
    """
    if problem := mismatch(run, base):
        raise NotComparableError(problem)
    evaluation = run.require_evaluation()
    base_evaluation = base.require_evaluation()
    if key.endswith(f".{COST}") and evaluation.costs != base_evaluation.costs:
        raise NotComparableError(f"{base.label} has other costs")
    value = model_values(evaluation.scores).get(key)
    base_value = model_values(base_evaluation.scores).get(key)
    if value is None or base_value is None:
        raise NotComparableError(
            f"not among the scores of this run and of {base.label}",
        )

    from keras_tabular.runs.comparison import PairedScore, paired_scores  # takes 0.5 s

    if not key.startswith("test."):
        change = value - base_value
        difference = Difference(value=change, low=change, high=change)
        return PairedScore(0, base_value, difference)
    paired = paired_scores(run, base).get(key.removeprefix("test."))
    if paired is None:
        raise NotComparableError(
            f"this run and {base.label} share too few test rows that decide it",
        )
    return paired
