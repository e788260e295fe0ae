"""The nightly job pulls new data, looks for drift, trains, and proposes what has changed."""

import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.commands import check_output, run_command
from tests.helpers import PROJECT
from tests.projects import change_settings, clone, commit_all
from tests.workflows import create_services, run_job


@pytest.mark.slow
def test_new_data_is_pulled_compared_and_trained_on(workspace: Path, tmp_path: Path) -> None:
    """The table is the result of a query, and the rows of the database change."""
    (workspace / ".venv").mkdir()
    (workspace / ".venv/installed").touch()  # the job uses the environment of the tests
    # Rules that even a short training passes:
    rules = {"beat_baselines": [], "worse_than_last": {"test": {"loss": 0.9}}}
    change_settings(workspace, gate=rules)
    table, database = workspace / "data/raw/diabetes.csv", f"sqlite:///{tmp_path}/warehouse.db"
    rows = pd.read_csv(table)
    rows.to_sql("outcomes", database, index=False)
    table.unlink()
    check_output(workspace, "git", "rm", "-q", "--cached", str(table))
    check_output(workspace, "dvc", "config", "--local", "db.warehouse.url", database)
    query = ("--conn", "warehouse", "--sql", "SELECT * FROM outcomes")
    check_output(workspace, "dvc", "import-db", *query, "--out", str(table))
    commit_all(workspace, "Import the table")
    without_drift = run_command(workspace, ".ci/nightly")
    assert without_drift.returncode == 0, without_drift.stdout + without_drift.stderr
    assert "Drift: pass: no row is new" in without_drift.stdout
    assert "Gate: pass" in without_drift.stdout
    commit_all(workspace, "Results of the imported table")
    unchanged = check_output(workspace, ".ci/nightly")
    assert "No pull request: the run has changed no table and no result.\n" in unchanged

    # 70 extreme rows of 838 are too few to change the distribution of the whole table.
    extreme = rows.head(70).assign(Age=rows["Age"] + 60)
    extreme.to_sql("outcomes", database, index=False, if_exists="append")
    with_drift = run_command(workspace, ".ci/nightly")
    assert with_drift.returncode == 1
    assert "70 rows of diabetes.csv that are not in data/ingested" in with_drift.stdout
    assert "Drift: fail: Age has drifted" in with_drift.stdout
    assert "Gate: " in with_drift.stdout  # the run went on
    assert with_drift.stdout == (workspace / "nightly.md").read_text()
    assert pd.read_csv(table)["Age"].max() > 81
    for name in ("report.html", "drift.html", "drift.json"):
        assert (workspace / name).is_file()
    check_pull_request(workspace, tmp_path)

    (workspace / "params.yaml").write_text("{}")
    failed = run_command(workspace, ".ci/nightly")
    assert "No pull request: the pipeline failed.\n" in failed.stdout
    assert not (workspace / "nightly.patch").exists()


def check_pull_request(workspace: Path, folder: Path) -> None:
    """Assert that the other jobs of the workflow propose and report what the run has changed."""
    services, artifact = create_services(folder / "services"), folder / "artifact"
    repository = clone(workspace, services / "repository")
    shutil.copytree(workspace / ".github", artifact / ".github")
    commit = check_output(workspace, "git", "rev-parse", "HEAD").strip()
    propose = partial(
        run_job, artifact, services, "nightly", "pull-request", BASE="main", COMMIT=commit
    )
    for _ in range(2):
        for name in ("nightly.md", "nightly.patch"):
            shutil.copy(workspace / name, artifact)
        result = propose()
        assert result.failed_step == "", result.output
        shutil.rmtree(artifact / "clone")
    created, edited = (services / "requests").read_text().splitlines()
    options = "--title Nightly run. Gate: pass --body-file ../body.md"
    assert created == f"pr create --base main --head nightly {options}"
    assert edited == f"pr edit 7 {options}"
    check_output(repository, "git", "checkout", "-q", "nightly")
    assert check_output(repository, "git", "log", "--format=%s", "HEAD~1..").count("\n") == 1
    for name in ("data/raw/diabetes.csv.dvc", "dvc.lock", "metrics/scores.json"):
        assert (repository / name).read_text() == (workspace / name).read_text()
    assert run_job(artifact, services, "nightly", "issue", RESULT="success").failed_step == ""
    assert (services / "requests").read_text().endswith("issue close 3\n")

    (artifact / "nightly.patch").unlink()
    (artifact / "nightly.md").write_text("No pull request: the pipeline failed.\n")
    result = propose()
    assert result.summary == "No pull request: the pipeline failed.\n"


def test_the_nightly_job_uses_the_environment_that_venv_names(tmp_path: Path) -> None:
    """Its programs are replaced by one that records how it is called."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "env/bin").mkdir(parents=True)
    shutil.copy(PROJECT / ".ci/nightly", tmp_path / ".ci")
    shutil.copy(PROJECT / "keras_tabular/projects/files/Makefile", tmp_path)
    for name in ("python", "dvc"):
        program = tmp_path / "env/bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n')
        program.chmod(0o755)
    run_command(tmp_path, ".ci/nightly", VENV="env", XDG_CACHE_HOME=str(tmp_path))
    calls = (tmp_path / "calls").read_text()
    assert calls.startswith("python -m keras_tabular.projects.lock\n")
    assert "dvc repro" in calls
    assert "python -m stages.gate" in calls
    assert not (tmp_path / ".venv").exists()
