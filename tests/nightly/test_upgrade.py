"""A project of version 0.5 is upgraded to this version."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import check_output, run_command
from tests.documentation import MAKE_VARIABLES
from tests.helpers import PROJECT
from tests.projects import change_settings, clone

COMMIT = "95032b12"  # version 0.5.0, which has no tag


def test_a_project_of_version_0_5_is_upgraded_and_runs(
    origin: Path, environment: Path, tmp_path: Path
) -> None:
    old_library, project = clone(PROJECT, tmp_path / "old"), tmp_path / "project"
    if run_command(old_library, "git", "checkout", "-q", COMMIT).returncode:
        pytest.skip("the history of this clone begins after version 0.5")
    new = (sys.executable, str(old_library / "keras_tabular"), "new", str(project))
    check_output(tmp_path, *new, "--example=wine", PYTHONPATH=str(old_library), **MAKE_VARIABLES)
    change_settings(project, train={"folds": 2, "members": [{"network": "plain"}]})
    change_settings(project, gate={"beat_baselines": []}, evaluate={"groups": ["hue"]})

    output = check_output(tmp_path, sys.executable, f"{origin}/keras_tabular", "upgrade", "project")
    assert re.search(r"vendor/keras_tabular-.* replaces keras_tabular-0\.5\.0-", output)
    assert "<<<<<<<" not in output
    removed = r"params\.yaml, line \d+: ([\w.]+): version 0\.6 has no such key"
    assert re.findall(removed, output) == ["evaluate.groups", "search"]
    assert (project / "search.yaml").read_bytes() == (PROJECT / "search.yaml").read_bytes()
    assert not (project / ".github/workflows/audit.yml").exists()
    params = yaml.safe_load((project / "params.yaml").read_text())
    del params["search"], params["evaluate"]["groups"]
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert "Gate: pass" in check_output(project, "make", "gate", f"VENV={environment}")
