"""Tests of reruns: an edit of code reruns only the stages that use the code."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from tests.commands import check_output, stages_that_ran, start_command
from tests.projects import change_settings


def add_comment(files: Iterable[Path]) -> None:
    """Add a comment to the end of files."""
    for file in files:
        with file.open("a") as text:
            text.write("# an edit\n")


def outdated_stages(folder: Path) -> list[str]:
    return stages_that_ran(check_output(folder, "dvc", "repro", "--dry"))


def test_edit_of_code_that_no_stage_uses_reruns_nothing(workspace: Path) -> None:
    library = workspace / "keras_tabular"
    for package in ("cli", "schema_inference", "prediction", "report", "search", "serving"):
        add_comment((library / package).rglob("*.py"))
    assert outdated_stages(workspace) == []
    add_comment([library / "experiments/gate.py"])
    assert outdated_stages(workspace) == ["gate"]
    add_comment([library / "evaluation/scores.py"])
    assert outdated_stages(workspace) == ["calibrate", "evaluate", "gate"]


def test_rerun_ends_where_the_bytes_are_equal(workspace: Path) -> None:
    add_comment([workspace / "keras_tabular/splitting/rules.py"])
    assert outdated_stages(workspace)[0] == "split"
    output = check_output(workspace, "dvc", "repro")
    assert stages_that_ran(output) == ["split"]
    assert "Stage 'train' didn't change, skipping" in output

    add_comment([workspace / "network.py"])
    model = (workspace / "models/model.keras").read_bytes()
    assert stages_that_ran(check_output(workspace, "dvc", "repro")) == ["train"]
    assert (workspace / "models/model.keras").read_bytes() == model


@pytest.mark.slow
def test_params_edited_during_training_are_not_recorded_for_the_model(workspace: Path) -> None:
    """DVC reads the parameters that it records after the command."""
    process = start_command(workspace, "dvc", "repro", "--force", "--single-item", "train")
    assert process.stderr
    assert any(line.startswith("Training networks on") for line in process.stderr)
    change_settings(workspace, train={"seed": 2})
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 255
    assert "changed while stage train ran: train.seed in params.yaml. " in errors
    recorded = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]["train"]["params"]
    assert recorded["params.yaml"]["train"]["seed"] == 1
    assert "train" in outdated_stages(workspace)
