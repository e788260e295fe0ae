"""The network of a saved Keras model as an SVG picture, without Keras."""

import io
import json
import re
import zipfile
from textwrap import wrap
from typing import Any, NamedTuple

from stages.lib.markup import Html, join, section, tag

MEMBER = re.compile(r"member_(\d+)_")  # of an average of networks, see stages.lib.ensemble
PREPARED = {  # what a layer inside the preparation does, by its class
    "Where": "fills gaps",
    "Take": "marks them",
    "Normalization": "scales numbers",
    "StringLookup": "encodes categories",
}
WIDTH, ROW, HEADLINE = 390, 58, 22
MIDDLE, GAP, DOTS = 84, 17, 9  # of the rows of dots; longer rows are cut short
TEXT = 176  # where the words begin


class Level(NamedTuple):
    """One step through the network: `size` numbers that it gives, or a box where that is 0."""

    title: str
    detail: str
    size: int = 0
    member: bool = False


def read_config(model: bytes) -> dict[str, Any]:
    """The config.json inside a `.keras` file.

    Raises:
        ValueError: it is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as file:
            return json.loads(file.read("config.json"))
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"not a .keras file: {error}") from None


def levels(config: dict[str, Any]) -> tuple[list[Level], int]:
    """The steps of a model of this project from its columns to its output, and its members.

    Of members that are averaged, the first one's steps stand for all.
    """
    layers = config["config"]["layers"]
    columns = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    steps = [Level("Columns", "raw values of a row", len(columns))]
    members = 1
    for layer in layers:
        kind, name = layer["class_name"], layer["name"]
        if kind == "InputLayer":
            continue
        found = MEMBER.match(name)
        if found:
            members = max(members, int(found[1]))
            if found[1] != "1":
                continue
        name, member = MEMBER.sub("", name), found is not None
        inside = layer["config"]
        match kind:
            case "Functional":
                kinds = {part["class_name"] for part in inside["layers"]}
                detail = ", ".join(dict.fromkeys(w for k, w in PREPARED.items() if k in kinds))
                steps.append(Level(name, detail or "as they are"))
            case "Dense":
                width = layer["build_config"]["input_shape"][-1]
                if not any(step.title == "Prepared" for step in steps):
                    steps.append(Level("Prepared", "what the network sees", width))
                units = inside["units"]
                weights = (width + bool(inside.get("use_bias", True))) * units
                detail = f"{inside['activation']}, {weights:,} weights"
                steps.append(Level(name, detail, units, member))
            case "Dropout":
                steps.append(Level("dropout", f"{inside['rate']:g} of them", 0, member))
            case "Average":
                steps.append(Level("average", f"of the {members} outputs"))
            case _:
                steps.append(Level(name, kind))
    return steps, members


def _dots(size: int) -> list[float | None]:
    """Where on the x axis the dots of a row lie; None is the gap that stands for the rest."""
    shown = [True] * size if size <= DOTS else [*[True] * (DOTS - 2), False, True]
    left = MIDDLE - (len(shown) - 1) * GAP / 2
    return [left + place * GAP if there else None for place, there in enumerate(shown)]


def draw(config: dict[str, Any]) -> Html:
    """The steps from top to bottom: a dot for each number, lines for weights, boxes between."""
    steps, members = levels(config)
    heights: list[float] = []  # the middle of each step
    y = ROW / 2
    for above, step in zip([None, *steps], steps, strict=False):
        y += HEADLINE if step.member and not (above and above.member) else 0
        heights.append(y)
        y += ROW
    shapes: list[Html] = []
    inside = [height for height, step in zip(heights, steps, strict=True) if step.member]
    if inside:
        top, bottom = inside[0] - ROW / 2 - HEADLINE + 4, inside[-1] + ROW / 2 - 4
        shapes += [
            tag("rect", x=1, y=top, width=WIDTH - 2, height=bottom - top, rx=8, class_="frame"),
            tag("text", f"×{members} averaged", x=TEXT, y=top + 18, class_="title"),
        ]
    for i in range(1, len(steps)):
        shapes.append(_link(steps[i - 1], steps[i], heights[i - 1], heights[i]))
    for step, y in zip(steps, heights, strict=True):
        shapes.append(_step(step, y))
    says = "; ".join(f"{s.title} {s.size or ''} ({s.detail})" for s in steps)
    averaged = f"; {members} such networks are averaged" if members > 1 else ""
    return tag(
        "svg",
        *shapes,
        viewBox=f"0 0 {WIDTH} {heights[-1] + ROW / 2:g}",
        class_="network",
        role="img",
        aria_label=f"The network: {says}{averaged}",
    )


def _step(step: Level, y: float) -> Html:
    """A row of dots or a box, and what it is."""
    lines = wrap(step.detail, 27)
    if not step.size:
        return join(
            tag("rect", x=MIDDLE - 72, y=y - 14, width=144, height=28, rx=5),
            tag("text", step.title, x=MIDDLE, y=y + 4, text_anchor="middle", class_="title"),
            *(
                tag("text", line, x=TEXT, y=y + 4 + 15 * (place - (len(lines) - 1) / 2))
                for place, line in enumerate(lines)
            ),
        )
    dots = _dots(step.size)
    return join(
        *(tag("circle", cx=x, cy=y, r=5.5) for x in dots if x is not None),
        tag("text", "…", x=MIDDLE + (DOTS - 3) * GAP / 2, y=y + 4, text_anchor="middle")
        if None in dots
        else None,
        tag("text", f"{step.title}: {step.size:,}", x=TEXT, y=y - 2, class_="title"),
        *(tag("text", line, x=TEXT, y=y + 14 + 15 * n) for n, line in enumerate(lines)),
    )


def _link(above: Level, below: Level, top: float, bottom: float) -> Html:
    """Lines from every dot to every dot, or one line to and from a box."""
    if not (above.size and below.size):
        return tag("line", x1=MIDDLE, y1=top, x2=MIDDLE, y2=bottom, class_="flow")
    return join(
        *(
            tag("line", x1=a, y1=top, x2=b, y2=bottom)
            for a in _dots(above.size)
            for b in _dots(below.size)
            if a is not None and b is not None
        )
    )


def network_section(model: bytes | None, missing_because: str) -> Html:
    """The picture of a saved model, or why there is none."""
    if model is None:
        return section("Network", tag("p", missing_because))
    try:
        return section("Network", draw(read_config(model)))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return section("Network", tag("p", f"The saved model cannot be drawn: {error!r}"))
