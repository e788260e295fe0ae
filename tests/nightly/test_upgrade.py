"""A project of version 0.6 is upgraded to this version."""

import re
import sys
from pathlib import Path

from tests.commands import check_output
from tests.projects import (
    ONE_CYCLE_OF_BOTH,
    change_settings,
    commit_all,
    create_old_project,
)


def test_a_project_of_version_0_6_is_upgraded_and_compared_with_its_old_run(
    origin: Path,
    environment: Path,
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    old = create_old_project(project)
    gate = {"beat_baselines": [], "worse_than_base": {"test": {"loss": 0.5}}}
    change_settings(project, train=ONE_CYCLE_OF_BOTH, gate=gate)
    check_output(project, "dvc repro", **old)
    commit_all(project, "A run of version 0.6")
    params = (project / "params.yaml").read_bytes()

    output = check_output(
        tmp_path,
        sys.executable,
        f"{origin}/keras_tabular",
        "upgrade",
        "project",
    )
    assert re.search(r"vendor/keras_tabular-.* replaces keras_tabular-0\.6\.0-", output)
    assert "<<<<<<<" not in output
    assert (project / "params.yaml").read_bytes() == params
    predict = (
        "-m",
        "keras_tabular",
        "predict",
        "data/raw/wine.csv",
    )  # with the old model
    check_output(project, f"{environment}/bin/python", *predict)
    change_settings(project, train={"seed": 2})
    output = check_output(project, f"make gate VENV={environment}")
    assert re.search(
        r"^pass: test\.loss is .* than in \w+ on 59 test rows",
        output,
        re.MULTILINE,
    )
    assert "Gate: pass" in output
