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
    named,
    note,
    number,
    straight,
    under_names,
)

MAX_NAMED = 12  # classes, whose cells have numbers in them
UNIT = {"domain": [0, 1]}


def standing(rows: Rows, label: str) -> Spec:
    """The score of the model and of each baseline with its interval, on one axis.

    Args:
        rows: of each a `name`, `of` (which rows were scored), `value`, `low` and `high`; the
            model's first.
        label: of the score.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    of = list(dict.fromkeys(row["of"] for row in rows))
    y = {
        "y": named("name", names, axis={"labelFontSize": 13}),
        "yOffset": {"field": "of", "type": "nominal", "sort": of},
    }
    model = {"test": f"datum.name === {json.dumps(names[0])}", "value": THIS}
    color = {"condition": model, "value": SOFT}
    x = {"scale": {"zero": False, "nice": True}}
    return chart(
        rows,
        [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "x": number("low", label, **x),
                    "x2": {"field": "high"},
                    "color": color,
                }
                | y,
            },
            {
                "mark": {"type": "point", "size": 70, "filled": True, "opacity": 1},
                "encoding": {
                    "x": number("value", label, **x),
                    "color": color,
                    "shape": {
                        "field": "of",
                        "type": "nominal",
                        "scale": {"domain": of, "range": ["circle", "diamond"][: len(of)]},
                        "legend": {"symbolFillColor": SOFT, "symbolStrokeColor": SOFT},
                    },
                }
                | y,
            },
        ],
        height=len(names) * (18 * len(of) + 8),
    )


def lines(
    rows: Rows, x: Spec, y: Spec, names: Sequence[str], more: Sequence[Spec] = (), **mark: Any
) -> Spec:
    """A line for each of the names; of two runs the second one thinner."""
    widths = {"domain": list(names), "range": [2.5, 1.5][: len(names)]}
    line = {
        "mark": {"type": "line", "clip": True, **mark},
        "encoding": {
            "x": x,
            "y": y,
            "color": colors(names),
            "strokeWidth": {"field": "of", "type": "nominal", "scale": widths, "legend": None},
            "order": {"field": "n", "type": "quantitative"},
        },
    }
    return chart(rows, [line, *more])


def roc(rows: Rows, names: Sequence[str], area: float | None) -> Spec:
    """The ROC curve with its diagonal and its area."""
    said = [] if area is None else [note(0.97, 0.06, f"area {area:.3f}", "right")]
    return lines(
        rows,
        number("false positive rate", "False positive rate", scale=UNIT),
        number("true positive rate", "True positive rate (recall)", scale=UNIT),
        names,
        [straight([{"x": 0, "y": 0}, {"x": 1, "y": 1}]), *said],
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
    x = number("probability", None, scale=UNIT)
    share = number("actual", "Share that is of the class", scale=UNIT)
    line = {
        "mark": {"type": "line", "point": {"filled": True, "size": 45}},
        "encoding": {"x": x, "y": share, "color": colors(names)},
    }
    limits = {
        "data": {"values": own},
        "mark": {"type": "rule", "strokeWidth": 1.5, "color": THIS},
        "encoding": {"x": dict(x), "y": number("low"), "y2": {"field": "high"}},
    }
    bars = {
        "mark": {"type": "bar", "width": 16, "color": THIS, "opacity": 0.6},
        "encoding": {
            "x": number("probability", "Predicted probability", scale=UNIT),
            "y": number("rows", "Rows", axis={"tickCount": 2}),
        },
    }
    diagonal = straight([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
    above = chart(rows, [line, limits, diagonal], WIDTH - 60, 190)
    below = chart(own, [bars], WIDTH - 60, 50)
    for part in (above, below):  # of the whole, not of its parts
        del part["autosize"], part["padding"]
    return {"vconcat": [above, below], "spacing": 8}


def classes(rows: Rows, names: tuple[str, str]) -> Spec:
    """How many rows of the class, and of the others, got which probability."""
    bar = {
        "mark": {"type": "bar", "opacity": 0.6, "binSpacing": 0},
        "encoding": {
            "x": number("low", "Predicted probability of the class", scale=UNIT, bin="binned"),
            "x2": {"field": "high"},
            "y": number("rows", "Rows", stack=None),
            "color": colors(names, (OTHER, THIS)),
        },
    }
    return chart(rows, [bar])


def confusion(rows: Rows) -> Spec:
    """True classes by predicted ones: rows and their share of the true class."""
    names = list(dict.fromkeys(row["true class"] for row in rows))
    size = min(max(len(names), 3), 40)
    longest = max(map(len, names), default=0)
    # Beside each other they may not fit.
    turned = -90 if longest * 7 > (WIDTH - 60 - 7 * longest) / size else 0
    labels = {"labelLimit": 190, "labelOverlap": len(names) > MAX_NAMED}
    x = named("predicted class", names, axis={"orient": "top", "labelAngle": turned, **labels})
    y = named("true class", names, axis=labels)
    x |= {"title": "Predicted class"}
    y |= {"title": "True class"}
    share = number(
        "share", scale={"domain": [0, 1], "range": ["#0072b20d", "#0072b2cc"]}, legend=None
    )
    layers: list[Spec] = [
        {
            "mark": {"type": "rect", "stroke": LINE, "strokeWidth": 1},
            "encoding": {"x": x, "y": y, "color": share},
        }
    ]
    if len(names) <= MAX_NAMED:
        small, room = 12 if len(names) <= 5 else 10, len(names) <= 8
        said = [("rows", ",", -8, small + 2), ("share", ".0%", 8, small)]
        layers += [
            {
                "mark": {"type": "text", "dy": dy if room else 0, "fontSize": font},
                "encoding": {"x": x, "y": y, "text": {"field": field, "format": form}},
            }
            for field, form, dy, font in (said if room else said[:1])
        ]
    return chart(rows, layers, height=min(max(len(names) * 52, 150), 420))


def threshold(rows: Rows, names: Sequence[str], chosen: float) -> Spec:
    """What each threshold comes to, and the chosen one.

    Args:
        rows: `threshold`, `value`, and `of`: one of the names.
    """
    shades = [THIS, OTHER, SOFT, "currentColor"]
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
    line = {
        "mark": {"type": "line", "clip": True},
        "encoding": {
            "x": number("threshold", "Threshold", scale=UNIT),
            "y": number("value", None, scale={"domainMin": 0}),
            "color": colors(names, shades),
            "strokeDash": {
                "field": "of",
                "type": "nominal",
                "scale": {"domain": list(names), "range": dashes[: len(names)]},
                "legend": {"symbolSize": 500},
            },
        },
    }
    here = {
        "data": {"values": [{"x": chosen}]},
        "mark": {"type": "rule", "strokeWidth": 1.5, "color": SOFT},
        "encoding": {"x": number("x")},
    }
    return chart(rows, [line, here])


def scatter(rows: Rows, x: Spec, y: Spec, through: Rows) -> Spec:
    """A point for each row, and the line on which they should lie."""
    zero = {"scale": {"zero": False}}
    return chart(
        rows,
        [
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 18,
                    "opacity": 0.45,
                    "color": THIS,
                },
                "encoding": {"x": {**x, **zero}, "y": {**y, **zero}},
            },
            straight(through),
        ],
    )


def curve(rows: Rows, names: Sequence[str], label: str, kept: float | None) -> Spec:
    """A learning curve of training rows and of the others, and the epoch whose weights are kept."""
    said = (
        []
        if kept is None
        else [
            {
                "data": {"values": [{"x": kept}]},
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": SOFT},
                "encoding": {"x": number("x")},
            }
        ]
    )
    return lines(
        rows,
        number("epoch", "Epoch" if kept is None else f"Epoch (the weights are of {kept:.4g})"),
        number("value", label, scale={"zero": False}),
        names,
        said,
    )


def members(rows: Rows, label: str) -> Spec:
    """The loss of each member for its own fold, by its kind."""
    tick = {
        "mark": {"type": "tick", "color": THIS, "thickness": 2, "height": BAR},
        "encoding": {"x": number("loss", label, scale={"zero": False})},
    }
    return under_names(rows, "kind", [tick])


def importance(rows: Rows, names: Sequence[str]) -> Spec:
    """How much worse the loss is without each column, from the most to the least.

    Args:
        rows: `column`, `rise`, `low` and `high`, and `of`: a run.
    """
    own = [row for row in rows if row["of"] == names[0]]
    columns = {row["column"] for row in own}
    other = [row for row in rows if row["of"] != names[0] and row["column"] in columns]
    x = number("rise", "Rise of the loss")
    marks: list[Spec] = [
        {
            "data": {"values": own},
            "mark": {"type": "bar", "opacity": 0.6, "height": BAR},
            "encoding": {"x": x, "color": colors(names)},
        },
        {
            "data": {"values": own},
            "mark": {"type": "rule", "strokeWidth": 2, "color": THIS},
            "encoding": {"x": number("low"), "x2": {"field": "high"}},
        },
        {
            "data": {"values": other},
            "mark": {"type": "tick", "thickness": 3, "height": BAR},
            "encoding": {"x": x, "color": colors(names)},
        },
    ]
    return under_names([*own, *other], "column", marks)


def moved(rows: Rows, names: tuple[str, str]) -> Spec:
    """The share of the training rows, and of new ones, in each bin of a column.

    Args:
        rows: `bin`, `share` and `of`, one of the names: the training rows' first.
    """
    x = number("share", "Share of the rows", axis={"format": "~%"})
    bars: Spec = {
        "mark": {"type": "bar", "opacity": 0.6, "height": BAR},
        "encoding": {"x": x, "color": colors(names, (OTHER, THIS))},
    }
    ticks = {
        "mark": {"type": "tick", "thickness": 3, "height": BAR},
        "encoding": {"x": x, "color": colors(names, (OTHER, THIS))},
    }
    new, old = ([row for row in rows if row["of"] == name] for name in names[::-1])
    return under_names(
        rows, "bin", [bars | {"data": {"values": new}}, ticks | {"data": {"values": old}}]
    )


def effect(of: Mapping[str, Any], limits: tuple[float, float]) -> Spec:
    """How the answer moves with a column, and how far the members of the model agree.

    Args:
        of: a column of `metrics/effects.json`; moments as ISO text in `values`.
        limits: of the y axis, the same for all columns.
    """
    rows = [
        {"value": value, "effect": mean, "low": low, "high": high}
        for value, mean, low, high in zip(
            of["values"], of["effect"], of["low"], of["high"], strict=True
        )
    ]
    y = {"scale": {"domain": list(limits), "nice": True}}
    if of["kind"] == "category":
        marks: list[Spec] = [
            {
                "mark": {"type": "bar", "color": THIS, "opacity": 0.6, "height": BAR},
                "encoding": {"x": number("effect", None, **y)},
            },
            {
                "mark": {"type": "rule", "color": THIS, "strokeWidth": 2},
                "encoding": {"x": number("low", None, **y), "x2": {"field": "high"}},
            },
        ]
        return under_names(rows, "value", marks)
    moment = {"type": "temporal"} if of["kind"] == "datetime" else {"scale": {"zero": False}}
    x = number("value", of["column"]) | moment
    return chart(
        rows,
        [
            {
                "mark": {"type": "area", "color": THIS, "opacity": 0.25, "clip": True},
                "encoding": {"x": x, "y": number("low", None, **y), "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "color": THIS, "clip": True},
                "encoding": {"x": x, "y": number("effect", None, **y)},
            },
            {
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": SOFT},
                "encoding": {"y": {"datum": 0}},
            },
            {
                "mark": {"type": "tick", "color": SOFT, "thickness": 1, "yOffset": 0, "height": 6},
                "encoding": {"x": x, "y": {"value": 170}},
            },
        ],
        height=170,
    )


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
