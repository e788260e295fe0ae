"""The drawing of a saved model, from its file alone."""

import io
import json
import zipfile
from itertools import pairwise
from typing import Any

import pytest

from tabular.report.network import Network, read_networks
from tabular.report.page import TEMPLATES


def dense(name: str, inputs: int, units: int) -> dict[str, Any]:
    config = {"units": units, "activation": "silu", "use_bias": True}
    build = {"input_shape": [None, inputs]}
    return {"class_name": "Dense", "name": name, "config": config, "build_config": build}


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "name": name, "config": config}


def saved(layers: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    return file.getvalue()


def member(name: str) -> dict[str, Any]:
    layers = [
        layer("InputLayer", "x"),
        dense("hidden-1", 3, 12),
        layer("Dropout", "dropout", rate=0.5),
        dense("output", 12, 1),
    ]
    return layer("Functional", name, layers=layers)


MODEL = [
    layer("InputLayer", "a"),
    layer("InputLayer", "b"),
    layer("Functional", "preprocessing", layers=[layer("Normalization", "n"), layer("Where", "w")]),
    layer("Functional", "plain-features", layers=[layer("InputLayer", "x", batch_shape=[None, 3])]),
    member("plain-1"),
    member("plain-2"),
    layer("Average", "plain-mean"),
]
ALONE = MODEL[:5]


def read_network(model: bytes) -> Network:
    return read_networks(model)["plain"]


def test_the_first_of_the_averaged_networks_stands_for_all() -> None:
    network = read_network(saved(MODEL))
    assert [(step.title, step.detail, step.size, step.member) for step in network.steps] == [
        ("Columns", "raw values of a row", 2, False),
        ("preprocessing", "fills gaps, scales numbers", 0, False),
        ("Preprocessed", "what the network sees", 3, False),
        ("hidden-1", "silu, 48 weights", 12, True),
        ("dropout", "0.5 of them", 0, True),
        ("output", "silu, 13 weights", 1, True),
        ("average", "of the 2 outputs", 0, False),
    ]
    assert network.members == 2
    hidden = network.steps[3]
    assert (len(hidden.dots), hidden.gap) == (8, 135)
    heights = [step.y for step in network.steps]
    assert [b - a for a, b in pairwise(heights)] == [58, 58, 80, 58, 58, 58]


def test_the_picture_has_a_dot_for_a_number_and_says_what_it_shows() -> None:
    network = read_network(saved(MODEL))
    svg = TEMPLATES.get_template("network.svg").render(network=network)
    assert svg.count("<circle") == 2 + 3 + 8 + 1
    assert svg.count('class="flow"') == 5
    assert svg.count("<line") - 5 == 3 * 8
    assert "×2 averaged" in svg
    assert "2 such networks are averaged" in svg
    assert TEMPLATES.get_template("network.svg").render(network=read_network(saved(ALONE)))


@pytest.mark.parametrize("content", [b"", b"no zip", saved([{}]), saved([layer("Dense", "d-1")])])
def test_another_file_cannot_be_drawn(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a \.keras file of this project"):
        read_networks(content)
