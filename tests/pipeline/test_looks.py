"""The gate says how many runs were scored on the same test rows."""

import re
from pathlib import Path

import pytest

from tests.commands import call_main, check_output
from tests.projects import change_settings, clone, commit_all, copy_project


def test_each_run_on_the_same_test_rows_counts_once(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The project has two commits with results: of all networks, and of a short training."""
    folder = copy_project(experiment, tmp_path / "project")

    def read_count(project: Path = folder) -> str:
        call_main(project, "stages.gate", "--metrics", "metrics")
        return re.findall(r"These test rows have scored (.*?)\.", capsys.readouterr().out)[0]

    assert read_count() == "3 runs"  # two commits and an experiment
    check_output(folder, "dvc", "exp", "run", "-n", "other", "-S", "evaluate.threshold=0.4")
    check_output(folder, "dvc", "exp", "run", "--queue", "-S", "evaluate.threshold=0.3")
    assert read_count() == "4 runs"  # the queued one has not run yet
    check_output(folder, "dvc", "exp", "apply", "small")
    commit_all(folder, "The experiment")
    (folder / "data/README.md").write_text("Only documentation")
    commit_all(folder, "Documentation")
    assert read_count() == "4 runs"

    change_settings(folder, split={"seed": 10})
    check_output(folder, "dvc", "repro", "evaluate")
    assert read_count() == "1 run"
    check_output(folder, "git", "checkout", "-q", ".")
    assert read_count() == "4 runs"

    # A clone has neither the other experiment nor the run cache.
    assert read_count(clone(folder, tmp_path / "full")) == "3 runs"
    shallow = tmp_path / "shallow"
    check_output(tmp_path, "git", "clone", "-q", "--depth=1", f"file://{folder}", str(shallow))
    assert read_count(shallow) == "1 run in this shallow clone"
