"""Numbers and parameters as text, and the difference of two scores in a sentence."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from jinja2 import pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup, escape

from tabular.core.metrics import BASELINES
from tabular.core.numbers import UNDEFINED, format_number
from tabular.runs.comparison import ChangedValue, ScoreComparison, ScoreRow
from tabular.runs.run import Run

YEARS = (1000, 2999)
LARGE = 1e15  # from here on numbers are written as they are
WHOLE = re.compile(r"[−-]?[\d.,]+ to [−-]?[\d.,]+|\d rows\b")  # is not broken in two lines
MAX_WHOLE = 20  # letters; a page would not be wide enough for more
FEW = 12  # differences of two tables that are named


def number(value: Any) -> str:
    """A number with four decimals, or with five digits if it is large; a word as it is."""
    if value is None or isinstance(value, str):
        return value or UNDEFINED
    if isinstance(value, bool | int):
        return f"{value:,}"
    text = f"{value:.4f}" if abs(value) < 10 else in_full(value, "#")
    return text.rstrip(".").replace("-", "−")


def in_full(value: float, flag: str = "") -> str:
    """A number with five significant digits, but all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 99_999.5 else f"{value:{flag},.5g}"


def are_years(values: Iterable[Any]) -> bool:
    """Whether all look like years, which have no comma: whole numbers of four digits."""
    found = list(values)
    return bool(found) and all(
        isinstance(value, int | float) and YEARS[0] <= value <= YEARS[1] and value == int(value)
        for value in found
    )


def ends(*values: Any) -> list[str]:
    """The lowest and the highest value of a column: numbers, years, or dates as they are."""
    form = "{:.0f}".format if are_years(values) else in_full
    return [form(end) if isinstance(end, int | float) else str(end) for end in values]


def range_of(column: dict[str, Any]) -> str:
    """From the lowest to the highest value of a column's profile; empty where there are none."""
    found = (column.get("min"), column.get("max"))
    return "" if None in found else " to ".join(ends(*found))


def cells(values: Sequence[Any], digits: int = 6) -> list[str]:
    """The values of a column: all with as many decimals as one needs for its significant digits."""
    numbers = [v for v in values if isinstance(v, float) and abs(v) < LARGE]
    exponents = [Decimal(f"{v:.{digits}g}").normalize().as_tuple().exponent for v in numbers]
    decimals = max([0, *(-int(exponent) for exponent in exponents)])
    return [
        f"{v:.{decimals}f}"
        if isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < LARGE
        else parameter(v)
        for v in values
    ]


def shares(values: Sequence[float], decimals: int = 2) -> list[float]:
    """Shares of a whole, rounded so that they still add up to it, by the largest remainders."""
    exact = [value * 10**decimals for value in values]
    whole = [math.floor(value) for value in exact]
    order = sorted(range(len(values)), key=lambda n: whole[n] - exact[n])
    raised = order[: round(sum(exact)) - sum(whole)]
    return [(count + (n in raised)) / 10**decimals for n, count in enumerate(whole)]


def parameter(value: Any) -> str:
    """A parameter as params.yaml writes it."""
    if value is None or isinstance(value, str):
        return value or UNDEFINED
    return json.dumps(value, ensure_ascii=False, default=str)


def shape(sizes: list[Any]) -> str:
    """The shape of a tensor without its batch axis, or the shapes of several."""
    if any(isinstance(size, list) for size in sizes):
        return "; ".join(map(shape, sizes))
    return " × ".join("any" if size is None else f"{size:,}" for size in sizes) or UNDEFINED


def format_score(value: float | None, *compared_with: float | None) -> str:
    """Format a score with a minus sign instead of a hyphen; see `format_number`."""
    return format_number(value, *compared_with).replace("-", "−")


def signed(value: float) -> str:
    """A difference with its sign."""
    return ("+" if value > 0 else "") + format_score(value)


def with_minus_signs(text: str) -> str:
    """A text with a minus where a number below 0 has a hyphen."""
    return re.sub(r"(?<![\w.)])-(?=[\d.])", "−", text)


@pass_eval_context
def unbroken(context: EvalContext, value: Any) -> Any:
    """A text of which HTML breaks no line within a short interval or before a unit."""
    if not context.autoescape or not isinstance(value, str) or isinstance(value, Markup):
        return value
    return WHOLE.sub(
        lambda found: found[0].replace(" ", "\u00a0") if len(found[0]) <= MAX_WHOLE else found[0],
        value,
    )


def with_code(text: str) -> Markup:
    """A text as HTML, in which what stands in backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def format_interval(interval: tuple[float, float] | None) -> str:
    """The ends of an interval."""
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
    return f"{signed(change.change)} {verdict}{interval}"


def describe_origin(run: Run) -> str:
    """Where the files of a run come from."""
    if run.commit is None:
        return "uncommitted files"
    sha = run.commit.sha[:7]
    said = f"{'' if sha == run.label else f'{sha}, '}{run.commit.date}: {run.commit.subject}"
    return f"uncommitted changes on {said}" if run.uncommitted else said


def baseline(name: str) -> str:
    """The name of a baseline for a reader."""
    return BASELINES.get(name, name)


def differences(changes: list[ChangedValue]) -> str:
    """The first few differences of two profiles of a table."""

    def both(changed: ChangedValue) -> list[str]:
        pair = (changed.base, changed.value)
        if changed.name.endswith((".min", ".max")) and are_years(pair):
            return ends(*pair)
        return [number(value) for value in pair]

    words = [
        f"{changed.name.removeprefix('column.').replace('.', ', ')} {' → '.join(both(changed))}"
        for changed in changes[:FEW]
    ]
    return "; ".join(words) + (f"; and {len(changes) - FEW} more" if len(changes) > FEW else "")
