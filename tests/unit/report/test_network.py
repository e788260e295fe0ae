"""The drawing of a saved model, from its file alone."""

import io
import json
import zipfile
from typing import Any

import pytest

from tabular.report.network import read_networks
from tabular.report.page import TEMPLATES


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "name": name, "config": config}


def dense(name: str, inputs: int, units: int) -> dict[str, Any]:
    saved = layer("Dense", name, units=units, activation="silu", use_bias=True)
    return saved | {"build_config": {"input_shape": [None, inputs]}}


def saved(layers: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    return file.getvalue()


MEMBER = [
    layer("InputLayer", "x"),
    dense("hidden-1", 3, 12),
    layer("Dropout", "dropout", rate=0.5),
    dense("output", 12, 1),
]
MODEL = [
    layer("InputLayer", "a"),
    layer("InputLayer", "b"),
    layer("Functional", "preprocessing", layers=[layer("Normalization", "n"), layer("Where", "w")]),
    layer("Functional", "plain-features", layers=[layer("InputLayer", "x", batch_shape=[None, 3])]),
    layer("Functional", "plain-1", layers=MEMBER),
    layer("Functional", "plain-2", layers=MEMBER),
    layer("Average", "plain-mean"),
]


def test_the_first_of_the_averaged_networks_stands_for_all() -> None:
    network = read_networks(saved(MODEL))["plain"]
    assert network.members == 2
    assert [(step.title, step.detail, step.size, step.member) for step in network.steps] == [
        ("Columns", "raw values of a row", 2, False),
        ("preprocessing", "fills gaps, scales numbers", 0, False),
        ("Preprocessed", "what the network sees", 3, False),
        ("hidden-1", "silu, 48 weights", 12, True),
        ("dropout", "0.5 of them", 0, True),
        ("output", "silu, 13 weights", 1, True),
        ("average", "of the 2 outputs", 0, False),
    ]
    assert (len(network.steps[3].dots), network.steps[3].gap) == (8, 135)
    assert [step.y for step in network.steps] == [29, 87, 145, 225, 283, 341, 399]
    svg = TEMPLATES.get_template("network.svg").render(network=network)
    assert svg.count("<circle") == 2 + 3 + 8 + 1  # a dot for a number
    assert svg.count('class="flow"') == 5
    assert svg.count("<line") - 5 == 3 * 8
    assert "×2 averaged" in svg
    assert "2 such networks are averaged" in svg


def test_one_network_alone_can_be_drawn() -> None:
    network = read_networks(saved(MODEL[:5]))["plain"]
    assert "averaged" not in TEMPLATES.get_template("network.svg").render(network=network)


@pytest.mark.parametrize("content", [b"", b"no zip", saved([{}]), saved([layer("Dense", "d-1")])])
def test_another_file_cannot_be_drawn(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a \.keras file of this project"):
        read_networks(content)
