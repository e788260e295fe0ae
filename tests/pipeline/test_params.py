"""A wrong parameter ends any stage in about a second, before TensorFlow is imported."""

import shutil
import time
from pathlib import Path

import pytest

from tests.helpers import COMMANDS, PROJECT, run

WRONG = {
    "a parameter": (
        "params.yaml",
        "epochs: 100",
        "epoch: 5",
        "train.networks.plain.epoch: unknown key",
    ),
    "a column": ("data/schema.yaml", "kind: real", "kind: reel", "Did you mean 'real'?"),
    "no YAML": ("params.yaml", "epochs: 100", "epochs: [", "not valid YAML"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_before_tensorflow_is_imported(name: str, tmp_path: Path) -> None:
    file, right, wrong, words = WRONG[name]
    (tmp_path / "data").mkdir()
    for copied in ("params.yaml", "data/schema.yaml"):
        shutil.copy(PROJECT / copied, tmp_path / copied)
    text = (tmp_path / file).read_text()
    assert right in text
    (tmp_path / file).write_text(text.replace(right, wrong))
    python, *arguments = COMMANDS["train"]
    start = time.monotonic()
    done = run(tmp_path, python, "-X", "importtime", *arguments, PYTHONPATH=str(PROJECT))
    seconds = time.monotonic() - start
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    imports = [line for line in lines if line.startswith("import time:")]
    message = "\n".join(line for line in lines if line not in imports)
    assert "pydantic" in "".join(imports)
    assert "tensorflow" not in "".join(imports)
    assert seconds < 5  # about 1 on an idle machine
    assert "Traceback" not in message
    assert message.startswith(f"error: {file}: ")
    assert words in message


@pytest.mark.parametrize("missing", ["data/schema.yaml", "params.yaml"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    if missing == "params.yaml":
        shutil.copy(PROJECT / "data/schema.yaml", tmp_path / "data")
    done = run(tmp_path, "python", "-m", "stages.split", "a", "b", PYTHONPATH=str(PROJECT))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {missing}: No such file or directory")
