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

Spec = dict[str, Any]  # a Vega-Lite specification, or a part of one
Rows = list[dict[str, Any]]

VEGA_LITE = "5.21"
STYLE_FILE = Path(__file__).parent / "templates/vega.yaml"
STYLE = yaml.safe_load(STYLE_FILE.read_text())
# As wide as a phone, so that text is not made smaller there.
WIDTH = 330
# Height of a bar, and of each line of the name above it.
BAR_HEIGHT = 12
LINE_HEIGHT = 15
# Letters in a line of a name above a bar, and of the title of an axis.
MAX_NAME_LETTERS = 46
MAX_TITLE_LETTERS = 34
THIS = "var(--this)"
OTHER = "var(--other)"
SOFT = "var(--soft)"
LINE = "#8886"
PLAIN_AXIS = {"ticks": False, "domain": False}
# Names that Vega cannot group by, since it finds them in every object of JavaScript.
RESERVED_NAMES = re.compile(
    r'"(constructor|(?:has|is|to|property|value)[A-Z]\w+|__\w+__)"',
)
NO_WIDTH_SPACE = "\u200b"
ID = re.compile(r'(\bid="|url\(#|href="#)([^")]+)')


def svg(spec: Spec, prefix: str) -> Markup:
    """Draw a Vega-Lite specification as SVG.

    The ids are the prefix and a number that starts at 0, since the numbers that Vega
    gives depend on what the process has drawn before.

    Args:
        prefix: Start of all ids, unique on the page.
    """
    text = RESERVED_NAMES.sub(rf'"\1{NO_WIDTH_SPACE}"', json.dumps(spec))
    drawn = vl_convert.vegalite_to_svg(text, vl_version=VEGA_LITE, config=STYLE)
    new_ids: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        before, old_id = match.groups()
        return before + new_ids.setdefault(old_id, f"{prefix}-{len(new_ids)}")

    return Markup(ID.sub(rename, drawn))


def chart(
    rows: Rows,
    layers: list[Spec],
    height: int = 240,
) -> Spec:
    """Build a chart of layers over the same rows.

    An axis has the first title in its layers.
    """
    left = 5
    for axis in ("x", "y"):
        positions = [each["encoding"].get(axis, {}) for each in layers]
        fields = [position for position in positions if "field" in position]
        titles = [field["title"] for field in fields if field.get("title")]
        lines = wrap(titles[0], MAX_TITLE_LETTERS) if titles else None
        for field in fields:
            field["title"] = lines
            if axis == "y" and field["type"] == "nominal":
                # A reader's font may be wider than the one that labels are measured in.
                left = 20
    return {
        "padding": {"left": left, "right": 8, "top": 5, "bottom": 5},
        "data": {"values": rows},
        "width": WIDTH,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": layers,
    }


def named_chart(
    rows: Rows,
    field: str,
    layers: list[Spec],
) -> Spec:
    """Build a chart with a bar for each name, and the whole name above it."""
    names = distinct(rows, field)
    labels = [wrap(str(name), MAX_NAME_LETTERS) or [""] for name in names]
    n_lines = max(map(len, labels), default=1)
    text_height = LINE_HEIGHT * n_lines
    height = text_height + BAR_HEIGHT + 8
    no_padding = {"paddingInner": 0, "paddingOuter": 0}
    y = nominal(field, names, axis=None, scale=no_padding)
    for each in layers:
        each["encoding"]["y"] = y
        each["mark"]["yOffset"] = (text_height - 2) / 2
    label_rows = []
    for name, lines in zip(names, labels, strict=True):
        label_rows.append({field: name, "label": lines})
    encoding = {
        "x": {"value": 0},
        "y": y,
        "text": {"field": "label"},
    }
    text = layer(
        "text",
        encoding,
        label_rows,
        align="left",
        baseline="top",
        dy=3 - height / 2,
        lineHeight=LINE_HEIGHT,
    )
    return chart(rows, [*layers, text], height * len(names))


def distinct(rows: Rows, field: str) -> list[Any]:
    """Return the different values of a field, in the order of the rows."""
    return list(dict.fromkeys(row[field] for row in rows))


def layer(
    mark: str,
    encoding: Spec,
    rows: Rows | None = None,
    **style: Any,
) -> Spec:
    """Build a layer of marks of one type, such as bars.

    Args:
        rows: The rows of the layer; None for those of the chart.
        style: Properties of the marks.
    """
    spec = {"mark": {"type": mark, **style}, "encoding": encoding}
    if rows is not None:
        spec["data"] = {"values": rows}
    return spec


def dashed_line(points: Rows) -> Spec:
    """Build a layer with a thin dashed line through points of x and y."""
    encoding = {"x": quantitative("x"), "y": quantitative("y")}
    return layer(
        "line",
        encoding,
        points,
        color=SOFT,
        strokeWidth=1,
        strokeDash=[4, 4],
    )


def vertical_line(x: float, **style: Any) -> Spec:
    """Build a layer with a line from the top to the bottom."""
    encoding = {"x": quantitative("x")}
    return layer(
        "rule",
        encoding,
        [{"x": x}],
        color=SOFT,
        **style,
    )


def quantitative(
    field: str,
    title: str | None = None,
    **options: Any,
) -> Spec:
    """Build the encoding of a field of numbers."""
    return {"field": field, "type": "quantitative", "title": title, **options}


def nominal(
    field: str,
    names: Sequence[str],
    **options: Any,
) -> Spec:
    """Build the encoding of a field of names, in the given order."""
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "sort": names,
        **options,
    }


def colors(
    names: Sequence[str],
    values: Sequence[str] = (THIS, OTHER),
) -> Spec:
    """Build the encoding of `series` by colour, with a legend for several names."""
    return series(names, values, {} if len(names) > 1 else None)


def series(
    names: Sequence[str],
    values: Sequence[Any],
    legend: Spec | None = None,
) -> Spec:
    """Build the encoding of the field `series` by a channel, such as the shape.

    Args:
        values: Value of the channel for each name; there may be more values than names.
        legend: Properties of the legend; None for no legend.
    """
    scale = {"domain": names, "range": values[: len(names)]}
    return nominal("series", names, scale=scale, legend=legend)
