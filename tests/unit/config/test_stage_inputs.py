"""A stage fails if its inputs change while it runs."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from keras_tabular.config.stage_inputs import StageInputs
from keras_tabular.core.errors import UserError
from tests.helpers import PROJECT
from tests.projects import change_settings

FOLDER = "keras_tabular/networks"
NETWORK = "network.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the stages read, as the current folder."""
    for name in ("dvc.yaml", "params.yaml", NETWORK, "data/schema.yaml", "data/raw/diabetes.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    shutil.copytree(PROJECT / "keras_tabular", tmp_path / "keras_tabular")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("stage", "edit", "changed"),
    [
        ("train", lambda at: change_settings(at, train={"seed": 2}), "train.seed in params.yaml"),
        ("train", lambda at: (at / NETWORK).write_text("# another line"), NETWORK),
        ("train", lambda at: (at / FOLDER / "a.py").touch(), f"{FOLDER}/a.py"),
        ("ingest", lambda at: (at / "data/raw/diabetes.csv").unlink(), "data/raw/diabetes.csv"),
    ],
)
def test_a_changed_input_is_reported(
    project: Path, stage: str, edit: Callable[[Path], None], changed: str
) -> None:
    inputs = StageInputs(stage)
    edit(project)
    with pytest.raises(UserError, match=re.escape(f"stage {stage} ran: {changed}. ")):
        inputs.check()


@pytest.mark.parametrize("stage", ["split", "stage-of-the-owner", None])
def test_other_files_and_parameters_may_change(project: Path, stage: str | None) -> None:
    inputs = StageInputs(stage)
    change_settings(project, train={"seed": 2})
    (project / NETWORK).write_text("# another line")
    inputs.check()


def test_a_file_that_is_written_again_with_the_same_content_has_not_changed(project: Path) -> None:
    inputs = StageInputs("train")
    (project / NETWORK).touch()
    (project / NETWORK).write_bytes((project / NETWORK).read_bytes())
    inputs.check()
