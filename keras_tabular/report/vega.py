"""Vega-Lite specifications as SVG, and their parts: legible on a phone and on paper.

Two colours that a colour-blind reader and a grey print tell apart (Okabe and Ito, "Color universal
design", 2008): blue for this run, orange for the other one or the other class. They are variables
of the page's style, so that dark pages have lighter ones.
"""

import re
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import vl_convert
from markupsafe import Markup

Spec = dict[str, Any]
Rows = list[dict[str, Any]]
VEGA_LITE = "5.21"
WIDTH, HEIGHT = 330, 240  # with the axes as wide as a phone, so that no text is made smaller there
BAR, LINE_HEIGHT = 12, 15  # heights of a bar, and of a line of its name
LETTERS, TITLE = 46, 34  # of a line of a name, and of an axis title
THIS, OTHER, SOFT, LINE = "var(--this)", "var(--other)", "var(--soft)", "#8886"
# No commas below 10,000: the numbers may be years.
TICKS = "abs(datum.value) >= 10000 ? format(datum.value, '~s') : replace(datum.label, ',', '')"
STYLE = {
    "aria": False,  # or each point of it is read aloud
    "background": None,
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",  # as wide as where it is measured
    "view": {"stroke": None},
    "axis": {
        **{"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal"},
        **{"labelColor": "currentColor", "titleColor": "currentColor"},
        **{"gridColor": "#8883", "domainColor": "#888", "tickColor": "#888"},
    },
    "axisX": {"labelAngle": 0, "labelLimit": 90, "labelOverlap": "greedy", "labelSeparation": 8},
    "axisXQuantitative": {"labelFlush": False, "tickCount": 6, "labelExpr": TICKS},
    "axisYQuantitative": {"labelExpr": TICKS},
    "axisY": {"labelLimit": 150, "tickCount": 5, "titlePadding": 10},
    "legend": {
        **{"orient": "bottom", "title": None, "columns": 1, "labelLimit": 300},
        **{"labelFontSize": 12, "labelColor": "currentColor", "symbolStrokeWidth": 2},
    },
    "text": {"fontSize": 12, "color": "currentColor"},
    "line": {"strokeWidth": 2},
    "rule": {"color": "#888"},
}


def svg(spec: Spec, name: str) -> Markup:
    """Draw a Vega-Lite specification as SVG, whose ids begin with a name of its own on a page.

    The ids are numbered from 0, since Vega's numbers depend on what the process has drawn before.
    """
    drawn = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE, config=STYLE)
    ids: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        return match[1] + ids.setdefault(match[2], f"{name}-{len(ids)}")

    return Markup(re.sub(r'(\bid="|url\(#|href="#)([^")]+)', rename, drawn))


def chart(rows: Rows, layers: list[Spec], height: int = HEIGHT) -> Spec:
    """Build a chart of layers over the same rows; axes have the first title of a layer."""
    for axis in ("x", "y"):
        of_axis = [
            place for layer in layers if "field" in (place := layer["encoding"].get(axis, {}))
        ]
        title = next((place["title"] for place in of_axis if place.get("title")), None)
        for place in of_axis:
            place["title"] = wrap(title, TITLE) if isinstance(title, str) else title
    # A reader's font may be wider than the one that labels are measured in.
    left = any(layer["encoding"].get("y", {}).get("type") == "nominal" for layer in layers)
    return {
        "padding": {"left": 20 if left else 5, "right": 8, "top": 5, "bottom": 5},
        "data": {"values": rows},
        "width": WIDTH,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
    }


def number(field: str, title: str | None = None, **more: Any) -> Spec:
    """Build the encoding of a field of numbers on an axis."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def named(field: str, names: Sequence[str], **more: Any) -> Spec:
    """Build the encoding of a field of names on an axis, in this order."""
    axis = {"ticks": False, "domain": False, **more.pop("axis", {})}
    return {"field": field, "type": "nominal", "title": None, "sort": list(names), "axis": axis} | (
        more
    )


def colors(names: Sequence[str], range_: Sequence[str] = (THIS, OTHER)) -> Spec:
    """Give each name a colour, with a legend if there is more than one."""
    return series_scale(names, range_, {} if len(names) > 1 else None)


def series_scale(names: Sequence[str], range_: Sequence[Any], legend: Spec | None = None) -> Spec:
    """Tell the names in the field `series` apart, such as by a shape or a width."""
    scale = {"domain": list(names), "range": list(range_)[: len(names)]}
    return {"field": "series", "type": "nominal", "scale": scale, "legend": legend, "title": None}


def layer(mark: str, encoding: Spec, rows: Rows | None = None, **style: Any) -> Spec:
    """Build a layer of marks of one type, such as bars, for its chart's rows or its own."""
    data = {} if rows is None else {"data": {"values": rows}}
    return {**data, "mark": {"type": mark, **style}, "encoding": encoding}


def straight(points: Rows) -> Spec:
    """Build a thin dashed line through points of x and y, such as a diagonal."""
    x_and_y = {"x": number("x"), "y": number("y")}
    return layer("line", x_and_y, points, color=SOFT, strokeWidth=1, strokeDash=[4, 4])


def vertical(x: float, **style: Any) -> Spec:
    """Build a line from top to bottom at a value of x."""
    return layer("rule", {"x": number("x")}, [{"x": x}], color=SOFT, **style)


def under_names(rows: Rows, field: str, marks: list[Spec]) -> Spec:
    """Build a chart of marks with a row for each name, which stands above and is never cut."""
    names = list(dict.fromkeys(row[field] for row in rows))
    lines = {name: wrap(str(name), LETTERS) or [""] for name in names}
    text = LINE_HEIGHT * max(map(len, lines.values()), default=1)
    scale = {"paddingInner": 0, "paddingOuter": 0}
    place = named(field, names, scale=scale) | {"axis": None}
    height = text + BAR + 8
    for mark in marks:
        mark["encoding"] |= {"y": place}
        mark["mark"]["yOffset"] = (text - 2) / 2
    labels = layer(
        "text",
        {"x": {"value": 0}, "y": place, "text": {"field": "label"}},
        [{field: name, "label": lines[name]} for name in names],
        **{"align": "left", "baseline": "top", "dy": 3 - height / 2, "lineHeight": LINE_HEIGHT},
    )
    return chart(rows, [*marks, labels], height=height * len(names))
