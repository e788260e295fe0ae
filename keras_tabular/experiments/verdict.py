"""The verdict of the gate and the checks behind it, in the shape of `metrics/gate.json`."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from keras_tabular.core.metrics import BASELINES

VERDICTS = ("fail", "undecided", "pass")  # the worst one first
SKIPPED = "skipped"


class Check(BaseModel, frozen=True):
    """One rule of the gate and what became of it.

    Attributes:
        verdict: One of `VERDICTS`, or `skipped`.
        rule: `lowest`, `highest`, `worse_than_last` or `beat_baselines`, and its subject: the
            dotted key of a score, or a baseline.
        found: The score of this run.
        allowed: What the score is compared with: the limit, or the score of the baseline.
        score: Dotted key such as `test.loss` by which the model is compared with a baseline; the
            other attributes are the difference of both and the 95% interval of that.
    """

    rule: str
    verdict: str
    reason: str
    found: float | None = None
    allowed: float | None = None
    score: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def subject(self) -> str:
        """The dotted key of the score, or the baseline."""
        return self.rule.partition(" ")[2]


class Verdict(BaseModel, frozen=True, populate_by_name=True):
    """What the gate says of a run.

    Attributes:
        headline: The verdict in a few words.
        reason: What was compared, in sentences.
        warnings: Why the scores may be wrong or of little use.
        next_steps: What to try next.
    """

    verdict: str = Field(pattern=f"^({'|'.join(VERDICTS)})$")
    headline: str
    reason: str
    warnings: list[str]
    next_steps: list[str] = Field(validation_alias="next", serialization_alias="next")
    checks: list[Check]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `metrics/gate.json`."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def format_checks(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """Return the verdict and the reason of each check; skipped ones are one line at the end."""
    skipped: dict[str, list[str]] = {}
    for check in checks:
        if check.verdict == SKIPPED:
            subject = BASELINES.get(check.subject, check.subject)
            skipped.setdefault(check.reason, []).append(subject)
    lines = [(check.verdict, check.reason) for check in checks if check.verdict != SKIPPED]
    reasons = [f"{', '.join(subjects)}: {reason}" for reason, subjects in skipped.items()]
    return [*lines, (SKIPPED, "; ".join(reasons))] if skipped else lines
