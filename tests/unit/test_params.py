"""A wrong key or value gets one clear message, and a script only the sections that it asks for."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_tabular.config.params import Params, load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.errors import UserError
from tests.helpers import PROJECT, load_train_params

FILES = {name: PROJECT / name for name in ("params.yaml", "data/schema.yaml")}
TEXTS = {name: file.read_text() for name, file in FILES.items()}


def load(folder: Path, texts: dict[str, str], *names: str) -> Params:
    """The sections that files with these texts give."""
    paths = {name: folder / Path(name).name for name in FILES}
    for name, path in paths.items():
        path.write_text(texts[name])
    schema = load_schema(paths["data/schema.yaml"])
    return load_params(*names, schema=schema, path=paths["params.yaml"])


def changed(changes: dict[str, dict[str, Any]]) -> dict[str, str]:
    """The files, params.yaml with other values in its sections."""
    params = yaml.safe_load(TEXTS["params.yaml"])
    params |= {section: params[section] | keys for section, keys in changes.items()}
    return TEXTS | {"params.yaml": yaml.safe_dump(params)}


TARGET, PLAIN = "target: Outcome", "networks.plain"
EPOCHS = "epochs: auto\n      batch_size: 32"  # of the plain network
# What stands in the files, what somebody writes in its place, and how the message begins.
WRONG = {
    ("by: random", "by: group"): (
        "split.by: found 'group', but data/schema.yaml names no such column; add group: COLUMN"
    ),
    ("test_size: 0.33", "test_size: 1.5"): "split.test_size: found 1.5; expected a number below 1",
    (EPOCHS, f"epoch: 5{EPOCHS.removeprefix('epochs: auto')}"): (
        f"train.{PLAIN}.epoch: unknown key (found 5). Did you mean 'epochs'? Allowed: activation, b"
    ),
    ("class_weight: ", "class_weight: {0: 1, 1: -1} # "): "train.class_weight.1: found -1; ",
    ("activation: silu", "activation: silo"): (
        f"train.{PLAIN}.activation: found 'silo'. Did you mean 'silu'? Allowed: celu, elu, exponen"
    ),
    ("members: auto", "members: [{network: plane}]"): (
        "train.members: found network 'plane', which train.networks has not. Did you mean 'plain'?"
    ),
    ("score: loss", "score: rmse"): "search.score: found 'rmse'. Allowed: accuracy, average_",
    ("evaluate:", "evaluation:"): "evaluation: unknown key (found {'threshold': 0.5",
    (EPOCHS, "epochs: ["): "not valid YAML: while parsing a flow sequence",
    (TARGET, f"{TARGET}\nignore: [Outcome]"): "ignore: found the target 'Outcome'; expected other",
    (TARGET, "target: outcome"): "target: found 'outcome', which is not among columns: Pregnancies",
    (TARGET, f"{TARGET}\nencoding: gzip"): "encoding: found 'gzip'; expected an encoding of text ",
    ("values: [0, 1]", "values: [0, 1, 2.5]"): (
        "columns.Outcome: found {'kind': 'integer', 'values': [0, 1, 2.5]}; values has 2.5, which "
    ),
    ("max: 25", "max: -5"): (
        "columns.Pregnancies: found {'kind': 'integer', 'min': 0, 'max': -5}; min 0 is above max -5"
    ),
}


@pytest.mark.parametrize(("change", "message"), WRONG.items(), ids=[wrong for _, wrong in WRONG])
def test_what_is_wrong_is_named_with_its_file_and_key(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    (file,) = [file for file, text in TEXTS.items() if change[0] in text]
    with pytest.raises(UserError) as error:
        load(tmp_path, TEXTS | {file: TEXTS[file].replace(*change)})
    where, lines = f"{tmp_path / Path(file).name}: ", str(error.value).splitlines()
    assert any(line.startswith(where + message) for line in lines)
    if "not valid YAML" not in message:  # which goes on with PyYAML's words
        assert all(line.startswith(where) for line in lines)


L2 = f"{PLAIN}.l2"
# What somebody lets a search try, and how the message begins.
SPACES: list[tuple[dict[str, Any], str]] = [
    ({f"{PLAIN}.unit": [[8]]}, f"{PLAIN}.unit: no key to search. Did you mean '{PLAIN}.units'?"),
    ({"loss": ["huber"]}, "loss: found 'huber', which does not fit task binary of the schema."),
    ({L2: []}, f"{L2}: found []; expected a list of one value or more, or low"),
    ({L2: {"low": 0, "high": 1, "log": True}}, "expected low above 0 where log is true"),
]


@pytest.mark.parametrize(("space", "message"), SPACES)
def test_a_wrong_space_is_named_whatever_section_is_asked_for(
    space: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"params\.yaml: search\.space\..*{re.escape(message)}"):
        load(tmp_path, changed({"search": {"space": space}}), "split")


def test_only_the_sections_that_were_asked_for_are_given(tmp_path: Path) -> None:
    params = load(tmp_path, TEXTS, "split", "validate")
    assert vars(params).keys() == {"split", "validate"}
    assert (params.split.seed, params.validate.min_class_rows) == (9, 5)
    with pytest.raises(UserError, match=r"none\.yaml: No such file or directory"):
        load_schema(tmp_path / "none.yaml")


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as text; people and DVC read it as a number."""
    text = TEXTS["params.yaml"].replace("learning_rate: 0.01", "learning_rate: 1e-3")
    params = load(tmp_path, TEXTS | {"params.yaml": text}, "train")
    assert params.train.networks["plain"].learning_rate == 0.001


def test_early_stopping_needs_validation_rows(tmp_path: Path) -> None:
    plain = {"learning_rate_schedule": "constant", "early_stopping": {"patience": 5}}
    train = load_train_params({"plain": plain}, folds=1).model_dump(mode="json")
    with pytest.raises(UserError, match=r"plain\.early_stopping.*split\.validation_size is 0"):
        load(tmp_path, changed({"train": train}))
    load(tmp_path, changed({"train": train, "split": {"validation_size": 0.1}}))


AUTO = {"learning_rate": "auto", "epochs": "auto", "batch_size": "auto", "dropout": "auto"}


@pytest.mark.parametrize(
    ("rows", "task", "columns", "folds", "counts", "network"),
    [
        (500, "binary", 100, 10, [1, 1], (0.01, 1024, 128, 0.3)),
        (500, "binary", 101, 10, [1, 1], (0.01, 512, 128, 0.3)),
        (500, "regression", 8, 10, [1, 1], (0.02, 1024, 128, 0.3)),
        (5_000, "multiclass", 8, 10, [2], (0.02, 51, 64, 0.1)),
        (50_000, "regression", 8, 5, [2], (0.04, 20, 256, 0.1)),
        (100_000, "binary", 8, 5, [2], (0.02, 20, 1024, 0.1)),
        (10_000_000, "regression", 8, 3, [2], (0.04, 16, 1024, 0.1)),
    ],
)
def test_auto_is_a_rule_of_the_table_and_the_task(
    rows: int, task: str, columns: int, folds: int, counts: list[int], network: tuple[float, ...]
) -> None:
    auto = load_train_params({"realmlp": AUTO}, members="auto", folds="auto")
    train = auto.resolve_auto(rows, task, columns)
    assert train.folds == folds
    names = ["realmlp", "plain"]
    expected = list(zip(names, counts, strict=False))
    assert [(members.network, members.count) for members in train.members] == expected
    assert tuple(getattr(train.networks["realmlp"], key) for key in AUTO) == network


@pytest.mark.parametrize(
    ("columns", "embedding"),
    [(20, {"bins": 48, "units": 8}), (21, {"bins": 48, "units": 4}), (101, None)],
)
def test_an_embedding_gets_smaller_with_the_number_of_columns(
    columns: int, embedding: dict[str, int] | None
) -> None:
    auto = load_train_params({"realmlp": {"embedding": "auto"}}, members="auto")
    assert (
        auto.resolve_auto(500, "binary", columns).value("networks.realmlp.embedding") == embedding
    )


def test_what_is_said_stays_whatever_the_rows_and_the_task() -> None:
    plain = {"learning_rate": 0.5, "epochs": 7, "batch_size": 9, "dropout": 0.0}
    said = load_train_params({"plain": plain}, folds=1)
    for rows, task in ((10, "regression"), (10_000_000, "binary")):
        resolved = said.resolve_auto(rows, task, 8)
        assert (resolved.folds, resolved.members) == (1, said.members)
        assert {key: resolved.value(f"networks.plain.{key}") for key in plain} == plain


def test_the_gate_may_limit_a_metric_of_the_project(tmp_path: Path) -> None:
    custom = {"custom": {"cost": 1}}
    limits = {"lowest": {"test": custom}, "highest": {"cross_validation": custom}}
    gate = load(tmp_path, changed({"gate": limits}), "gate").gate
    assert (gate.lowest, gate.highest) == (
        {"test.custom.cost": 1},
        {"cross_validation.custom.cost": 1},
    )
    for wrong in (
        {"lowest": {"tset": custom}},
        {"worse_than_last": {"test": {"custom": {"a": 1}}}},
    ):
        with pytest.raises(UserError, match=r"which is no score .* also custom\.NAME"):
            load(tmp_path, changed({"gate": wrong}))
