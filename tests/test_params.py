"""A wrong parameter gets one clear message in about a second, whichever stage runs first."""

import time
from pathlib import Path

import pytest
import yaml

from stages.lib.params import Activation, Initializer, Optimizer, Params, load_params
from tests.conftest import PROJECT, run

WRONG = {
    "a misspelt key": ("epochs: 100", "epoch: 5", ["train.epoch", "5", "Did you mean 'epochs'"]),
    "text for a number": ("epochs: 100", "epochs: many", ["train.epochs", "'many'", "integer"]),
    "a negative number": (
        "batch_size: 32",
        "batch_size: -5",
        ["train.batch_size", "-5", "at least 1"],
    ),
    "an unknown name": (
        "activation: silu",
        "activation: silo",
        ["train.activation", "'silo'", "Did you mean 'silu'", "tanh"],
    ),
    "a share above one": (
        "test_size: 0.33",
        "test_size: 1.5",
        ["split.test_size", "1.5", "above 0 and below 1"],
    ),
    "a target that is no column": (
        "target: Outcome",
        "target: outcome",
        ["data.target", "'outcome'", "Outcome"],
    ),
    "two columns of one name in the model": (
        "    Age: {",
        "    Blood/Pressure: {kind: real}\n    Blood_Pressure: {kind: real}\n    Age: {",
        ["data.columns", "'Blood/Pressure'", "'Blood_Pressure'", "rename"],
    ),
    "a loss of another task": (
        "loss: auto",
        "loss: huber",
        ["train.loss", "'huber'", "data.task binary", "binary_crossentropy"],
    ),
    "not YAML": ("target: Outcome", "target: [", ["not valid YAML", "line"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_parameter_is_named_before_tensorflow_is_imported(
    name: str, tmp_path: Path
) -> None:
    right, wrong, words = WRONG[name]
    text = (PROJECT / "params.yaml").read_text()
    assert right in text
    (tmp_path / "params.yaml").write_text(text.replace(right, wrong))
    start = time.monotonic()
    done = run(
        tmp_path,
        *("python", "-X", "importtime", "-m", "stages.train"),
        *("train", "validation", "model.keras", "curves", "held_out", "facts.json", "state"),
        PYTHONPATH=str(PROJECT),
    )
    seconds = time.monotonic() - start
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    imports = [line for line in lines if line.startswith("import time:")]
    message = "\n".join(line for line in lines if line not in imports)
    assert "pydantic" in "".join(imports)
    assert "tensorflow" not in "".join(imports)
    assert seconds < 5  # about 1 on an idle machine
    assert "Traceback" not in message
    assert message.startswith("error: params.yaml")
    for word in words:
        assert word in message


def test_a_missing_parameter_file_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "python", "-m", "stages.split", "a", "b", PYTHONPATH=str(PROJECT))
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: No such file or directory")


def test_numbers_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-3 as text; people and DVC read it as a number."""
    text = (PROJECT / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("learning_rate: 0.002", "learning_rate: 1e-3"))
    assert load_params(path).train.learning_rate == 0.001


def test_early_stopping_needs_rows_to_watch() -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["train"] |= {"early_stopping": {"patience": 5}, "ensemble": 1}
    with pytest.raises(ValueError, match=r"train\.early_stopping.*split\.validation_size is 0"):
        Params.model_validate(params)
    params["split"]["validation_size"] = 0.1
    Params.model_validate(params)


def test_every_section_of_the_file_is_a_script_or_the_data() -> None:
    sections = set(yaml.safe_load((PROJECT / "params.yaml").read_text()))
    scripts = {path.stem for path in (PROJECT / "stages").glob("*.py")}
    assert sections <= scripts | {"data"}


def test_every_name_that_is_allowed_is_one_of_keras() -> None:
    from stages.lib.backend import keras

    for name in Activation.__args__:  # type: ignore[attr-defined]
        assert callable(keras.activations.get(name))
    for name in Initializer.__args__:  # type: ignore[attr-defined]
        assert callable(keras.initializers.get(name))
    for name in Optimizer.__args__:  # type: ignore[attr-defined]
        assert type(keras.optimizers.get(name)).__name__.lower() == name
