"""Numbers and parameters as text, and the difference of two scores in a sentence."""

import json
from typing import Any

from tabular.metrics import BASELINES, METRICS
from tabular.runs.comparison import Change, Changed, Scores
from tabular.runs.run import Run

NOT_THERE = "–"
FEW = 12  # differences of two tables that are named


def number(value: Any) -> str:
    """A number with four decimals, or with five digits if it is large; a word as it is."""
    if value is None or isinstance(value, str):
        return value or NOT_THERE
    if isinstance(value, bool | int):
        return f"{value:,}"
    text = f"{value:.4f}" if abs(value) < 10 else f"{value:#,.5g}".rstrip(".")
    return text.replace("-", "−")


def range_of(column: dict[str, Any]) -> str:
    """The lowest and the highest value of a column's profile: numbers, or dates as they are."""
    ends = [column.get("min"), column.get("max")]
    texts = [f"{end:,.5g}" if isinstance(end, int | float) else str(end) for end in ends]
    return "" if None in ends else " to ".join(texts)


def parameter(value: Any) -> str:
    """A parameter as params.yaml writes it."""
    if value is None or isinstance(value, str):
        return value or NOT_THERE
    return json.dumps(value, ensure_ascii=False, default=str)


def signed(change: Change | None) -> str:
    """By how much a score differs from another, and whether that is better or worse."""
    if change is None:
        return NOT_THERE
    if change.verdict == "same":
        return "same"
    sign = "+" if change.change > 0 else "−"
    return f"{sign}{number(abs(change.change))} {change.verdict}".rstrip()


def origin(run: Run) -> str:
    """Where the files of a run come from."""
    if run.commit is None:
        return "files that are in no commit yet"
    sha = run.commit.sha[:7]
    said = f"{'' if sha == run.label else f'{sha}, '}{run.commit.date}: {run.commit.subject}"
    return f"changes that are not committed, on {said}" if run.uncommitted else said


def other(change: Change | None) -> str:
    """The score that this one is compared with."""
    return number(change.value) if change else NOT_THERE


def baseline(name: str) -> str:
    """The name of a baseline for a reader."""
    return BASELINES.get(name, name)


def main_score(test: Scores) -> str:
    """The score that `evaluate` prints, in a sentence."""
    if test.main is None:
        return "This run has no scores of test rows."
    limits = " to ".join(map(number, test.main.interval or ()))
    interval = f" (95% interval {limits})" if limits else ""
    return (
        f"{test.main.label} {number(test.main.value)} on {number(test.rows)} test rows{interval}."
    )


def paired(scores: Scores, where: str) -> str:
    """How the main score compares with that of the better baseline on the same rows."""
    if scores.main is None or scores.paired is None:
        return ""
    name, (other, difference, low, high) = scores.main.label, scores.paired
    by = f"{number(abs(difference))} {'higher' if difference > 0 else 'lower'} than"
    size = f"{by if difference else 'the same as'} that of {baseline(other)}"
    if scores.main.key == "accuracy" and scores.rows and difference:
        rows = round(abs(difference) * scores.rows)
        size += f", by {rows:,} row{'s' if rows != 1 else ''} of {scores.rows:,}"
    verdict = "these rows cannot tell the two apart"
    if not low <= 0 <= high:
        better = (difference > 0) == METRICS[scores.main.key].greater_is_better
        verdict = f"the model is {'better' if better else 'worse'} by more than chance"
    return (
        f"{where}: {name[0].lower()}{name[1:]} is {size} "
        f"(95% interval of the difference {number(low)} to {number(high)}); {verdict}."
    )


def differences(changes: list[Changed]) -> str:
    """The first few differences of two profiles of a table."""
    words = [
        f"{changed.name.removeprefix('column.').replace('.', ', ')} "
        f"{number(changed.base)} → {number(changed.value)}"
        for changed in changes[:FEW]
    ]
    return "; ".join(words) + (f"; and {len(changes) - FEW} more" if len(changes) > FEW else "")
