"""What a user relies on when the whole pipeline runs, also with parts of their own."""

import doctest
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import keras_tabular
from tests import projects
from tests.commands import check_output, run_command, stages_that_ran
from tests.documentation import MAKE_VARIABLES, PAGES, code_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import change_settings, copy_project, read_output_hashes

_, PLAIN_KERAS, _ = code_blocks("docs/predictions.md", "python")


def test_a_second_run_has_nothing_to_do_and_leaves_git_clean(
    reproduced: Path,
    tmp_path: Path,
) -> None:
    folder = copy_project(reproduced, tmp_path / "project")
    assert "up to date" in check_output(folder, "dvc repro")
    assert check_output(folder, "git status --porcelain") == ""
    metrics = json.loads(check_output(folder, "dvc metrics show --json"))[""]["data"]
    assert [*metrics] == ["metrics/metrics.json"]


@needs_committed_bytes
def test_the_committed_results_are_those_of_a_fresh_clone(
    origin: Path,
    reproduced: Path,
) -> None:
    """If this fails, run `dvc repro --force` and commit.

    The results in git come from any number of threads, those of the clone from one
    thread. The files that contain scores of the linear baseline may differ between
    machines.
    """
    with_baselines = [f"metrics/{name}.json" for name in ("metrics", "scores", "gate")]
    committed = read_output_hashes(origin, *with_baselines)
    assert committed == read_output_hashes(reproduced, *with_baselines)


def test_examples_in_docstrings_run(
    reproduced: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(reproduced)
    result = doctest.testmod(sys.modules[keras_tabular.load_model.__module__])
    assert result.attempted >= 10
    assert result.failed == 0


def test_the_experiments_are_listed_by_their_cross_validated_scores(
    experiment: Path,
) -> None:
    table = check_output(experiment, "make exp-show", **MAKE_VARIABLES)
    assert re.search(r"\[small\].* \[4\] ", table)
    assert "cross_validation.accuracy" in table
    assert "test.accuracy" not in table


def test_plain_keras_loads_the_model_and_takes_raw_rows(
    binary_project: Path,
    tmp_path: Path,
) -> None:
    """The code in docs/predictions.md predicts what `evaluate` scored.

    The rows have categories and missing values.
    """
    rows = pd.read_parquet(binary_project / "data/split/test")
    assert rows[["cast", "colour", "count"]].isna().any().all()
    rows.rename(columns={"zip/code": "zip_code"}).to_csv(
        tmp_path / "rows.csv",
        index=False,
    )
    code = PLAIN_KERAS.replace("data/raw/diabetes.csv", "rows.csv")
    code = code.replace("models/model.keras", f"{binary_project}/models/model.keras")
    code += "model.predict(columns, verbose=0).tofile('probabilities')\n"
    code += "import sys\nassert 'keras_tabular' not in sys.modules"
    check_output(tmp_path, sys.executable, "-c", code)
    probabilities = np.fromfile(tmp_path / "probabilities", np.float32)
    expected = pd.read_parquet(binary_project / "data/predictions")["probability_pos"]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_a_wrong_parameter_fails_through_dvc_without_a_traceback(
    workspace: Path,
) -> None:
    change = "train.networks.plain.epochs=many"
    completed = run_command(workspace, "dvc", "exp", "run", "-S", change)
    assert completed.returncode in (1, 255)
    output = completed.stdout + completed.stderr
    assert "params.yaml: train.networks.plain.epochs" in output
    assert "Traceback" not in output
    (advice,) = re.findall("To undo it, run `(.+)`", output)
    check_output(workspace, "bash", "-c", advice)
    assert check_output(workspace, "git status --porcelain") == ""


def add_comments(folder: Path, *patterns: str) -> None:
    """Add a comment to the end of all files whose paths match a pattern."""
    for pattern in patterns:
        for file in folder.glob(pattern):
            file.write_text(f"{file.read_text()}# an edit\n")


def test_an_edit_reruns_only_what_it_changes(workspace: Path) -> None:
    def repro(*options: str) -> list[str]:
        """Return the stages that run."""
        return stages_that_ran(check_output(workspace, "dvc", "repro", *options))

    for package in ("cli", "infer", "project", "report", "runs", "serve"):
        add_comments(workspace, f"keras_tabular/{package}/**/*.py")
    add_comments(workspace, "keras_tabular/explain/slices.py")
    table = workspace / "data/raw/diabetes.csv"
    parts = workspace / "data/parts"
    shutil.copy(table, workspace / "data/raw/other.csv")
    assert repro() == ["evaluate"]  # its outputs have the same bytes as before

    parts.mkdir()
    shutil.move(table, parts / "a.csv")
    change_settings(workspace, {"source": "data/parts"})
    assert repro("ingest") == ["ingest"]
    shutil.copy(parts / "a.csv", parts / "b.csv")
    assert repro("ingest", "--dry") == ["ingest"]


# The examples of docs/own-parts.md work: a network, a check, a metric and a stage.


PAGE = PAGES["docs/own-parts.md"]
# A test of the training runs the other networks of the page.
_, _, NETWORK, _, _, CHECK, METRIC, SCRIPT = re.findall(
    r"(?ms)^```python\n(.*?)^```",
    PAGE,
)
ARCHITECTURE, _, LIMIT, STAGE, SOURCE = re.findall(r"(?ms)^```yaml\n(.*?)^```", PAGE)


def replace_line(file: Path, start: str, lines: str) -> None:
    """Replace the only line of a file that begins with `start`."""
    text, count = re.subn(
        f"^{start}.*\n",
        lambda _: lines,
        file.read_text(),
        flags=re.MULTILINE,
    )
    assert count == 1
    file.write_text(text)


@pytest.mark.slow
def test_a_project_has_a_network_a_check_a_metric_and_a_stage_of_its_own(
    workspace: Path,
) -> None:
    (workspace / "network.py").write_text(NETWORK)
    replace_line(
        workspace / "params.yaml",
        "  networks:",
        f"  networks:\n{ARCHITECTURE}",
    )
    members = [{"network": "plain"}, {"network": "cross"}]
    change_settings(
        workspace,
        train={"members": members, "networks": {"cross": projects.FEW_EPOCHS}},
    )
    replace_line(workspace / "custom.py", "CHECKS: ", CHECK)
    replace_line(workspace / "custom.py", "METRICS: ", METRIC)
    replace_line(workspace / "params.yaml", "  max: ", LIMIT)
    (workspace / "stages/prepare.py").write_text(SCRIPT)
    replace_line(workspace / "dvc.yaml", "stages:", f"stages:\n{STAGE}")
    replace_line(workspace / "data/schema.yaml", "source: ", SOURCE)
    output = check_output(workspace, "dvc repro")
    assert stages_that_ran(output) == ["prepare", *projects.STAGE_COMMANDS]

    metrics = workspace / "metrics"
    networks = projects.read_json(metrics / "networks.json")["networks"]
    assert networks["cross"]["params"]["options"] == {"layers": "cross", "depth": 2}
    assert [networks[name]["stacked"] for name in ("plain", "cross")] == [True, True]
    validation = projects.read_json(metrics / "validation.json")
    assert validation["rows"] == 763
    failed = validation["checks"]["Pregnancies and Age.pregnancies_for_age"]
    assert failed == {"verdict": "warn", "failed_rows": 1}
    assert ", got 8 and 22 (data/prepared.csv, line 728)" in output

    scores = projects.read_scores(workspace)
    rows = pd.read_parquet(workspace / "data/predictions")
    actual = rows["actual"] == 1
    predicted = rows["predicted"] == 1
    expected = np.mean(5.0 * (actual & ~predicted) + (~actual & predicted))
    cost = scores.score("test", "custom.cost")
    assert cost
    assert cost.interval
    assert cost.value == pytest.approx(expected, abs=1e-6)
    assert cost.interval[0] < cost.value < cost.interval[1]
    limit = projects.read_gate(workspace)["checks"]["max test.custom.cost"]
    assert limit["status"] == ("pass" if cost.value <= 0.9 else "fail")
    check_output(workspace, "python -m keras_tabular report")
    assert ">cost<" in (workspace / "report.html").read_text()
