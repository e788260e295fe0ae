"""Mistakes in params.yaml and inputs that change have a message."""

import re
import shutil
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_tabular import cli
from keras_tabular.config.params import Params, load_settings
from keras_tabular.config.schema import load_schema
from keras_tabular.config.stage_inputs import StageInputs
from keras_tabular.core.errors import UserError
from keras_tabular.core.removed import REPLACEMENTS
from keras_tabular.core.typed_yaml import read_yaml
from keras_tabular.tasks.task import Task
from keras_tabular.training.setup import resolve_auto
from tests.helpers import BINARY, MULTICLASS, PROJECT, REGRESSION, load_train_params
from tests.projects import change_settings

# `load_settings` reports each mistake in one line, and returns only the requested
# sections.
PARAMS = "params.yaml"
SCHEMA = "data/schema.yaml"
TEXTS = {name: (PROJECT / name).read_text() for name in (PARAMS, SCHEMA)}
SCHEMA_KEYS = ("columns", "encoding", "ignore", "target")
PLAIN = "train.networks.plain"
SAME_INPUT = ("a/b", "a_b", "Outcome")


def write_and_load(folder: Path, texts: dict[str, str], *names: str) -> Params:
    """Write the two files with these texts, and load sections."""
    (folder / "data").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return load_settings(*names, project=folder)[1]


def change_value(key: str, value: Any) -> dict[str, str]:
    """Return the texts of the two files with another value of a dotted key."""
    contents = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
    *path, last = key.split(".")
    name = SCHEMA if key.startswith(SCHEMA_KEYS) else PARAMS
    reduce(getitem, path, contents[name])[last] = value
    return {
        name: yaml.safe_dump(content, sort_keys=False)
        for name, content in contents.items()
    }


MISTAKES: list[tuple[str, Any, str]] = [
    ("split.by", "group", ".*requires the key group"),
    ("train.members", [{}], ".0.network: .* missing"),
    ("train.members", [{"network": "plane"}], ": .*got 'plane'. Did you mean 'plain'"),
    ("train.loss", "huber", ": for the task binary, expected one of auto, "),
    ("train.class_weight", {0: 1, 1: -1}, ".1: expected a number above 0, got -1"),
    (f"{PLAIN}.epoch", 5, ": unknown key. Did you mean 'epochs'?.*: activation, "),
    (f"{PLAIN}.epochs", 0, ": expected auto or a number of at least 1, got 0"),
    (
        "evaluate.slices",
        {"old": {"Age": {"low": "x"}}},
        ".old.Age.low: .* a day .*, got 'x'",
    ),
    (
        "evaluate.threshold",
        {"cost": {0: {1: "x"}}},
        ".cost.0.1: expected a number, got 'x'(?!.*false_positive)",
    ),
    (
        "evaluate.threshold",
        {"cost": {"false_negative": 5, "fp": 1}},
        r".cost.false_positive: .*\n.*\.fp: unknown key",
    ),
    (
        "evaluate.tests",
        ["a.csv", "b.csv", "a.csv.gz"],
        ": expected files with different names",
    ),
    (
        "evaluate.slices",
        {"all": {"Age": {}}},
        ".all.Age: expected low, high or both, .*got {}",
    ),
    (
        "gate.max",
        {"tset": {"custom": {"cost": 1}}},
        ": expected one of test.accuracy, ",
    ),
    ("target", "outcome", ": expected one of Pregnancies, Glucose, BloodPressure, "),
    ("ignore", ["Outcome"], ": expected other columns than the target 'Outcome'"),
    ("encoding", "gzip", ": expected a text encoding .*, got 'gzip'"),
    ("columns.Outcome", {"kind": "integer", "values": [0, 2.5]}, ": values has 2.5"),
    (
        "columns.Age",
        {"kind": "integer", "min": 0, "max": -5},
        ": min 0 is above max -5",
    ),
    (
        "columns",
        {name: {"kind": "integer", "values": [0, 1]} for name in SAME_INPUT},
        ": 'a/b' and 'a_b' would be the same input",
    ),
]


@pytest.mark.parametrize(("key", "value", "message"), MISTAKES)
def test_a_mistake_is_reported_with_its_file_and_key(
    key: str,
    value: Any,
    message: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / (SCHEMA if key.startswith(SCHEMA_KEYS) else PARAMS)
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {key}')}{message}"):
        write_and_load(tmp_path, change_value(key, value), "split")


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: No such file or directory"):
        load_schema(tmp_path / "none.yaml")
    with pytest.raises(
        UserError,
        match=r"params\.yaml: not valid YAML: while parsing a flow",
    ):
        write_and_load(tmp_path, TEXTS | {PARAMS: "split: ["})


def test_columns_have_one_role(tmp_path: Path) -> None:
    texts = TEXTS | {SCHEMA: f"{TEXTS[SCHEMA]}\ngroup: Age\nweight: Age\n"}
    with pytest.raises(UserError, match=r"group, weight: expected different columns\."):
        write_and_load(tmp_path, texts)


def test_a_key_of_the_schema_chooses_the_split(tmp_path: Path) -> None:
    schema = TEXTS[SCHEMA]
    for key, rule in (("", "random"), ("group: BMI", "group"), ("time: Age", "time")):
        schema += f"\n{key}\n"
        texts = TEXTS | {SCHEMA: schema}
        assert write_and_load(tmp_path, texts, "split").split.by == rule


def test_other_sections_belong_to_the_owner_unless_they_are_misspelt(
    tmp_path: Path,
) -> None:
    """YAML 1.1 reads 1e-3 as text; people and DVC read it as a number."""
    text = TEXTS[PARAMS].replace("learning_rate: 0.01", "learning_rate: 1e-3")
    text += "training: {server: gpu1}\n2: [a]\ntrain2: 5\n"
    params = write_and_load(tmp_path, TEXTS | {PARAMS: text}, "split", "train")
    assert vars(params).keys() == {"split", "train"}
    assert params.split.seed == 9
    assert params.train.networks["plain"].learning_rate == 0.001
    text = re.sub("(?m)^train:", "trein:", text)
    with pytest.raises(UserError, match=r"trein: unknown key\. Did you mean 'train'"):
        write_and_load(tmp_path, TEXTS | {PARAMS: text})


def test_early_stopping_requires_validation_rows(tmp_path: Path) -> None:
    plain = {"learning_rate_schedule": "constant", "early_stopping": {"patience": 5}}
    train = load_train_params({"plain": plain}, folds=1).model_dump(mode="json")
    with pytest.raises(UserError, match=r"plain\.early_stopping requires split"):
        write_and_load(tmp_path, change_value("train", train))
    write_and_load(tmp_path, change_value("train", train | {"folds": 2}))


AUTO = ("learning_rate", "epochs", "batch_size", "dropout", "embedding")
EIGHT_UNITS = {"bins": 48, "units": 8}
FOUR_UNITS = {"bins": 48, "units": 4}


@pytest.mark.parametrize(
    ("rows", "task", "columns", "folds", "counts", "network"),
    [
        (500, BINARY, 100, 10, [1, 1], (0.01, 1024, 128, 0.3, FOUR_UNITS)),
        (500, BINARY, 101, 10, [1, 1], (0.01, 512, 128, 0.3, None)),
        (500, REGRESSION, 20, 10, [1, 1], (0.02, 1024, 128, 0.3, EIGHT_UNITS)),
        (5_000, MULTICLASS, 21, 10, [2], (0.02, 128, 64, 0.1, FOUR_UNITS)),
        (50_000, REGRESSION, 8, 5, [2], (0.04, 51, 256, 0.1, EIGHT_UNITS)),
        (100_000, BINARY, 8, 5, [2], (0.02, 20, 1024, 0.1, EIGHT_UNITS)),
        (10_000_000, REGRESSION, 8, 3, [2], (0.04, 16, 1024, 0.1, EIGHT_UNITS)),
    ],
)
def test_auto_depends_on_the_table_and_the_task(
    rows: int,
    task: Task,
    columns: int,
    folds: int,
    counts: list[int],
    network: tuple[Any, ...],
) -> None:
    auto = load_train_params(
        {"realmlp": dict.fromkeys(AUTO, "auto")},
        members="auto",
        folds="auto",
    )
    train = resolve_auto(auto, rows, task, columns)
    assert train.folds == folds
    expected = list(zip(["realmlp", "plain"], counts, strict=False))
    assert [(members.network, members.count) for members in train.members] == expected
    realmlp = train.networks["realmlp"].model_dump()
    assert tuple(realmlp[key] for key in AUTO) == network


def test_yes_and_no_are_texts_as_in_the_files_that_dvc_writes(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("{yes: no, on: 12:30, true: false, 007: 1_000}")
    assert read_yaml(path) == {
        "yes": "no",
        "on": "12:30",
        True: False,
        7: 1000,
    }


# A stage fails if its inputs change while it runs.
FOLDER = "keras_tabular/network"
NETWORK = "network.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the stages read, as the current folder."""
    for name in (
        "dvc.yaml",
        "params.yaml",
        NETWORK,
        "data/schema.yaml",
        "data/raw/diabetes.csv",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    shutil.copytree(PROJECT / "keras_tabular", tmp_path / "keras_tabular")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("stage", "edit", "changed"),
    [
        (
            "train",
            lambda at: change_settings(at, train={"seed": 2}),
            "train.seed in params.yaml",
        ),
        ("train", lambda at: (at / NETWORK).write_text("# another line"), NETWORK),
        ("train", lambda at: (at / FOLDER / "a.py").touch(), f"{FOLDER}/a.py"),
        (
            "ingest",
            lambda at: (at / "data/raw/diabetes.csv").unlink(),
            "data/raw/diabetes.csv",
        ),
    ],
)
def test_a_changed_input_is_reported(
    project: Path,
    stage: str,
    edit: Callable[[Path], None],
    changed: str,
) -> None:
    inputs = StageInputs(stage)
    edit(project)
    with pytest.raises(
        UserError,
        match=re.escape(f"stage {stage} ran: {changed}. "),
    ) as refused:
        inputs.check()
    # A `dvc exp run` that DVC refuses has written params.yaml already.
    restore = (
        "params.yaml even if it is refused. To restore: train.seed in params.yaml"
        " was 1."
    )
    assert (restore in str(refused.value)) == (changed == "train.seed in params.yaml")


@pytest.mark.parametrize("stage", ["split", "stage-of-the-owner", None])
def test_other_files_and_parameters_may_change(
    project: Path,
    stage: str | None,
) -> None:
    inputs = StageInputs(stage)
    change_settings(project, train={"seed": 2})
    (project / NETWORK).write_text("# another line")
    inputs.check()


def test_a_file_that_is_written_again_with_the_same_content_has_not_changed(
    project: Path,
) -> None:
    inputs = StageInputs("train")
    (project / NETWORK).touch()
    (project / NETWORK).write_bytes((project / NETWORK).read_bytes())
    inputs.check()


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_a_removed_key_or_command_names_its_replacement(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = f"{name}: removed in 0.8.0. {re.escape(REPLACEMENTS[name])}$"
    params = yaml.safe_dump(yaml.safe_load(TEXTS[PARAMS]) | {name: {"a": 1}})
    with pytest.raises(UserError, match=message):
        write_and_load(tmp_path, TEXTS | {PARAMS: params})
    monkeypatch.setattr("sys.argv", ["keras-tabular", name])
    with pytest.raises(UserError, match=message):
        cli.main()
