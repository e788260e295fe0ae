"""Tests of reruns: an edit of code reruns only the stages that use the code."""

import sys
from pathlib import Path
from typing import Any

import pytest

from keras_tabular.config.stage_inputs import StageInputs
from tests.commands import call_main, check_output, stages_that_ran
from tests.projects import STAGE_COMMANDS, change_settings


def add_comments(folder: Path, *patterns: str) -> None:
    """Add a comment to the end of all files whose paths match a pattern."""
    for file in (file for pattern in patterns for file in folder.glob(pattern)):
        file.write_text(f"{file.read_text()}# an edit\n")


def outdated_stages(folder: Path) -> list[str]:
    return stages_that_ran(check_output(folder, "dvc", "repro", "--dry"))


def test_edit_of_code_that_no_stage_uses_reruns_nothing(workspace: Path) -> None:
    packages = ("cli", "schema_inference", "prediction", "report", "search", "serving")
    add_comments(workspace, *(f"keras_tabular/{package}/**/*.py" for package in packages))
    add_comments(workspace, "keras_tabular/experiments/gate.py")
    assert outdated_stages(workspace) == ["gate"]
    add_comments(workspace, "keras_tabular/scoring/scores.py")
    assert outdated_stages(workspace) == ["calibrate", "evaluate", "gate"]


def test_rerun_ends_where_the_bytes_are_equal(workspace: Path) -> None:
    add_comments(workspace, "keras_tabular/splitting/rules.py", "network.py")
    model = (workspace / "models/model.keras").read_bytes()
    output = check_output(workspace, "dvc", "repro")
    assert stages_that_ran(output) == ["split", "train"]
    assert "Stage 'calibrate' didn't change, skipping" in output
    assert (workspace / "models/model.keras").read_bytes() == model


def test_after_an_edit_during_training_is_undone_training_continues_from_the_checkpoints(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import stages.train  # noqa: F401
    from keras_tabular.networks.backend import keras
    from keras_tabular.training import fit

    params, command = workspace / "params.yaml", STAGE_COMMANDS["train"][2:]
    text, train_round = params.read_bytes(), fit.train_round
    model = (workspace / "models/networks.keras").read_bytes()
    change_settings(workspace, train={"seed": 2})
    edited_text = params.read_bytes()
    params.write_bytes(text)

    def run_train(train_round: Any) -> None:
        keras.utils.clear_session()  # which counts the layers, as a new process does
        monkeypatch.setattr(fit, "train_round", train_round)
        monkeypatch.chdir(workspace)
        monkeypatch.setattr(sys.modules["stages.train"], "inputs", StageInputs("train"))
        call_main(workspace, *command)

    def edit_and_train(*arguments: Any) -> Any:
        params.write_bytes(edited_text)  # from two threads
        return train_round(*arguments)

    def fail(*_: Any) -> Any:
        raise AssertionError("a network was trained again")

    with pytest.raises(SystemExit, match=r"stage train ran: train\.seed in params\.yaml"):
        run_train(edit_and_train)
    (workspace / "models/networks.keras").unlink()
    params.write_bytes(text)
    run_train(fail)
    assert (workspace / "models/networks.keras").read_bytes() == model
    assert not (workspace / ".training").exists()
