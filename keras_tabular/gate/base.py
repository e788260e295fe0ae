"""The comparison of a run with another revision, by the rule of the gate."""

from collections.abc import Iterator

from keras_tabular.config.metrics import COST, metric
from keras_tabular.config.sections import Gate
from keras_tabular.evaluation.records import Difference, model_values
from keras_tabular.gate.primary import NOT_SETTLED, format_relative
from keras_tabular.gate.rules import add_checks
from keras_tabular.gate.verdict import RuleResult, Status, Verdict, judge
from keras_tabular.runs.run import Run, git, mismatch, parse_or_none


def read_verdict(run: Run, base: Run | None = None) -> Verdict | None:
    """Read the verdict on a run, with the checks against another run if there is one.

    Returns:
        None if the run has no verdict in the present format.
    """
    verdict = parse_or_none(run.load(run.metrics / "gate.json"), Verdict)
    return (
        compare_with_base(verdict, run, base, run.gate) if verdict and base else verdict
    )


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
    checks = [*check_base(run, base, gate)]
    return add_checks(verdict, checks, checks)


def check_base(run: Run, base: Run | None, gate: Gate) -> Iterator[RuleResult]:
    """Check that scores are not worse than those of another run by more than a share.

    Scores of the test rows are compared on the rows that both runs have, see
    `paired_scores`.

    Args:
        base: The other run; None if there is none.
    """
    for key, share in gate.worse_than_base.items():
        rule = f"worse_than_base {key}"
        if base:
            yield _compare_with_base(rule, share, run, base)
        else:
            status, problem = _explain_no_base(gate)
            yield RuleResult(rule=rule, status=status, reason=f"{key}: {problem}")


def _explain_no_base(gate: Gate) -> tuple[Status, str]:
    """Pass before the first run is committed, but not if the base cannot be found."""
    if gate.base != "last":
        return "undecided", f"gate.base: there is no {gate.base} in this clone"
    if (git("rev-parse", "--is-shallow-repository") or "").strip() == "true":
        return "undecided", "this clone has no history; run `git fetch --unshallow`"
    return "pass", "no earlier run is committed"


def _compare_with_base(rule: str, share: float, run: Run, base: Run) -> RuleResult:
    key = rule.partition(" ")[2]
    rows = ""

    def undecided(problem: str) -> RuleResult:
        return RuleResult(rule=rule, status="undecided", reason=f"{key}: {problem}")

    if problem := mismatch(run, base):
        return undecided(problem)
    evaluations = run.require_evaluation(), base.require_evaluation()
    if key.endswith(f".{COST}") and evaluations[0].costs != evaluations[1].costs:
        return undecided(f"{base.label} has other costs")
    value, base_value = (model_values(each.scores).get(key) for each in evaluations)
    if value is None or base_value is None:
        return undecided(f"not among the scores of this run and of {base.label}")
    change = value - base_value
    difference = Difference(value=change, low=change, high=change)
    if key.startswith("test."):
        from keras_tabular.runs.comparison import paired_scores  # SciPy takes 0.5 s

        paired = paired_scores(run, base).get(key.removeprefix("test."))
        if paired is None:
            return undecided(
                f"this run and {base.label} share too few test rows that decide it",
            )
        difference = paired.difference
        base_value = paired.base
        rows = f" on {paired.rows:,} test rows"
    difference = difference.as_loss(greater_is_better=metric(key).greater_is_better)
    limit = share * abs(base_value)
    status = judge(difference.low, difference.high, limit)
    if (
        difference.low > 0 and difference.value > limit
    ):  # worse, and probably by too much
        status = "fail"
    ending = f"; {NOT_SETTLED}" if status == "undecided" else ""
    is_loss = not metric(key).greater_is_better and base_value > 0
    relative = format_relative(difference, base_value, is_loss=is_loss)
    reason = (
        f"{key} is {relative} than in {base.label}{rows} (allowed: {share:.0%}"
        f" worse){ending}"
    )
    return RuleResult(rule=rule, status=status, reason=reason)
