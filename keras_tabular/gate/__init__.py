"""The rules of the gate, and the verdict; the scores come from `evaluation`.

This file has the verdict and its checks, which are in `metrics/gate.json`. The
comparison with another run is in `runs.comparison`.
"""

from collections.abc import Iterator
from typing import Literal

from keras_tabular.core.typed_yaml import Section
from keras_tabular.evaluation.records import Difference

Status = Literal["fail", "undecided", "pass"]
STATUSES: tuple[Status, ...] = ("fail", "undecided", "pass")  # the worst one first


class RuleResult(Section, extra="ignore"):
    """The result of one rule of the gate.

    Attributes:
        rule: `min`, `max`, `worse_than_base` or `beat_baselines`, and its subject: the
            dotted key of a score, or a baseline.
        base: The score of which the difference is shown in percent; 0 if it is shown as
            it is.
        metric: Key of the metric that is compared with a baseline on the test rows.
        difference: Score of the model minus that of the baseline, turned so that more
            is worse.
    """

    rule: str
    status: Status
    reason: str
    base: float = 0.0
    metric: str | None = None
    difference: Difference | None = None


class Verdict(Section):
    """The verdict of the gate on a run.

    Attributes:
        status: One of `STATUSES`.
        headline: How large the primary metric is, how sure that is, and how much the
            model gains.
        reason: The comparison with the strongest baseline, and the limits that are not
            kept.
        warnings: Why the scores may be wrong or of little use.
    """

    status: Status
    headline: str
    reason: str
    warnings: tuple[str, ...]
    checks: tuple[RuleResult, ...]

    def lines(self) -> Iterator[str]:
        """Yield what people read on a terminal."""
        yield from (f"warn: {warning}" for warning in self.warnings)
        yield from (f"{check.status}: {check.reason}" for check in self.checks)
        yield f"Gate: {self.status}"
        if self.status != "pass":
            yield "What to do: python -m keras_tabular docs gate"


def judge(low: float, high: float, limit: float) -> Status:
    """Judge by an interval whether a value is at most a limit."""
    if high <= limit:
        return "pass"
    if low > limit:
        return "fail"
    return "undecided"
