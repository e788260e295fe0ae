"""Numbers and parameters as text, and the difference of two scores in a sentence."""

import json
import re
from typing import Any

from markupsafe import Markup, escape

from keras_tabular.core.numbers import UNDEFINED, format_number
from keras_tabular.experiments.comparison import ChangedValue, ScoreComparison, ScoreRow
from keras_tabular.experiments.run import Run

LARGE = 1e15  # from here on numbers are written with an exponent
MIN_WITH_COMMAS = 10_000  # smaller numbers have none: they may be years
MAX_NAMED_DIFFERENCES = 12  # of two profiles of a table


def number(value: Any) -> str:
    """Format a number with five significant digits, or all of those before the point.

    Other values are formatted as params.yaml writes them.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return parameter(value)
    size = abs(value)
    is_whole = isinstance(value, int) or 99_999.5 <= size < LARGE
    text = f"{value:,.0f}" if is_whole else f"{value:,.5g}"
    return (text if size >= MIN_WITH_COMMAS else text.replace(",", "")).replace("-", "−")


def parameter(value: Any) -> str:
    """Format a parameter as params.yaml writes it."""
    if value is None or isinstance(value, str):
        return value or UNDEFINED
    return json.dumps(value, ensure_ascii=False, default=str)


def format_score(value: float | None, *compared_with: float | None) -> str:
    """Format a score with a minus sign instead of a hyphen; see `format_number`."""
    return format_number(value, *compared_with).replace("-", "−")


def with_minus_signs(text: str) -> str:
    """Write a minus sign where a number below 0 has a hyphen."""
    return re.sub(r"(?<![\w.)])-(?=[\d.])", "−", text)


def with_code(text: str) -> Markup:
    """Convert a text to HTML, in which what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def format_interval(interval: tuple[float, float] | None) -> str:
    """Format the ends of an interval."""
    return " to ".join(map(format_score, interval or ()))


def baseline_values(score: ScoreRow) -> list[float]:
    """Return the scores of the baselines that have this score."""
    return [change.value for change in score.baselines.values() if change]


def format_difference(change: ScoreComparison | None) -> str:
    """Format how much a score differs from another, whether that is better, and the interval."""
    if change is None or (not change.verdict and not change.change):
        return UNDEFINED
    if change.verdict == "same" and not change.interval:
        return "same"
    verdict = "within chance" if change.verdict == "level" else change.verdict
    interval = f" ({format_interval(change.interval)})" if change.interval else ""
    sign = "+" if change.change > 0 else ""
    return f"{sign}{format_score(change.change)} {verdict}{interval}"


def describe_origin(run: Run) -> str:
    """Describe where the files of a run come from."""
    if run.commit is None:
        return "uncommitted files"
    sha = run.commit.sha[:7]
    named = "" if sha == run.label else f"{sha}, "
    origin = f"{named}{run.commit.date}: {run.commit.subject}"
    return f"uncommitted changes on {origin}" if run.uncommitted else origin


def differences(changes: list[ChangedValue]) -> str:
    """List the first few differences of two profiles of a table."""
    words = [
        f"{changed.name.removeprefix('column.').replace('.', ', ')} "
        f"{number(changed.base)} → {number(changed.value)}"
        for changed in changes[:MAX_NAMED_DIFFERENCES]
    ]
    more = len(changes) - len(words)
    return "; ".join(words) + (f"; and {more} more" if more else "")
