"""Tests of reruns: an edit of code reruns only the stages that use the code."""

from pathlib import Path

from tests.commands import check_output, stages_that_ran


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
    add_comments(workspace, "keras_tabular/evaluation/scores.py")
    assert outdated_stages(workspace) == ["calibrate", "evaluate", "gate"]


def test_rerun_ends_where_the_bytes_are_equal(workspace: Path) -> None:
    add_comments(workspace, "keras_tabular/splitting/rules.py", "network.py")
    model = (workspace / "models/model.keras").read_bytes()
    output = check_output(workspace, "dvc", "repro")
    assert stages_that_ran(output) == ["split", "train"]
    assert "Stage 'calibrate' didn't change, skipping" in output
    assert (workspace / "models/model.keras").read_bytes() == model
