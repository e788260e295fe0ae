"""Tests of reruns: an edit of code reruns only the stages that use the code."""

from collections.abc import Iterable
from pathlib import Path

from tests.commands import check_output, stages_that_ran


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
    add_comment([library / "experiments/gate.py"])
    assert outdated_stages(workspace) == ["gate"]
    add_comment([library / "evaluation/scores.py"])
    assert outdated_stages(workspace) == ["calibrate", "evaluate", "gate"]


def test_rerun_ends_where_the_bytes_are_equal(workspace: Path) -> None:
    add_comment([workspace / "keras_tabular/splitting/rules.py"])
    output = check_output(workspace, "dvc", "repro")
    assert stages_that_ran(output) == ["split"]
    assert "Stage 'train' didn't change, skipping" in output

    add_comment([workspace / "network.py"])
    model = (workspace / "models/model.keras").read_bytes()
    assert stages_that_ran(check_output(workspace, "dvc", "repro")) == ["train"]
    assert (workspace / "models/model.keras").read_bytes() == model
