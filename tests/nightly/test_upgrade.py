"""A project of version 0.4 is upgraded to this version."""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.commands import check_output, run_command
from tests.documentation import MAKE_VARIABLES
from tests.helpers import PROJECT
from tests.projects import change_settings, clone


def test_a_project_of_version_0_4_is_upgraded_and_runs(
    origin: Path, environment: Path, tmp_path: Path
) -> None:
    search = ("git", "log", "-1", "--format=%H^", '-SVERSION = "0.4.0"', "--")
    commit = check_output(PROJECT, *search, "keras_tabular/model_file/version.py").strip()
    old_library, project = clone(PROJECT, tmp_path / "old"), tmp_path / "project"
    if run_command(old_library, "git", "checkout", "-q", commit).returncode:
        pytest.skip("the history of this clone begins after version 0.4")
    new = (sys.executable, str(old_library / "keras_tabular"), "new", str(project))
    check_output(tmp_path, *new, "--example=wine", PYTHONPATH=str(old_library), **MAKE_VARIABLES)
    change_settings(project, train={"folds": 2, "members": [{"network": "plain"}]})
    change_settings(project, gate={"beat_baselines": []})

    output = check_output(tmp_path, sys.executable, f"{origin}/keras_tabular", "upgrade", "project")
    assert re.search(r"vendor/keras_tabular-.* replaces keras_tabular-0\.4\.0-", output)
    assert "<<<<<<<" not in output
    assert os.access(project / ".ci/check-gate", os.X_OK)
    assert "Gate: pass" in check_output(project, "make", "gate", f"VENV={environment}")
