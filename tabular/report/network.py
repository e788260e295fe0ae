"""The layers of a saved Keras model as the steps of a drawing, without Keras."""

import io
import json
import re
import zipfile
from typing import Any, NamedTuple

MEMBER = re.compile(r"member_(\d+)_")  # of an average of networks
PREPROCESSING = {  # what a layer does inside the preprocessing, by its class
    "Where": "fills gaps",
    "Take": "marks them",
    "Normalization": "scales numbers",
    "StringLookup": "encodes categories",
}
ROW, HEADLINE = 58, 22  # heights of the drawing
MIDDLE, GAP, DOTS = 84, 17, 9  # of the rows of dots; longer rows are cut short


class Step(NamedTuple):
    """One step through the network: `size` numbers that it gives, or a box where that is 0."""

    title: str
    detail: str
    size: int = 0
    member: bool = False
    y: float = 0

    @property
    def dots(self) -> list[float]:
        """The x coordinates of the numbers that are shown."""
        shown = min(self.size, DOTS)
        dots = [MIDDLE + (index - (shown - 1) / 2) * GAP for index in range(shown)]
        return dots if self.gap is None else [*dots[:-2], dots[-1]]

    @property
    def gap(self) -> float | None:
        """Where an ellipsis stands for the others."""
        return MIDDLE + (DOTS - 3) / 2 * GAP if self.size > DOTS else None


class Network(NamedTuple):
    """The steps from the columns to the output. Of averaged members the first stands for all."""

    steps: list[Step]
    members: int

    def __str__(self) -> str:
        steps = "; ".join(f"{step.title} {step.size or ''} ({step.detail})" for step in self.steps)
        averaged = f"; {self.members} such networks are averaged" if self.members > 1 else ""
        return f"The network: {steps}{averaged}"


def read_network(model: bytes) -> Network:
    """The steps of a `.keras` file of this project.

    Raises:
        ValueError: it is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as file:
            layers = json.loads(file.read("config.json"))["config"]["layers"]
        return _network(layers)
    except (zipfile.BadZipFile, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a .keras file of this project: {error!r}") from None


def _network(layers: list[dict[str, Any]]) -> Network:
    inner = [layer for layer in layers if layer["class_name"] != "InputLayer"]
    steps = [Step("Columns", "raw values of a row", len(layers) - len(inner))]
    members = 1
    for layer in inner:
        member = MEMBER.match(layer["name"])
        if member:
            members = max(members, int(member[1]))
            if member[1] != "1":
                continue
        if layer["class_name"] == "Dense" and "Preprocessed" not in [step.title for step in steps]:
            width = layer["build_config"]["input_shape"][-1]
            steps.append(Step("Preprocessed", "what the network sees", width))
        steps.append(_step(layer, member is not None, members))
    y = ROW / 2
    for index, step in enumerate(steps):
        y += HEADLINE if step.member and not steps[index - 1].member else 0
        steps[index] = step._replace(y=y)
        y += ROW
    return Network(steps, members)


def _step(layer: dict[str, Any], member: bool, members: int) -> Step:
    name, inside = MEMBER.sub("", layer["name"]), layer["config"]
    match layer["class_name"]:
        case "Functional":
            kinds = {part["class_name"] for part in inside["layers"]}
            does = dict.fromkeys(words for kind, words in PREPROCESSING.items() if kind in kinds)
            return Step(name, ", ".join(does) or "as they are")
        case "Dense":
            width, units = layer["build_config"]["input_shape"][-1], inside["units"]
            weights = (width + bool(inside.get("use_bias", True))) * units
            return Step(name, f"{inside['activation']}, {weights:,} weights", units, member)
        case "Dropout":
            return Step("dropout", f"{inside['rate']:g} of them", 0, member)
        case "Average":
            return Step("average", f"of the {members} outputs")
        case other:
            return Step(name, other)
