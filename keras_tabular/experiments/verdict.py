"""The verdict of the gate and the checks behind it: the content of `metrics/gate.json`."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from keras_tabular.tasks.metrics import BASELINES

STATUSES = ("fail", "undecided", "pass")  # the worst one first
SKIPPED = "skipped"
KEYS = {"status": "verdict", "value": "found", "next_steps": "next"}  # in the file


class _Record(BaseModel):
    """A part of the file, whose keys may differ from the attributes."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, alias_generator=lambda name: KEYS.get(name, name)
    )


class Check(_Record):
    """The result of one rule of the gate.

    Attributes:
        rule: `lowest`, `highest`, `worse_than_last` or `beat_baselines`, and its subject: the
            dotted key of a score, or a baseline.
        status: One of `STATUSES`, or `skipped`.
        value: The score of this run.
        allowed: The limit or the score of the baseline.
        score: Dotted key such as `test.loss` of the score that is compared with a baseline.
        difference: Score of the model minus that of the baseline, with its 95% interval `low` and
            `high`.
    """

    rule: str
    status: str
    reason: str
    value: float | None = None
    allowed: float | None = None
    score: str | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def subject(self) -> str:
        """The dotted key of the score, or the baseline."""
        return self.rule.partition(" ")[2]

    @property
    def is_significant(self) -> bool:
        """Whether there is an interval of the difference that does not contain 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


class Verdict(_Record):
    """The verdict of the gate on a run.

    Attributes:
        status: One of `STATUSES`.
        headline: The verdict in a few words.
        reason: The comparisons behind it, in sentences.
        warnings: Why the scores may be wrong or of little use.
        next_steps: What to try next.
    """

    status: str = Field(pattern=f"^({'|'.join(STATUSES)})$")
    headline: str
    reason: str
    warnings: list[str]
    next_steps: list[str]
    checks: list[Check]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `metrics/gate.json`."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def format_checks(checks: Sequence[Check]) -> list[tuple[str, str]]:
    """Return the status and the reason of each check, which starts with what was skipped."""
    lines = []
    for check in checks:
        subject = BASELINES.get(check.subject, check.subject)
        reason = f"{subject}: {check.reason}" if check.status == SKIPPED else check.reason
        lines.append((check.status, reason))
    return lines
