"""An edit of code reruns the stages whose outputs it can decide, and no other."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from tests.commands import check_output, stages_that_ran, start_command
from tests.projects import change_settings


def comment(files: Iterable[Path]) -> int:
    """Add a comment to files; how many these are."""
    files = list(files)
    for file in files:
        with file.open("a") as text:
            text.write("# an edit\n")
    return len(files)


def outdated(folder: Path) -> list[str]:
    return stages_that_ran(check_output(folder, "dvc", "repro", "--dry"))


def test_an_edit_of_what_no_stage_uses_reruns_nothing(workspace: Path) -> None:
    library = workspace / "keras_tabular"
    for package in ("cli", "schema_inference", "prediction", "report", "search", "serving"):
        assert comment((library / package).rglob("*.py")) > 1
    assert outdated(workspace) == []
    comment([library / "experiments/gate.py"])
    assert outdated(workspace) == ["gate"]
    comment([library / "evaluation/scores.py"])
    assert outdated(workspace) == ["calibrate", "evaluate", "gate"]


def test_an_edit_reruns_what_uses_its_package_and_ends_where_bytes_are_equal(
    workspace: Path,
) -> None:
    comment([workspace / "keras_tabular/splitting/rules.py"])
    assert outdated(workspace)[0] == "split"
    output = check_output(workspace, "dvc", "repro")
    assert stages_that_ran(output) == ["split"]
    assert "Stage 'train' didn't change, skipping" in output

    comment([workspace / "network.py"])
    model = (workspace / "models/model.keras").read_bytes()
    assert stages_that_ran(check_output(workspace, "dvc", "repro")) == ["train"]
    assert (workspace / "models/model.keras").read_bytes() == model


@pytest.mark.slow
def test_params_edited_while_train_runs_are_not_recorded_as_those_of_the_model(
    workspace: Path,
) -> None:
    """The next experiment, typed while this one trains: DVC saves parameters after the command."""
    process = start_command(workspace, "dvc", "repro", "--force", "--single-item", "train")
    assert process.stderr
    assert any(line.startswith("Training networks on") for line in process.stderr)
    change_settings(workspace, train={"seed": 2})
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 255
    assert "changed while stage train ran: train.seed in params.yaml. " in errors
    recorded = yaml.safe_load((workspace / "dvc.lock").read_text())["stages"]["train"]["params"]
    assert recorded["params.yaml"]["train"]["seed"] == 1
    assert "train" in outdated(workspace)
