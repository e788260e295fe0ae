"""The pictures of columns: what they hold, what they do to the answers, whether they moved."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from keras_tabular.experiments.comparison import Comparison
from keras_tabular.prediction.drift import ColumnDrift
from keras_tabular.report.pictures import Picture, points_of_both
from keras_tabular.report.vega import (
    BAR,
    OTHER,
    SOFT,
    THIS,
    Rows,
    Spec,
    chart,
    colors,
    layer,
    number,
    under_names,
)


def importance(comparison: Comparison) -> Picture | None:
    """Draw how much worse the loss is without each column, from the most to the least."""
    rows, labels = points_of_both(comparison, "importance")
    if not rows:
        return None
    run_rows = [row for row in rows if row["series"] == labels[0]]
    columns = {row["column"] for row in run_rows}
    base_rows = [row for row in rows if row["series"] != labels[0] and row["column"] in columns]
    increase = {"x": number("rise", "Increase of the loss"), "color": colors(labels)}
    ends = {"x": number("low"), "x2": {"field": "high"}}
    marks = [
        layer("bar", increase, run_rows, opacity=0.6, height=BAR),
        layer("rule", ends, run_rows, strokeWidth=2, color=THIS),
        layer("tick", dict(increase), base_rows, thickness=3, height=BAR),
    ]
    return Picture(
        "Importance of the columns",
        under_names([*run_rows, *base_rows], "column", marks),
        "Permutation importance: the mean increase of the loss when the column is shuffled ten "
        "times. The line from the minimum to the maximum shows the noise of shuffling, not how "
        "the importance varies between samples of rows. Correlated columns share it.",
    )


def effect_pictures(comparison: Comparison) -> list[Picture]:
    """Draw how the prediction changes with each of the first columns."""
    effects = comparison.files["effects"].get("columns", [])
    ends = [end for effect in effects for key in ("low", "high", "effect") for end in effect[key]]
    limits = (min(ends, default=0), max(ends, default=0))
    pictures = []
    for effect in effects:
        in_class = "class" in effect
        unit = f"probability of {effect['class']}" if in_class else comparison.run.target
        spec = draw_effect(effect, limits)
        pictures.append(Picture(effect["column"], spec, f"Change of the {unit}."))
    return pictures


def draw_effect(effect: Mapping[str, Any], limits: tuple[float, float]) -> Spec:
    """Draw the effect of a column of effects.json, and how far the members agree."""
    values = effect["values"]
    if effect["kind"] == "datetime":
        values = [datetime.fromtimestamp(value, UTC).isoformat() for value in values]
    points = zip(values, effect["effect"], effect["low"], effect["high"], strict=True)
    rows = [dict(zip(("value", "effect", "low", "high"), point, strict=True)) for point in points]
    scale = {"domain": list(limits), "nice": True}
    mean, low, high = number("effect", scale=scale), number("low", scale=scale), {"field": "high"}
    if effect["kind"] == "category":
        marks = [
            layer("bar", {"x": mean}, color=THIS, opacity=0.6, height=BAR),
            layer("rule", {"x": low, "x2": high}, color=THIS, strokeWidth=2),
        ]
        return under_names(rows, "value", marks)
    is_datetime = effect["kind"] == "datetime"
    axis = {"type": "temporal"} if is_datetime else {"scale": {"zero": False}}
    x = number("value", effect["column"]) | axis
    layers = [
        layer("area", {"x": x, "y": low, "y2": high}, color=THIS, opacity=0.25, clip=True),
        layer("line", {"x": x, "y": mean}, color=THIS, clip=True),
        layer("rule", {"y": {"datum": 0}}, strokeDash=[4, 4], color=SOFT),
    ]
    return chart(rows, layers, height=170)


def moved(name: str, column: ColumnDrift) -> Picture:
    """Draw the shares of the training rows and of the new rows in each bin of a column."""
    sides = ("training rows", "new rows")
    all_counts = zip(column.bins, column.train, column.new, strict=True)
    filled = {text for text, *counts in all_counts if any(counts)}

    def shares(side: str, counts: Sequence[int]) -> Rows:
        return [
            {"bin": text, "share": count / max(sum(counts), 1), "series": side}
            for text, count in zip(column.bins, counts, strict=True)
            if text in filled
        ]

    train, new = shares(sides[0], column.train), shares(sides[1], column.new)
    share = {
        "x": number("share", "Share of the rows", axis={"format": "~%"}),
        "color": colors(sides, (OTHER, THIS)),
    }
    marks = [
        layer("bar", share, new, opacity=0.6, height=BAR),
        layer("tick", dict(share), train, thickness=3, height=BAR),
    ]
    note = f"Distance {column.distance:.3f}; sampling noise up to {column.by_chance:.3f}."
    return Picture(name, under_names([*train, *new], "bin", marks), note)


def spark(column: Mapping[str, Any]) -> Markup:
    """Draw a small histogram of a column: bars of training rows, and a line of test rows.

    It is empty if the column has no counts.
    """
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
