"""The layers of a saved Keras model as the steps of a drawing, without Keras."""

import io
import json
import math
import re
import zipfile
from collections import Counter
from typing import Any, NamedTuple

MEMBER = re.compile(r"(.+)-\d+")  # of a kind of network
PREPROCESSING = {  # what a layer does inside the preprocessing, by its class
    "Where": "fills gaps",
    "Take": "marks them",
    "Normalization": "scales numbers",
    "StringLookup": "encodes categories",
}
FEATURES = {"Rescaling": "robust scaling", "Sqrt": "smooth clip", "Clip": "bins between quantiles"}
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


def read_networks(model: bytes) -> dict[str, Network]:
    """The steps of each kind of network in a `.keras` file of this project.

    Raises:
        ValueError: it is none.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as file:
            layers = json.loads(file.read("config.json"))["config"]["layers"]
        named = {layer["name"]: layer for layer in layers}
        matches = filter(None, map(MEMBER.fullmatch, named))
        found = [match for match in matches if f"{match[1]}-features" in named]
        if not found:
            raise KeyError("no network of a kind that is named here")
        counts = Counter(match[1] for match in found)
        columns = sum(layer["class_name"] == "InputLayer" for layer in layers)
        return {kind: _network(named, kind, columns, count) for kind, count in counts.items()}
    except (zipfile.BadZipFile, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a .keras file of this project: {error!r}") from None


def _network(layers: dict[str, dict[str, Any]], kind: str, columns: int, members: int) -> Network:
    features = layers[f"{kind}-features"]["config"]["layers"]
    does = _does(features, FEATURES)
    steps = [
        Step("Columns", "raw values of a row", columns),
        Step("preprocessing", _does(layers["preprocessing"]["config"]["layers"], PREPROCESSING)),
        Step("Preprocessed", "what the network sees", features[0]["config"]["batch_shape"][-1]),
        *([Step("features", does)] if len(features) > 1 else []),
    ]
    inside = layers[f"{kind}-1"]["config"]["layers"]
    steps += [step for layer in inside if (step := _step(layer, members > 1))]
    if members > 1:
        steps.append(Step("average", f"of the {members} outputs"))
    y = ROW / 2
    for index, step in enumerate(steps):
        y += HEADLINE if step.member and not steps[index - 1].member else 0
        steps[index] = step._replace(y=y)
        y += ROW
    return Network(steps, members)


def _does(layers: list[dict[str, Any]], words: dict[str, str]) -> str:
    """What these layers do, in words."""
    classes = {layer["class_name"] for layer in layers}
    return ", ".join(does for kind, does in words.items() if kind in classes) or "as they are"


def _step(layer: dict[str, Any], member: bool) -> Step | None:
    inside = layer["config"]
    match layer["class_name"]:
        case "Dense":
            width, units = layer["build_config"]["input_shape"][-1], inside["units"]
            weights = (width + bool(inside.get("use_bias", True))) * units
            return Step(
                layer["name"], f"{inside['activation']}, {weights:,} weights", units, member
            )
        case "EinsumDense":
            return Step(layer["name"], f"{math.prod(inside['output_shape'])} outputs", 0, member)
        case "Dropout":
            return Step("dropout", f"{inside['rate']:g} of them", 0, member)
    return None
