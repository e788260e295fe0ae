"""DVC's plots as pictures: no script, no network, legible on a phone and on paper."""

import json
import re
from copy import deepcopy
from textwrap import wrap
from typing import Any

import vl_convert
from markupsafe import Markup

Spec = dict[str, Any]
VEGA_LITE = "5.21"  # DVC's templates are written for version 5
WIDTH, TITLE_LETTERS = 350, 32
FACET = {"width": 265, "height": 200}
# A plot is drawn at the width of a phone, so that its text is not made smaller there.
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
    "axisXQuantitative": {"labelFlush": False, "tickCount": 6},
    "axisY": {"labelLimit": 130},
    "legend": {
        **{"orient": "bottom", "title": None, "columns": 2, "labelLimit": 140},
        "layout": {"bottom": {"anchor": "start", "direction": "vertical"}},
        **{"labelFontSize": 12, "labelColor": "currentColor", "symbolStrokeWidth": 2},
    },
    "header": {"title": None, "labelFontSize": 13, "labelColor": "currentColor"},
    "text": {"fontSize": 14},
}


def labels_in(spec: Spec) -> set[str]:
    """The revisions that have rows in a plot."""
    return {row["rev"] for row in spec["data"]["values"]}


def svg(spec: Spec, index: int) -> Markup:
    """A Vega-Lite specification as SVG, whose ids are its own on a page of several."""
    drawn = vl_convert.vegalite_to_svg(for_paper(spec), vl_version=VEGA_LITE, config=STYLE)
    return Markup(re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>plot{index}-", drawn))


def png(spec: Spec) -> bytes:
    """A Vega-Lite specification as PNG on white, for pages that show no SVG."""
    style = json.loads(json.dumps(STYLE).replace("currentColor", "#222"))
    style |= {"background": "white", "padding": 8}
    drawn = for_paper(spec) | {"title": spec.get("title", "")}
    return vl_convert.vegalite_to_png(drawn, vl_version=VEGA_LITE, config=style, scale=2)


def for_paper(spec: Spec) -> Spec:
    """The same plot for a narrow page and no pointer.

    It has no title of its own, is as wide as a phone with its axes, breaks long axis titles, shows
    what a click would show, and puts the facets of a confusion matrix below each other.
    """
    spec = {key: value for key, value in deepcopy(spec).items() if key != "title"}
    for param in spec.get("params", []):
        if param.get("bind") == {"input": "checkbox"}:
            param["value"] = True
    if "facet" in spec:
        facet, inner = spec["facet"], spec["spec"]
        if "column" in facet and not facet.get("row"):
            spec |= {"facet": facet["column"], "columns": 1}
        layers = inner.get("layer", [])
        shown = [layer["encoding"]["color"] for layer in layers if "width" in layer]
        for layer in layers:
            if "width" in layer:
                layer |= FACET
            if layer.get("mark") == "text" and "text" not in layer["encoding"] and shown:
                layer["encoding"]["text"] = {"field": shown[0]["field"], "format": ".0%"}
    elif "width" in spec:
        spec |= {"width": WIDTH, "autosize": {"type": "fit-x", "contains": "padding"}}
    dashes = spec.get("encoding", {}).get("strokeDash", {})
    if "legend" in dashes:
        dashes["legend"]["symbolSize"] = 700  # long enough to show them
    _wrap_titles(spec)
    return spec


def _wrap_titles(value: Any) -> None:
    """Cut the titles of the x axes into lines, in place."""
    if isinstance(value, list):
        for item in value:
            _wrap_titles(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "x" and isinstance(item.get("title"), str):
                item["title"] = wrap(item["title"], TITLE_LETTERS)
            elif key != "data":
                _wrap_titles(item)
