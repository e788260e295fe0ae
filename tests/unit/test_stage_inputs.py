"""A stage fails where what DVC will record of it is not what it has read."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from keras_tabular.config.stage_inputs import stage_runner
from tests.helpers import PROJECT
from tests.projects import change_settings

FOLDER = "keras_tabular/networks"
NETWORK = "network.py"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stages read of a project, and the present folder."""
    for name in ("dvc.yaml", "params.yaml", NETWORK, "data/schema.yaml", "data/raw/diabetes.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    shutil.copytree(PROJECT / "keras_tabular", tmp_path / "keras_tabular")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def append(path: Path) -> None:
    path.write_text(path.read_text() + "# another line\n")


@pytest.mark.parametrize(
    ("stage", "edit", "said"),
    [
        ("train", lambda at: change_settings(at, train={"seed": 2}), "train.seed in params.yaml. "),
        ("evaluate", lambda at: change_settings(at, evaluate={"threshold": {"best": "f1"}}),
         "evaluate.threshold in params.yaml, evaluate.threshold.best in params.yaml"),
        ("train", lambda at: append(at / NETWORK), NETWORK),
        ("train", lambda at: (at / FOLDER / "a.py").touch(), f"{FOLDER}/a.py"),
        ("gate", lambda at: append(at / "data/schema.yaml"), "data/schema.yaml. "),
        ("ingest", lambda at: (at / "data/raw/diabetes.csv").unlink(), "data/raw/diabetes.csv"),
    ],
)  # fmt: skip
def test_an_input_that_changes_meanwhile_is_named_with_what_it_was(
    project: Path, stage: str, edit: Callable[[Path], None], said: str
) -> None:
    with pytest.raises(SystemExit) as failed:
        stage_runner(stage)(lambda: edit(project))
    assert f"error: changed while stage {stage} ran: {said}" in str(failed.value)
    assert "run `dvc repro` again" in str(failed.value)


def test_what_the_stage_does_not_depend_on_may_change(project: Path) -> None:
    def edit() -> None:
        change_settings(project, train={"seed": 2})
        append(project / NETWORK)

    stage_runner("split")(edit)
    stage_runner(None)(
        lambda: change_settings(project, split={"seed": 2})
    )  # not by DVC: nothing is recorded
    stage_runner("stage-of-the-owner")(edit)
