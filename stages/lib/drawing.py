"""The network of a saved Keras model as an SVG picture, without Keras."""

import io
import json
import re
import zipfile
from typing import Any, NamedTuple

from stages.lib.markup import Html, join, tag

MEMBER = re.compile(r"member_(\d+)_")  # of an average of networks, see stages.lib.ensemble
PREPARED = {  # what a layer inside the preparation does, by its class
    "Where": "gaps filled",
    "Take": "gaps marked",
    "Normalization": "scaled",
    "StringLookup": "categories encoded",
}
WIDTH, ROW, MIDDLE, GAP, DOTS = 350, 58, 84, 17, 9


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


def _dots(size: int, y: float) -> list[float | None]:
    """Where on the x axis the dots of a row lie; None is the gap that stands for the rest."""
    shown: list[bool] = [True] * size if size <= DOTS else [*[True] * (DOTS - 2), False, True]
    left = MIDDLE - (len(shown) - 1) * GAP / 2
    return [left + i * GAP if there else None for i, there in enumerate(shown)]


def draw(config: dict[str, Any]) -> Html:
    """The steps from top to bottom: a dot for each number, lines for weights, boxes between."""
    steps, members = levels(config)
    shapes: list[Html] = []
    inside = [number for number, step in enumerate(steps) if step.member]
    if inside:
        top, bottom = inside[0] * ROW + 2, (inside[-1] + 1) * ROW
        shapes.append(
            tag("rect", x=1, y=top, width=WIDTH - 2, height=bottom - top, rx=8, class_="frame")
        )
        shapes.append(
            tag("text", f"×{members} averaged", x=WIDTH - 8, y=top + 14, class_="times")
        )
    for number, step in enumerate(steps):
        y = number * ROW + ROW / 2
        if number:
            shapes.append(_link(steps[number - 1], step, y - ROW, y))
    for number, step in enumerate(steps):
        y = number * ROW + ROW / 2
        if step.size:
            dots = _dots(step.size, y)
            shapes += [tag("circle", cx=x, cy=y, r=5.5) for x in dots if x is not None]
            if None in dots:
                gap = MIDDLE + (DOTS - 3) * GAP / 2
                shapes.append(tag("text", "…", x=gap, y=y + 4, text_anchor="middle"))
        else:
            shapes.append(tag("rect", x=MIDDLE - 60, y=y - 9, width=120, height=18, rx=4))
        title = f"{step.title}: {step.size:,}" if step.size else step.title
        shapes.append(tag("text", title, x=176, y=y - 2, class_="title"))
        shapes.append(tag("text", step.detail, x=176, y=y + 14))
    says = "; ".join(f"{s.title} {s.size or ''} ({s.detail})" for s in steps)
    averaged = f"; {members} such networks are averaged" if members > 1 else ""
    return tag(
        "svg",
        *shapes,
        viewBox=f"0 0 {WIDTH} {len(steps) * ROW}",
        width=WIDTH,
        height=len(steps) * ROW,
        class_="network",
        role="img",
        aria_label=f"The network: {says}{averaged}",
    )


def _link(above: Level, below: Level, top: float, bottom: float) -> Html:
    """Lines from every dot to every dot, or one arrow where there is a box."""
    if above.size and below.size:
        lines = [
            tag("line", x1=a, y1=top, x2=b, y2=bottom)
            for a in _dots(above.size, top)
            for b in _dots(below.size, bottom)
            if a is not None and b is not None
        ]
        return join(*lines)
    return tag("line", x1=MIDDLE, y1=top, x2=MIDDLE, y2=bottom, class_="flow")
