"""The pictures of a run as Vega-Lite specifications."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tabular.report.vega import (
    BAR,
    LINE,
    OTHER,
    SOFT,
    THIS,
    WIDTH,
    Rows,
    Spec,
    chart,
    colors,
    digits,
    layer,
    named,
    note,
    number,
    straight,
    under_names,
    vertical,
)

MAX_NAMED = 12  # classes, whose cells have numbers in them
UNIT = {"domain": [0, 1]}
DIAGONAL = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]


def score_interval_chart(rows: Rows, label: str) -> Spec:
    """The score of the model and of each baseline with its interval, on one axis.

    Args:
        rows: of each a `name`, `of` (which rows were scored), `value`, `low` and `high`; the
            model's first.
        label: of the score.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    of = list(dict.fromkeys(row["of"] for row in rows))
    model = {"test": f"datum.name === {json.dumps(names[0])}", "value": THIS}
    place = {
        "y": named("name", names, axis={"labelFontSize": 13}),
        "yOffset": {"field": "of", "type": "nominal", "sort": of},
        "color": {"condition": model, "value": SOFT},
    }
    shape = {
        "field": "of",
        "type": "nominal",
        "scale": {"domain": of, "range": ["circle", "diamond"][: len(of)]},
        "legend": {"symbolFillColor": SOFT, "symbolStrokeColor": SOFT},
    }
    scale = {"zero": False, "nice": True}
    low, value = (number(field, label, scale=scale) for field in ("low", "value"))
    intervals = layer("rule", {"x": low, "x2": {"field": "high"}} | place, strokeWidth=2)
    values = layer("point", {"x": value, "shape": shape} | place, size=70, filled=True, opacity=1)
    return chart(rows, [intervals, values], height=len(names) * (18 * len(of) + 8))


def lines(
    rows: Rows, x: Spec, y: Spec, names: Sequence[str], more: Sequence[Spec] = (), **style: Any
) -> Spec:
    """A line for each of the names; of two runs the second one thinner."""
    widths = {"domain": list(names), "range": [2.5, 1.5][: len(names)]}
    encoding = {
        "x": x,
        "y": y,
        "color": colors(names),
        "strokeWidth": {"field": "of", "type": "nominal", "scale": widths, "legend": None},
        "order": {"field": "n", "type": "quantitative"},
    }
    return chart(rows, [layer("line", encoding, clip=True, **style), *more])


def roc(rows: Rows, names: Sequence[str], area: float | None) -> Spec:
    """The ROC curve with its diagonal and its area."""
    said = [] if area is None else [note(0.97, 0.06, f"area {area:.3f}")]
    return lines(
        rows,
        number("false positive rate", "False positive rate", scale=UNIT),
        number("true positive rate", "True positive rate (recall)", scale=UNIT),
        names,
        [straight(DIAGONAL), *said],
    )


def precision_recall(rows: Rows, names: Sequence[str], share: float) -> Spec:
    """Precision by recall, and what a guess reaches: the share of the class."""
    return lines(
        rows,
        number("recall", "Recall", scale=UNIT),
        number("precision", "Precision", scale=UNIT),
        names,
        [straight([{"x": 0, "y": share}, {"x": 1, "y": share}])],
        interpolate="step-before",
    )


def calibration(rows: Rows, names: Sequence[str]) -> Spec:
    """The share of a class by its predicted probability with intervals, over the counts."""
    own = [row for row in rows if row["of"] == names[0]]
    x = number("probability", scale=UNIT)
    share = number("actual", "Share that is of the class", scale=UNIT)
    points = {"filled": True, "size": 45}
    line = layer("line", {"x": x, "y": share, "color": colors(names)}, point=points)
    ends = {"x": dict(x), "y": number("low"), "y2": {"field": "high"}}
    limits = layer("rule", ends, own, strokeWidth=1.5, color=THIS)
    counts = {
        "x": number("probability", "Predicted probability", scale=UNIT),
        "y": number("rows", "Rows", axis={"tickCount": 2}),
    }
    bars = layer("bar", counts, width=16, color=THIS, opacity=0.6)
    above = chart(rows, [line, limits, straight(DIAGONAL)], WIDTH - 60, 190)
    below = chart(own, [bars], WIDTH - 60, 50)
    for part in (above, below):  # of the whole, not of its parts
        del part["autosize"], part["padding"]
    return {"vconcat": [above, below], "spacing": 8}


def classes(rows: Rows, names: tuple[str, str]) -> Spec:
    """How many rows of the class, and of the others, got which probability."""
    encoding = {
        "x": number("low", "Predicted probability of the class", scale=UNIT, bin="binned"),
        "x2": {"field": "high"},
        "y": number("rows", "Rows", stack=None),
        "color": colors(names, (OTHER, THIS)),
    }
    return chart(rows, [layer("bar", encoding, opacity=0.6, binSpacing=0)])


def confusion(rows: Rows) -> Spec:
    """True classes by predicted ones: rows and their share of the true class."""
    names = list(dict.fromkeys(row["true class"] for row in rows))
    size = min(max(len(names), 3), 40)
    longest = max(map(len, names), default=0)
    # Beside each other they may not fit.
    turned = -90 if longest * 7 > (WIDTH - 60 - 7 * longest) / size else 0
    labels = {"labelLimit": 190, "labelOverlap": len(names) > MAX_NAMED}
    x = named("predicted class", names, axis={"orient": "top", "labelAngle": turned, **labels})
    place = {
        "x": x | {"title": "Predicted class"},
        "y": named("true class", names, axis=labels) | {"title": "True class"},
    }
    shades = {"domain": [0, 1], "range": ["#0072b20d", "#0072b2cc"]}
    share = number("share", scale=shades, legend=None)
    layers = [layer("rect", place | {"color": share}, stroke=LINE, strokeWidth=1)]
    if len(names) <= MAX_NAMED:
        small, room = 12 if len(names) <= 5 else 10, len(names) <= 8
        said = [("rows", ",", -8, small + 2), ("share", ".0%", 8, small)]
        layers += [
            layer(
                "text",
                place | {"text": {"field": field, "format": form}},
                dy=dy if room else 0,
                fontSize=font,
            )
            for field, form, dy, font in (said if room else said[:1])
        ]
    return chart(rows, layers, height=min(max(len(names) * 52, 150), 420))


def threshold(rows: Rows, names: Sequence[str], chosen: float) -> Spec:
    """What each threshold comes to, and the chosen one.

    Args:
        rows: `threshold`, `value`, and `of`: one of the names.
    """
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
    encoding = {
        "x": number("threshold", "Threshold", scale=UNIT),
        "y": number("value", scale={"domainMin": 0}),
        "color": colors(names, [THIS, OTHER, SOFT, "currentColor"]),
        "strokeDash": {
            "field": "of",
            "type": "nominal",
            "scale": {"domain": list(names), "range": dashes[: len(names)]},
            "legend": {"symbolSize": 500},
        },
    }
    return chart(rows, [layer("line", encoding, clip=True), vertical(chosen, strokeWidth=1.5)])


def scatter(rows: Rows, x: Spec, y: Spec, through: Rows) -> Spec:
    """A point for each row, and the line on which they should lie."""
    zero = {"scale": {"zero": False}}
    style: Spec = {"filled": True, "size": 18, "opacity": 0.45, "color": THIS}
    return chart(rows, [layer("point", {"x": x | zero, "y": y | zero}, **style), straight(through)])


def curve(rows: Rows, names: Sequence[str], label: str, kept: float | None) -> Spec:
    """A learning curve of training rows and of the others, and the epoch whose weights are kept."""
    return lines(
        rows,
        number("epoch", "Epoch" if kept is None else f"Epoch (weights kept from {kept:.4g})"),
        number("value", label, scale={"zero": False}),
        names,
        [] if kept is None else [vertical(kept, strokeDash=[4, 4])],
    )


def cycles(rows: Rows, names: Sequence[str]) -> Spec:
    """The loss of each kind of networks after each cycle, and which ones the model takes.

    Args:
        rows: `steps`, `loss`, `weight`, 0 where it is not taken, and `of`: the kind.
    """
    x = number("steps", "Steps of the training", scale={"type": "log", "nice": False})
    y = number("loss", "Out-of-fold loss", scale={"zero": False})
    size = {"field": "weight", "type": "quantitative", "legend": None}
    taken = {"x": x, "y": y, "color": colors(names), "size": size}
    dots = layer("point", taken, [row for row in rows if row["weight"]], filled=True, opacity=1)
    return lines(rows, x, y, names, [dots])


def members(rows: Rows, label: str) -> Spec:
    """The loss of each member for its own fold, by its kind."""
    x = number("loss", label, scale={"zero": False})
    return under_names(rows, "kind", [layer("tick", {"x": x}, color=THIS, thickness=2, height=BAR)])


def importance(rows: Rows, names: Sequence[str]) -> Spec:
    """How much worse the loss is without each column, from the most to the least.

    Args:
        rows: `column`, `rise`, `low` and `high`, and `of`: a run.
    """
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
    return under_names([*own, *other], "column", marks)


def moved(rows: Rows, names: tuple[str, str]) -> Spec:
    """The share of the training rows, and of new ones, in each bin of a column.

    Args:
        rows: `bin`, `share` and `of`, one of the names: the training rows' first.
    """
    share = {
        "x": number("share", "Share of the rows", axis={"format": "~%"}),
        "color": colors(names, (OTHER, THIS)),
    }
    new, old = ([row for row in rows if row["of"] == name] for name in names[::-1])
    marks = [
        layer("bar", share, new, opacity=0.6, height=BAR),
        layer("tick", dict(share), old, thickness=3, height=BAR),
    ]
    return under_names(rows, "bin", marks)


def effect(of: Mapping[str, Any], limits: tuple[float, float]) -> Spec:
    """How the answer moves with a column, and how far the members of the model agree.

    Args:
        of: a column of `metrics/effects.json`; moments as ISO text in `values`.
        limits: of the axis of the effect, the same for all columns.
    """
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
    x, height = number("value", of["column"], **digits(of["values"])) | moment, 170
    ticks: Spec = {"color": SOFT, "thickness": 1, "yOffset": 0, "height": 6}
    layers = [
        layer("area", {"x": x, "y": low, "y2": high}, color=THIS, opacity=0.25, clip=True),
        layer("line", {"x": x, "y": mean}, color=THIS, clip=True),
        layer("rule", {"y": {"datum": 0}}, strokeDash=[4, 4], color=SOFT),
        layer("tick", {"x": x, "y": {"value": height}}, **ticks),
    ]
    return chart(rows, layers, height=height)


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
