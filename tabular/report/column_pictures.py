"""The pictures of columns: what they hold, what they do to the answers, whether they moved."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from tabular.prediction.drift import ColumnDrift
from tabular.report.pictures import Picture, points_of_both
from tabular.report.vega import (
    BAR,
    OTHER,
    SOFT,
    THIS,
    Spec,
    chart,
    colors,
    layer,
    number,
    under_names,
)
from tabular.runs.comparison import Comparison


def importance(comparison: Comparison) -> Picture | None:
    """How much worse the loss is without each column, from the most to the least."""
    rows, names = points_of_both(comparison, "importance")
    if not rows:
        return None
    own = [row for row in rows if row["of"] == names[0]]
    columns = {row["column"] for row in own}
    other = [row for row in rows if row["of"] != names[0] and row["column"] in columns]
    rise = {"x": number("rise", "Increase of the loss"), "color": colors(names)}
    ends = {"x": number("low"), "x2": {"field": "high"}}
    marks = [
        layer("bar", rise, own, opacity=0.6, height=BAR),
        layer("rule", ends, own, strokeWidth=2, color=THIS),
        layer("tick", dict(rise), other, thickness=3, height=BAR),
    ]
    return Picture(
        "Importance of the columns",
        under_names([*own, *other], "column", marks),
        "Permutation importance: the mean increase of the loss when the column is shuffled ten "
        "times. The line from the minimum to the maximum shows the noise of shuffling, not how "
        "the importance varies between samples of rows. Correlated columns share it.",
    )


def effect_pictures(comparison: Comparison) -> list[Picture]:
    """How the answer moves with each of the first columns."""
    columns = comparison.files["effects"].get("columns", [])
    ends = [value for of in columns for key in ("low", "high", "effect") for value in of[key]]
    limits = (min(ends, default=0), max(ends, default=0))
    found = []
    for of in columns:
        unit = f"probability of {of['class']}" if "class" in of else comparison.run.target
        if of["kind"] == "datetime":
            moments = [datetime.fromtimestamp(v, UTC).isoformat() for v in of["values"]]
            of = of | {"values": moments}
        spec = effect(of, limits)
        found.append(Picture(of["column"], spec, note=f"Change of the {unit}."))
    return found


def effect(of: Mapping[str, Any], limits: tuple[float, float]) -> Spec:
    """How the answer moves with a column of effects.json, and how far the members agree."""
    points = zip(of["values"], of["effect"], of["low"], of["high"], strict=True)
    rows = [dict(zip(("value", "effect", "low", "high"), point, strict=True)) for point in points]
    scale = {"domain": list(limits), "nice": True}
    mean, low, high = number("effect", scale=scale), number("low", scale=scale), {"field": "high"}
    if of["kind"] == "category":
        marks = [
            layer("bar", {"x": mean}, color=THIS, opacity=0.6, height=BAR),
            layer("rule", {"x": low, "x2": high}, color=THIS, strokeWidth=2),
        ]
        return under_names(rows, "value", marks)
    moment = {"type": "temporal"} if of["kind"] == "datetime" else {"scale": {"zero": False}}
    x = number("value", of["column"]) | moment
    layers = [
        layer("area", {"x": x, "y": low, "y2": high}, color=THIS, opacity=0.25, clip=True),
        layer("line", {"x": x, "y": mean}, color=THIS, clip=True),
        layer("rule", {"y": {"datum": 0}}, strokeDash=[4, 4], color=SOFT),
    ]
    return chart(rows, layers, height=170)


def moved(name: str, column: ColumnDrift) -> Picture:
    """Draw the shares of the training rows and of the new rows in each bin of a column."""
    sides = ("training rows", "new rows")
    rows = [
        {"bin": text, "share": count / max(sum(counts), 1), "of": side}
        for side, counts in zip(sides, (column.train, column.new), strict=True)
        for text, count in zip(column.bins, counts, strict=True)
    ]
    shown = {row["bin"] for row in rows if row["share"]}
    rows = [row for row in rows if row["bin"] in shown]
    share = {
        "x": number("share", "Share of the rows", axis={"format": "~%"}),
        "color": colors(sides, (OTHER, THIS)),
    }
    old, new = ([row for row in rows if row["of"] == side] for side in sides)
    marks = [
        layer("bar", share, new, opacity=0.6, height=BAR),
        layer("tick", dict(share), old, thickness=3, height=BAR),
    ]
    note = f"Distance {column.distance:.3f}; sampling noise up to {column.by_chance:.3f}."
    return Picture(name, under_names(rows, "bin", marks), note=note)


def spark(column: Mapping[str, Any]) -> Markup:
    """A column's small histogram: bars of training rows, a line of test rows; or nothing."""
    shares = [
        [count / max(sum(column.get(name, [])), 1) for count in column.get(name, [])]
        for name in ("train", "test")
    ]
    top = max((share for of_rows in shares for share in of_rows), default=0)
    if not top:
        return Markup()
    width = 96 / len(shares[0])
    heights = [[24 * share / top for share in of_rows] for of_rows in shares]
    bars = "".join(
        f"M{n * width + 0.5:.1f} 26v-{height:.1f}h{width - 1:.1f}V26z"
        for n, height in enumerate(heights[0])
    )
    step = "L".join(
        f"{n * width:.1f} {26 - height:.1f}h{width:.1f}" for n, height in enumerate(heights[1])
    )
    return Markup(
        '<svg viewBox="0 0 96 26" class="spark" aria-hidden="true">'
        f'<path class="bars" d="{bars}"/><path class="step" d="M{step}"/></svg>'
    )
