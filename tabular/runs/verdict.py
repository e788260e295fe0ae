"""The verdict of the gate and the checks behind it, and both as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tabular.core.metrics import BASELINES
from tabular.evaluation.evaluation import PairedDifference

VERDICTS = ("fail", "undecided", "pass")  # the worst one first
SKIPPED = "skipped"
BEAT_BASELINES = "beat_baselines"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One rule of the gate and what became of it.

    Attributes:
        rule: `lowest`, `highest`, `worse_than_last` or `beat_baselines`.
        subject: The dotted key of the score, or the baseline.
        verdict: One of `VERDICTS`, or `skipped`.
        value: The score of this run.
        limit: What the score is compared with: the limit, or the score of the baseline.
    """

    rule: str
    subject: str
    verdict: str
    reason: str
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class BaselineCheck(Check):
    """A comparison with a baseline; `score` is a dotted key such as `test.accuracy`."""

    score: str
    difference: PairedDifference


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a run.

    Attributes:
        verdict: One of `VERDICTS`.
        headline: The verdict in a few words.
        reason: What was compared, in sentences.
        warnings: Why the scores may be wrong or of little use.
        next_steps: What to try next.
    """

    verdict: str
    headline: str
    reason: str
    warnings: Sequence[str]
    next_steps: Sequence[str]
    checks: Sequence[Check]


def to_json(verdict: Verdict) -> dict[str, Any]:
    """Return the content of `metrics/gate.json`."""
    return {
        "verdict": verdict.verdict,
        "headline": verdict.headline,
        "reason": verdict.reason,
        "warnings": list(verdict.warnings),
        "next": list(verdict.next_steps),
        "checks": [_check_to_json(check) for check in verdict.checks],
    }


def _check_to_json(check: Check) -> dict[str, Any]:
    content: dict[str, Any] = {
        "rule": f"{check.rule} {check.subject}",
        "verdict": check.verdict,
        "reason": check.reason,
    }
    if isinstance(check, BaselineCheck):
        content |= {"score": check.score, **check.difference._asdict()}
    elif check.rule == BEAT_BASELINES:  # there was nothing to compare
        return content
    return content | {"found": check.value, "allowed": check.limit}


def from_json(content: Mapping[str, Any]) -> Verdict | None:
    """Read the content of `metrics/gate.json`.

    It may be that of any commit, and so of any shape. Another one counts as no verdict.
    """
    try:
        if content["verdict"] not in VERDICTS:
            return None
        checks = [_check_from_json(check) for check in content["checks"]]
        headline, reason = str(content["headline"]), str(content["reason"])
        warnings, steps = (list(map(str, content[key])) for key in ("warnings", "next"))
        return Verdict(content["verdict"], headline, reason, warnings, steps, checks)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _check_from_json(content: Any) -> Check:
    rule, _, subject = content["rule"].partition(" ")
    check = Check(
        rule=rule,
        subject=subject,
        verdict=str(content["verdict"]),
        reason=str(content["reason"]),
        value=content.get("found"),
        limit=content.get("allowed"),
    )
    if "score" not in content:
        return check
    difference = PairedDifference(*(content[key] for key in PairedDifference._fields))
    return BaselineCheck(**vars(check), score=str(content["score"]), difference=difference)


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
