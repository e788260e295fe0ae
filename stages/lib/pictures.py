"""DVC's plots as pictures: no script, no network, legible on a phone and on paper."""

import re
from copy import deepcopy
from typing import Any

import vl_convert

from stages.lib.markup import Html, join, section, tag

Spec = dict[str, Any]
VEGA_LITE = "5.21"  # DVC's templates are written for version 5
FACET_HEIGHT = 200
# A plot is drawn at the width of a phone, so that its text is not made smaller there.
PLOT_STYLE = {
    "aria": False,  # or each point of it is read aloud
    "background": None,
    "font": "system-ui, Liberation Sans, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **{"labelFontSize": 12, "titleFontSize": 13, "titleFontWeight": "normal"},
        **{"labelColor": "currentColor", "titleColor": "currentColor"},
        **{"gridColor": "#8883", "domainColor": "#888", "tickColor": "#888"},
    },
    "axisX": {"labelAngle": 0, "labelLimit": 90, "labelOverlap": "greedy", "labelSeparation": 8},
    "axisXQuantitative": {"labelFlush": False, "tickCount": 6},
    "axisY": {"labelLimit": 110},
    "legend": {
        **{"orient": "bottom", "title": None, "columns": 2, "labelLimit": 140},
        "layout": {"bottom": {"anchor": "start", "direction": "vertical"}},
        **{"labelFontSize": 12, "labelColor": "currentColor", "symbolStrokeWidth": 2},
    },
    "header": {"title": None, "labelFontSize": 13, "labelColor": "currentColor"},
    "text": {"fontSize": 14},
}


def plot_section(specs: dict[str, dict[str, Any]]) -> Html:
    """The plots as pictures without script: they print, scale, and need nothing."""
    figures = [
        tag("figure", tag("figcaption", title), picture(title, spec, place))
        for place, (title, spec) in enumerate(specs.items())
    ]
    return section("Plots", tag("div", *figures, class_="plots"))


def picture(title: str, spec: Spec, place: int) -> Html:
    """A Vega-Lite specification as SVG, in words for those who cannot see it by its title."""
    svg = vl_convert.vegalite_to_svg(for_paper(spec), vl_version=VEGA_LITE, config=PLOT_STYLE)
    # Several pictures share the page, and their ids must not.
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>plot{place}-", svg)
    return Html(svg.replace("<svg ", f'<svg role="img" aria-label="{join(title)}" ', 1))


def for_paper(spec: Spec) -> Spec:
    """The same plot without a title, what a click would show shown, facets below each other."""
    spec = {key: value for key, value in deepcopy(spec).items() if key != "title"}
    for param in spec.get("params", []):
        if param.get("bind") == {"input": "checkbox"}:
            param["value"] = True
    facet = spec.get("facet", {})
    if "column" in facet and not facet.get("row"):
        spec |= {"facet": facet["column"], "columns": 1}
        for layer in spec["spec"].get("layer", []):
            if "height" in layer:
                layer["height"] = FACET_HEIGHT
    return spec
