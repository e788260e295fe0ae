"""Vega-Lite charts as SVG, legible on a phone and on paper.

The two colours can be told apart by colour-blind readers and in grey print (Okabe and
Ito, "Color universal design", 2008): blue for this run, orange for the other run or
class. They are variables of the page's style, so that dark pages have lighter ones.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import vl_convert
import yaml
from markupsafe import Markup

Spec = dict[str, Any]
Rows = list[dict[str, Any]]
VEGA_LITE = "5.21"
STYLE = yaml.safe_load(
    Path(__file__).with_name("templates").joinpath("vega.yaml").read_text(),
)
# as wide as a phone, so that text is not made smaller there
WIDTH = 330
HEIGHT = 240
# of a bar, and of a line of the name above it
BAR_HEIGHT = 12
LINE_HEIGHT = 15
# Names that Vega cannot group by, since it finds them in every object of JavaScript.
RESERVED_NAMES = re.compile(
    r'"(constructor|(?:has|is|to|property|value)[A-Z]\w+|__\w+__)"',
)
# in a line
MAX_NAME_LETTERS = 46
MAX_TITLE_LETTERS = 34
THIS = "var(--this)"
OTHER = "var(--other)"
SOFT = "var(--soft)"
LINE = "#8886"


def svg(spec: Spec, prefix: str) -> Markup:
    """Draw a Vega-Lite specification as SVG.

    The ids are the prefix and a number that starts at 0, since the numbers that Vega
    gives depend on what the process has drawn before.

    Args:
        prefix: Start of all ids, unique on the page.
    """
    text = RESERVED_NAMES.sub(
        '"\\1\u200b"',
        json.dumps(spec),
    )  # with a space of no width
    drawn = vl_convert.vegalite_to_svg(text, vl_version=VEGA_LITE, config=STYLE)
    ids: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        return match[1] + ids.setdefault(match[2], f"{prefix}-{len(ids)}")

    return Markup(re.sub(r'(\bid="|url\(#|href="#)([^")]+)', rename, drawn))


def chart(rows: Rows, layers: list[Spec], height: int = HEIGHT) -> Spec:
    """Build a chart of layers over the same rows. An axis has the first title in its layers."""
    for axis in ("x", "y"):
        fields = [layer["encoding"].get(axis, {}) for layer in layers]
        fields = [field for field in fields if "field" in field]
        title = next((field["title"] for field in fields if field.get("title")), None)
        for field in fields:
            field["title"] = (
                wrap(title, MAX_TITLE_LETTERS) if isinstance(title, str) else title
            )
    # A reader's font may be wider than the one that labels are measured in.
    has_names = any(
        layer["encoding"].get("y", {}).get("type") == "nominal" for layer in layers
    )
    return {
        "padding": {"left": 20 if has_names else 5, "right": 8, "top": 5, "bottom": 5},
        "data": {"values": rows},
        "width": WIDTH,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
    }


def named_chart(rows: Rows, field: str, layers: list[Spec]) -> Spec:
    """Build a chart with a bar for each name, and the whole name above it."""
    names = list(dict.fromkeys(row[field] for row in rows))
    lines = {name: wrap(str(name), MAX_NAME_LETTERS) or [""] for name in names}
    text_height = LINE_HEIGHT * max(map(len, lines.values()), default=1)
    height = text_height + BAR_HEIGHT + 8
    y = nominal(field, names, scale={"paddingInner": 0, "paddingOuter": 0}) | {
        "axis": None,
    }
    for each in layers:
        each["encoding"] |= {"y": y}
        each["mark"]["yOffset"] = (text_height - 2) / 2
    labels = layer(
        "text",
        {"x": {"value": 0}, "y": y, "text": {"field": "label"}},
        [{field: name, "label": lines[name]} for name in names],
        **{
            "align": "left",
            "baseline": "top",
            "dy": 3 - height / 2,
            "lineHeight": LINE_HEIGHT,
        },
    )
    return chart(rows, [*layers, labels], height=height * len(names))


def layer(mark: str, encoding: Spec, rows: Rows | None = None, **style: Any) -> Spec:
    """Build a layer of marks of one type, such as bars, for its own rows or those of the chart."""
    data = {} if rows is None else {"data": {"values": rows}}
    return {**data, "mark": {"type": mark, **style}, "encoding": encoding}


def dashed_line(points: Rows) -> Spec:
    """Build a layer with a thin dashed line through points of x and y."""
    encoding = {"x": quantitative("x"), "y": quantitative("y")}
    return layer("line", encoding, points, color=SOFT, strokeWidth=1, strokeDash=[4, 4])


def vertical_line(x: float, **style: Any) -> Spec:
    """Build a layer with a line from the top to the bottom."""
    return layer("rule", {"x": quantitative("x")}, [{"x": x}], color=SOFT, **style)


def quantitative(field: str, title: str | None = None, **options: Any) -> Spec:
    """Build the encoding of a field of numbers."""
    return {"field": field, "type": "quantitative", "title": title, **options}


def nominal(
    field: str,
    names: Sequence[str],
    axis: Spec | None = None,
    **options: Any,
) -> Spec:
    """Build the encoding of a field of names on an axis, in the given order."""
    axis = {"ticks": False, "domain": False} | (axis or {})
    position = {"field": field, "type": "nominal", "title": None, "sort": list(names)}
    return position | {"axis": axis} | options


def colors(names: Sequence[str], values: Sequence[str] = (THIS, OTHER)) -> Spec:
    """Build the encoding of the field `series` by colour, with a legend for several names."""
    return series(names, values, {} if len(names) > 1 else None)


def series(
    names: Sequence[str],
    values: Sequence[Any],
    legend: Spec | None = None,
) -> Spec:
    """Build the encoding of the field `series` by the values of a channel, such as shapes."""
    scale = {"domain": list(names), "range": list(values)[: len(names)]}
    return {
        "field": "series",
        "type": "nominal",
        "scale": scale,
        "legend": legend,
        "title": None,
    }
