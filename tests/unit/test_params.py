"""A wrong key or value gets one clear message, and a script only the sections that it asks for."""

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tabular.errors import UserError
from tabular.params.loading import Params, load_params
from tabular.params.sections import AllSections
from tabular.params.train import Activation, Initializer, Optimizer
from tabular.schema import load_schema
from tests.helpers import PROJECT, train_params

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


WRONG = {
    "a split by a column that the schema does not name": (
        "by: random",
        "by: group",
        ["split.by", "'group'", "group: COLUMN"],
    ),
    "a group that is no column": (
        "target: Outcome",
        "target: Outcome\ngroup: person",
        ["group", "'person'", "one of columns"],
    ),
    "a misspelt key": (
        "epochs: 100",
        "epoch: 5",
        ["train.networks.plain.epoch", "5", "Did you mean 'epochs'"],
    ),
    "text for a number": (
        "epochs: 100",
        "epochs: many",
        ["train.networks.plain.epochs", "'many'", "integer"],
    ),
    "a negative number": (
        "batch_size: 32",
        "batch_size: -5",
        ["train.networks.plain.batch_size", "-5", "at least 1"],
    ),
    "an unknown name": (
        "activation: silu",
        "activation: silo",
        ["train.networks.plain.activation", "'silo'", "Did you mean 'silu'", "tanh"],
    ),
    "a member of no network": (
        "members: auto",
        "members: [{network: plane}]",
        ["train.members", "'plane'", "Did you mean 'plain'"],
    ),
    "a share above one": (
        "test_size: 0.33",
        "test_size: 1.5",
        ["split.test_size", "1.5", "above 0 and below 1"],
    ),
    "an unknown section": ("evaluate:", "evaluation:", ["evaluation", "Did you mean 'evaluate'"]),
    "a target that is no column": (
        "target: Outcome",
        "target: outcome",
        ["target", "'outcome'", "Outcome"],
    ),
    "a misspelt key of a column": (
        "nullable: true",
        "nulable: true",
        ["columns.Glucose.nulable", "Did you mean 'nullable'"],
    ),
    "two columns of one name in the model": (
        "  Age: {",
        "  Blood/Pressure: {kind: real}\n  Blood_Pressure: {kind: real}\n  Age: {",
        ["columns", "'Blood/Pressure'", "'Blood_Pressure'", "rename"],
    ),
    "a loss of another task": (
        "loss: auto",
        "loss: huber",
        ["train.loss", "'huber'", "task binary", "binary_crossentropy"],
    ),
    "a value of another kind": (
        "values: [0, 1]",
        "values: [0, 1, 2.5]",
        ["columns.Outcome", "2.5", "no integer"],
    ),
    "a missing value of another kind": (
        "missing_values: [0], nullable: true}\n  BMI",
        "missing_values: [0, true], nullable: true}\n  BMI",
        ["columns.Insulin", "missing_values", "True", "no real"],
    ),
    "a range without a value": ("max: 25", "max: -5", ["columns.Pregnancies", "above max"]),
    "a delimiter of two": (
        "target: Outcome",
        "delimiter: ';;'\ntarget: Outcome",
        ["delimiter", "';;'", "one ASCII character"],
    ),
    "parameters that are not YAML": ("epochs: 100", "epochs: [", ["not valid YAML", "line"]),
    "a schema that is not YAML": ("target: Outcome", "target: [", ["not valid YAML", "line"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_its_file_and_key(name: str, tmp_path: Path) -> None:
    right, wrong, words = WRONG[name]
    (file,) = [file for file, text in TEXTS.items() if right in text]
    with pytest.raises(UserError) as error:
        load(tmp_path, TEXTS | {file: TEXTS[file].replace(right, wrong)})
    for line in str(error.value).splitlines()[: 1 if "not valid YAML" in words else None]:
        assert line.startswith(f"{tmp_path / Path(file).name}: ")
    for word in words:
        assert word in str(error.value)


PLAIN = "networks.plain"
L2 = f"{PLAIN}.l2"
SPACES: dict[str, tuple[dict[str, Any], str]] = {
    "a score of another task": ({"score": "rmse"}, "search.score: found 'rmse'. Allowed: accuracy"),
    "no key of train": (
        {"space": {"imputatio": ["mean"]}},
        "search.space.imputatio: .*Did you mean 'imputation'",
    ),
    "no key of a network": (
        {"space": {f"{PLAIN}.unit": [[8]]}},
        r"search.space.networks.plain.unit: .*Did you mean 'networks\.plain\.units'",
    ),
    "a key that is not searched": ({"space": {"seed": [1, 2]}}, "search.space.seed: no key to"),
    "a wrong value": (
        {"space": {f"{PLAIN}.units": [[8], [0]]}},
        "plain.units.0: found 0; .*at least 1",
    ),
    "an unknown name": ({"space": {f"{PLAIN}.activation": ["silo"]}}, "Did you mean 'silu'"),
    "a loss of another task": ({"space": {"loss": ["huber"]}}, "space.loss: found 'huber'"),
    "a range of lists": (
        {"space": {f"{PLAIN}.units": {"low": 3, "high": 4}}},
        "plain.units: found 3; .*list",
    ),
    "a misspelt key": ({"space": {L2: {"lo": 0, "high": 1}}}, "l2.lo: .*Did you mean 'low'"),
    "an empty list": ({"space": {L2: []}}, rf"space.{L2}: found \[\]; expected a list of one"),
    "no list": ({"space": {L2: 3}}, f"space.{L2}: found 3; expected a list of values, or low"),
    "low above high": ({"space": {L2: {"low": 2, "high": 1}}}, "l2: .*low below high"),
    "log of zero": ({"space": {L2: {"low": 0, "high": 1, "log": True}}}, "l2: .*above 0"),
    "a part of a number": (
        {"space": {f"{PLAIN}.epochs": {"low": 1, "high": 9.5}}},
        "plain.epochs: found 9.5",
    ),
}


@pytest.mark.parametrize("name", SPACES)
def test_a_wrong_space_is_named_whatever_section_is_asked_for(name: str, tmp_path: Path) -> None:
    search, message = SPACES[name]
    with pytest.raises(UserError, match=message):
        load(tmp_path, changed({"search": search}), "split")


def test_only_the_sections_that_were_asked_for_are_given(tmp_path: Path) -> None:
    params = load(tmp_path, TEXTS, "split", "validate")
    assert params.split.seed == 9
    assert params.validate.min_class_rows == 5
    for other in set(AllSections.model_fields) - {"split", "validate_"}:
        with pytest.raises(AttributeError):
            getattr(params, other)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: No such file or directory"):
        load_schema(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"none\.yaml: No such file or directory"):
        load_params(
            "split", schema=load_schema(FILES["data/schema.yaml"]), path=tmp_path / "none.yaml"
        )


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as text; people and DVC read it as a number."""
    text = TEXTS["params.yaml"].replace("learning_rate: 0.002", "learning_rate: 1e-3")
    params = load(tmp_path, TEXTS | {"params.yaml": text}, "train")
    assert params.train.networks["plain"].learning_rate == 0.001


def test_early_stopping_needs_validation_rows(tmp_path: Path) -> None:
    stopping = train_params({"plain": {"early_stopping": {"patience": 5}}}, folds=1)
    train = stopping.model_dump(mode="json")
    with pytest.raises(UserError, match=r"plain\.early_stopping.*split\.validation_size is 0"):
        load(tmp_path, changed({"train": train}))
    load(tmp_path, changed({"train": train, "split": {"validation_size": 0.1}}))


AUTO = {"learning_rate": "auto", "epochs": "auto", "batch_size": "auto", "dropout": "auto"}


@pytest.mark.parametrize(
    ("rows", "task", "folds", "kinds", "network"),
    [
        (500, "binary", 10, 2, (0.01, 24, 128, 0.3)),
        (500, "regression", 10, 2, (0.02, 128, 128, 0.3)),
        (5_000, "multiclass", 5, 2, (0.02, 12, 128, 0.1)),
        (50_000, "regression", 5, 2, (0.04, 16, 256, 0.1)),
        (100_000, "binary", 5, 1, (0.02, 12, 1024, 0.1)),
        (10_000_000, "regression", 3, 1, (0.04, 16, 1024, 0.1)),
    ],
)
def test_auto_is_a_rule_of_the_rows_and_the_task(
    rows: int, task: str, folds: int, kinds: int, network: tuple[float, ...]
) -> None:
    found = train_params({"realmlp": AUTO}, members="auto", folds="auto").resolved(rows, task)
    assert found.folds == folds
    assert [(m.network, m.count) for m in found.members] == [("realmlp", 1), ("plain", 1)][:kinds]
    assert tuple(getattr(found.networks["realmlp"], key) for key in AUTO) == network


def test_what_is_said_stays_whatever_the_rows_and_the_task() -> None:
    plain = {"learning_rate": 0.5, "epochs": 7, "batch_size": 9, "dropout": 0.0}
    said = train_params({"plain": plain}, folds=1)
    for rows, task in ((10, "regression"), (10_000_000, "binary")):
        found = said.resolved(rows, task)
        assert (found.folds, found.members) == (1, said.members)
        assert {key: found.value(f"networks.plain.{key}") for key in plain} == plain
        assert found.resolved(5, "binary") == found


def test_every_section_of_the_file_is_a_stage_or_a_command() -> None:
    scripts = {path.stem for name in ("stages", "commands") for path in (PROJECT / name).glob("*")}
    assert set(yaml.safe_load(TEXTS["params.yaml"])) <= scripts


def test_every_name_that_is_allowed_is_one_of_keras() -> None:
    from tabular.model.backend import keras

    for name in get_args(Activation):
        assert callable(keras.activations.get(name))
    for name in get_args(Initializer):
        assert callable(keras.initializers.get(name))
    for name in get_args(Optimizer):
        assert type(keras.optimizers.get(name)).__name__.lower() == name
