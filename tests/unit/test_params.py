"""`load_params` reports each mistake in one line, and returns only the requested sections."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_tabular.config.params import Params, load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.errors import UserError
from tests.helpers import PROJECT, load_train_params

PARAMS, SCHEMA = "params.yaml", "data/schema.yaml"
TEXTS = {name: (PROJECT / name).read_text() for name in (PARAMS, SCHEMA)}


def write_and_load(folder: Path, texts: dict[str, str], *names: str) -> Params:
    """Write the two files with these texts, and load sections."""
    (folder / "data").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return load_params(*names, schema=load_schema(folder / SCHEMA), path=folder / PARAMS)


def change_params(changes: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the texts of the two files, after a change of values in sections of params.yaml."""
    params = yaml.safe_load(TEXTS[PARAMS])
    params |= {section: params[section] | values for section, values in changes.items()}
    return TEXTS | {PARAMS: yaml.safe_dump(params)}


TARGET, PLAIN = "target: Outcome", "networks.plain"
EPOCHS = "epochs: auto\n      batch_size: 32"  # of the network plain
SEED = "  seed: 9\n"  # of the section split
# The text in a file, the text that replaces it, and the beginning of the message.
MISTAKES = [
    ("by: random", "by: group", "split.by: group requires the key group: COLUMN in"),
    ("test_size: 0.33", "test_size: 1.5", "split.test_size: expected a number below 1, got 1.5."),
    (SEED, "  seed: nine\n", "split.seed: expected an integer, got 'nine'."),
    (SEED, "", "split.seed: this key is missing."),
    (
        EPOCHS,
        EPOCHS.replace("epochs: auto", "epoch: 5"),
        f"train.{PLAIN}.epoch: unknown key. Did you mean 'epochs'? Allowed keys: activation, ",
    ),
    (
        EPOCHS,
        EPOCHS.replace("auto", "0"),
        f"train.{PLAIN}.epochs: expected auto or a number of at least 1, got 0.",
    ),
    (
        "class_weight: ",
        "class_weight: {0: 1, 1: -1} # ",
        "train.class_weight.1: expected a number above 0, got -1.",
    ),
    (
        "activation: silu",
        "activation: silo",
        f"train.{PLAIN}.activation: expected one of celu, elu, exponential, gelu, hard_sigmoid, "
        "hard_silu, hard_tanh, leaky_relu, linear, mish, relu, relu6, selu, sigmoid, silu, "
        "softplus, softsign, squareplus, swish, tanh, tanh_shrink, got 'silo'. Did you mean 'silu'",
    ),
    (
        "members: auto",
        "members: [{network: plane}]",
        "train.members: expected one of realmlp, plain, got 'plane'. Did you mean 'plain'?",
    ),
    (
        "threshold: 0.5",
        "threshold: {best: f2}",
        "evaluate.threshold.best: expected one of accuracy, balanced_accuracy, f1, got 'f2'.",
    ),
    (
        "threshold: 0.5",
        "threshold: high",
        "evaluate.threshold: expected a number or keys with values, got 'high'.",
    ),
    (
        "slices: {}",
        "slices: {old: {Age: {low: old}}}",
        "evaluate.slices.old.Age.low: expected a number or a day such as 2024-01-31, got 'old'.",
    ),
    (
        "lowest: {}",
        "lowest: {test: {accuracy: much}}",
        "gate.lowest.test.accuracy: expected a number, got 'much'.",
    ),
    ("score: loss", "score: rmse", "search.score: expected one of accuracy, average_precision, ba"),
    ("evaluate:", "evaluation:", "evaluation: unknown key. Did you mean 'evaluate'? Allowed"),
    (EPOCHS, "epochs: [", "not valid YAML: while parsing a flow sequence"),
    (
        TARGET,
        f"{TARGET}\nignore: [Outcome]",
        "ignore: expected other columns than the target 'Outcome'.",
    ),
    (TARGET, "target: outcome", "target: expected one of Pregnancies, Glucose, BloodPressure, "),
    (
        TARGET,
        f"{TARGET}\nencoding: gzip",
        "encoding: expected a text encoding such as utf-8 or latin-1, got 'gzip'.",
    ),
    (
        "values: [0, 1]",
        "values: [0, 1, 2.5]",
        "columns.Outcome: values has 2.5, but the kind is integer.",
    ),
    ("max: 25", "max: -5", "columns.Pregnancies: min 0 is above max -5."),
    (
        "columns:",
        "columns:\n  min: {kind: real, maximum: 3}",
        "columns.min.maximum: unknown key. Did you mean 'max'? Allowed keys: format, ",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[new for _, new, _ in MISTAKES])
def test_a_mistake_is_reported_with_its_file_and_key(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    (name,) = [name for name, text in TEXTS.items() if old in text]
    with pytest.raises(UserError) as error:
        write_and_load(tmp_path, TEXTS | {name: TEXTS[name].replace(old, new)})
    prefix, lines = f"{tmp_path / name}: ", str(error.value).splitlines()
    assert any(line.startswith(prefix + message) for line in lines)
    if "not valid YAML" not in message:  # the message of PyYAML has several lines
        assert all(line.startswith(prefix) for line in lines)


L2 = f"{PLAIN}.l2"
SPACES: list[tuple[dict[str, Any], str]] = [
    ({f"{PLAIN}.unit": [[8]]}, f": expected one of .*Did you mean '{PLAIN}.units'?"),
    ({"loss": ["huber"]}, ".loss: for the task binary, expected one of auto, binary_crossentropy,"),
    ({L2: [-1]}, f": {L2}: expected a number of at least 0, got -1."),
    ({L2: []}, f".{L2}: expected a list with at least one value, or low and high, got []."),
    ({L2: {"low": 0, "high": 1, "log": True}}, f".{L2}: expected low above 0, as log is true, got"),
]


@pytest.mark.parametrize(("space", "message"), SPACES)
def test_a_mistake_in_another_section_is_reported_too(
    space: dict[str, Any], message: str, tmp_path: Path
) -> None:
    pattern = re.escape(f"search.space{message}").replace(r"\.\*", ".*")
    with pytest.raises(UserError, match=rf"params\.yaml: {pattern}"):
        write_and_load(tmp_path, change_params({"search": {"space": space}}), "split")


def test_only_the_requested_sections_are_returned(tmp_path: Path) -> None:
    params = write_and_load(tmp_path, TEXTS, "split", "validate")
    assert vars(params).keys() == {"split", "validate"}
    assert (params.split.seed, params.validate.min_class_rows) == (9, 5)
    with pytest.raises(UserError, match=r"none\.yaml: No such file or directory"):
        load_schema(tmp_path / "none.yaml")


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as text; people and DVC read it as a number."""
    text = TEXTS[PARAMS].replace("learning_rate: 0.01", "learning_rate: 1e-3")
    params = write_and_load(tmp_path, TEXTS | {PARAMS: text}, "train")
    assert params.train.networks["plain"].learning_rate == 0.001


def test_early_stopping_requires_validation_rows(tmp_path: Path) -> None:
    plain = {"learning_rate_schedule": "constant", "early_stopping": {"patience": 5}}
    train = load_train_params({"plain": plain}, folds=1).model_dump(mode="json")
    with pytest.raises(UserError, match=r"plain\.early_stopping requires split"):
        write_and_load(tmp_path, change_params({"train": train}))
    write_and_load(tmp_path, change_params({"train": train, "split": {"validation_size": 0.1}}))


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
def test_auto_depends_on_the_table_and_the_task(
    rows: int, task: str, columns: int, folds: int, counts: list[int], network: tuple[float, ...]
) -> None:
    auto = load_train_params({"realmlp": AUTO}, members="auto", folds="auto")
    train = auto.resolve_auto(rows, task, columns)
    assert train.folds == folds
    expected = list(zip(["realmlp", "plain"], counts, strict=False))
    assert [(members.network, members.count) for members in train.members] == expected
    assert tuple(getattr(train.networks["realmlp"], key) for key in AUTO) == network


@pytest.mark.parametrize(
    ("columns", "embedding"),
    [(20, {"bins": 48, "units": 8}), (21, {"bins": 48, "units": 4}), (101, None)],
)
def test_an_embedding_is_smaller_for_more_columns(
    columns: int, embedding: dict[str, int] | None
) -> None:
    auto = load_train_params({"realmlp": {"embedding": "auto"}}, members="auto")
    resolved = auto.resolve_auto(500, "binary", columns)
    assert resolved.value("networks.realmlp.embedding") == embedding


def test_other_values_than_auto_do_not_change() -> None:
    plain = {"learning_rate": 0.5, "epochs": 7, "batch_size": 9, "dropout": 0.0}
    train = load_train_params({"plain": plain}, folds=1)
    for rows, task in ((10, "regression"), (10_000_000, "binary")):
        resolved = train.resolve_auto(rows, task, 8)
        assert (resolved.folds, resolved.members) == (1, train.members)
        assert {key: resolved.value(f"networks.plain.{key}") for key in plain} == plain


def test_the_gate_may_limit_a_metric_of_the_project(tmp_path: Path) -> None:
    custom = {"custom": {"cost": 1}}
    limits = {"lowest": {"test": custom}, "highest": {"cross_validation": custom}}
    gate = write_and_load(tmp_path, change_params({"gate": limits}), "gate").gate
    assert gate.lowest == {"test.custom.cost": 1}
    assert gate.highest == {"cross_validation.custom.cost": 1}


@pytest.mark.parametrize(
    "limits",
    [
        {"lowest": {"tset": {"custom": {"cost": 1}}}},
        {"worse_than_last": {"test": {"custom": {"cost": 1}}}},
    ],
)
def test_other_limits_of_custom_metrics_are_refused(limits: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a score of the task .* also allow custom\.NAME"):
        write_and_load(tmp_path, change_params({"gate": limits}))
