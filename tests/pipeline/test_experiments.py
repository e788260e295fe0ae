"""A first look at the table, and repeats of the training on other splits."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.core.files import md5_hash
from keras_tabular.evaluation.records import Evaluation
from keras_tabular.runs.repeat import run_repeat, summarize
from tests import projects
from tests.commands import call_command, check_output
from tests.documentation import MAKE_VARIABLES
from tests.helpers import REGRESSION, build_evaluation
from tests.projects import change_settings, commit_all, copy_project, read_scores


def test_a_first_look_scores_the_training_rows_and_changes_no_file(
    workspace: Path,
) -> None:
    commit_all(workspace, "Before")
    output = check_output(workspace, "make quick", **MAKE_VARIABLES)
    number = r"0\.\d+"
    scores = (
        rf"{number} on 514 rows, cross-validated \(95% CI {number} to {number}\);"
        r" logistic"
    )
    assert re.search(
        rf"^Log loss: {scores} regression {number}, .*\nAcc.*: {scores}",
        output,
        re.M,
    )
    assert check_output(workspace, "git status --porcelain") == ""
    assert "up to date" in check_output(workspace, "dvc status")


def test_a_killed_run_continues_with_the_same_result(
    short_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kill leaves the scores of finished repeats, and folders of the others."""
    project = copy_project(short_run, tmp_path / "project")
    monkeypatch.chdir(project)
    folder = Path(".repeats", md5_hash(Path("metrics/scores.json").read_bytes()))
    fourth = run_repeat(folder, None, 5, 4)
    finished = (folder / "4.json").stat().st_mtime_ns
    (folder / "2/data/split/train").mkdir(parents=True)
    (folder / "2/params.yaml").write_text("not")

    repeat = "python -m keras_tabular repeat --number 5"
    output = check_output(project, repeat, TABULAR_WORKERS="1")
    repeats = projects.read_json(project / "metrics/repeats.json")
    loss, accuracy = repeats["measures"]
    assert output.splitlines()[-2:] == [loss["conclusion"], accuracy["conclusion"]]
    assert (folder / "4.json").stat().st_mtime_ns == finished
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{n}.json" for n in range(1, 6)
    ]
    values = accuracy["models"]["model"]["values"]
    assert values[3] == fourth.value("test", "accuracy")
    assert len({*values}) > 1
    # A repeat with the seeds of the pipeline, after another one in the same process.
    present = run_repeat(Path(".repeats/again"), None, 5, 0)
    assert scores_of_test_rows(present).expected == scores_of_test_rows(
        read_scores(project),
    )
    call_command(project, "report")
    page = (project / "report.html").read_text()
    assert "How much is luck: Accuracy" in page
    assert loss["conclusion"] in page


def scores_of_test_rows(evaluation: Evaluation) -> Any:
    """Return what a repeat has in common with the pipeline, but for the last bits.

    A repeat predicts with the model in memory, whose graph differs from that of its
    file.
    """
    values = {s.key: s.value for s in evaluation.scores if s.row_set == "test"}
    return pytest.approx(values, rel=1e-6)


def test_a_repeat_of_a_split_by_time_has_an_earlier_period_as_test_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A period has a tenth of the rows; the model learns from earlier rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=240)
    days = pd.date_range("2024-01-30", periods=80)
    columns = {
        "x": x,
        "day": np.repeat(days.strftime("%d.%m.%Y"), 3),
        "y": x + rng.random(240),
    }
    project = projects.create_project(tmp_path / "project", pd.DataFrame(columns))
    change_settings(
        project,
        {"time": "day"},
        train=projects.SHORT_TRAINING,
        split={"by": "time"},
    )
    projects.run_stages(project, last="validate")
    monkeypatch.chdir(project)
    evaluation = run_repeat(Path(".repeats/table"), "day", 5, 2)
    assert evaluation.rows("test") == 24
    assert evaluation.rows("train") == 192


@pytest.mark.parametrize(
    ("repeated", "words", "is_significant"),
    [
        ("split", "5 other splits", True),
        ("period", "5 periods of the later half", True),
        # The baseline has the same score in each repeat, so that a difference shows
        # only luck.
        ("training", "5 other trainings", False),
    ],
)
def test_a_conclusion_says_what_a_repeat_is(
    repeated: str,
    words: str,
    is_significant: bool,
) -> None:
    present, *evaluations = (
        build_evaluation(
            train=mae,
            test=mae,
            baselines={"linear": {"mae": 2.0}},
        )
        for mae in ({"mae": 1 + number / 100} for number in (2, 1, 2, 3, 4, 5))
    )
    repeats = summarize("mae", REGRESSION, repeated, present, evaluations)
    assert repeats
    assert f"over {words}" in repeats.conclusion
    assert ("significantly better on average" in repeats.conclusion) is is_significant
    assert repeats.conclusion.endswith(f"the present {repeated} is better than 3 of 5.")
