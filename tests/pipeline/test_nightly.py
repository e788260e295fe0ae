"""What runs at night: new data, drift, the pipeline, the gate, and what it says of them."""

from pathlib import Path

import pandas as pd
import pytest

from tests.commands import check_output, run_command
from tests.projects import change_settings


@pytest.mark.slow
def test_new_data_is_pulled_compared_and_trained_on(workspace: Path, tmp_path: Path) -> None:
    """The table is imported from where others write it."""
    (workspace / ".venv").mkdir()
    (workspace / ".venv/installed").touch()  # the environment is that of the tests
    held = {"beat_baselines": [], "worse_than_last": {"test": {"loss": 0.9}}}
    change_settings(workspace, gate=held)  # which a short training holds
    table, source = workspace / "data/raw/diabetes.csv", tmp_path / "diabetes.csv"
    rows = pd.read_csv(table)
    source.write_bytes(table.read_bytes())
    check_output(workspace, "git", "rm", "-q", "--cached", str(table))
    table.unlink()
    check_output(workspace, "dvc", "import-url", str(source), str(table))
    check_output(workspace, "git", "add", "-A")
    check_output(workspace, "git", "commit", "-qm", "Import the table")
    quiet = run_command(workspace, ".ci/nightly")
    assert quiet.returncode == 0, quiet.stdout + quiet.stderr
    assert "Drift: pass" in quiet.stdout
    assert "Gate: pass" in quiet.stdout

    rows.assign(Age=rows["Age"] + 20).to_csv(source, index=False)
    loud = run_command(workspace, ".ci/nightly")
    assert loud.returncode == 1
    assert "Drift: fail: Age moved" in loud.stdout
    assert "Gate: " in loud.stdout  # the run went on
    assert loud.stdout == (workspace / "nightly.md").read_text()
    assert pd.read_csv(table)["Age"].min() == 41
    for name in ("report.html", "drift.html", "drift.json"):
        assert (workspace / name).is_file()
