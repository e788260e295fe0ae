"""Repeats on other splits: the same result after a kill and in any order, and for each rule."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_tabular.core.files import md5_hash
from keras_tabular.experiments.repeat import run_repeat, summarize
from keras_tabular.scoring.evaluation import Evaluation, Score
from tests.commands import call_command, check_output
from tests.helpers import REGRESSION
from tests.projects import (
    SHORT_TRAINING,
    change_settings,
    copy_project,
    create_project,
    read_json,
    read_scores,
    run_stages,
)


def test_a_killed_run_continues_with_the_same_result(
    short_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves the scores of finished repeats, and folders of those that have not finished."""
    project = copy_project(short_run, tmp_path / "project")
    monkeypatch.chdir(project)
    folder = Path(".repeats", md5_hash(Path("metrics/scores.json").read_bytes()))
    run_repeat(folder, None, 5, 4)
    finished = (folder / "4.json").stat().st_mtime_ns
    (folder / "2/data/split/train").mkdir(parents=True)
    (folder / "2/params.yaml").write_text("not")

    output = check_output(project, "python", "-m", "keras_tabular", "repeat", "--number", "5")
    repeats = read_json(project / "metrics/repeats.json")
    loss, accuracy = repeats["measures"]
    assert output.splitlines()[-2:] == [loss["conclusion"], accuracy["conclusion"]]
    assert (folder / "4.json").stat().st_mtime_ns == finished
    assert sorted(path.name for path in folder.iterdir()) == [f"{n}.json" for n in range(1, 6)]
    values = accuracy["models"]["model"]["values"]
    # A repeat in this process and without the others, and one with the seeds of the pipeline.
    second, present = (run_repeat(Path(".repeats/again"), None, 5, number) for number in (2, 0))
    assert second.value("test", "accuracy") == values[1]
    assert scores_of_test_rows(present) == scores_of_test_rows(read_scores(project))
    call_command(project, "report")
    page = (project / "report.html").read_text()
    assert "How much is luck: Accuracy" in page
    assert loss["conclusion"] in page


def scores_of_test_rows(evaluation: Evaluation) -> list[Score]:
    """Return what a repeat has in common with the pipeline."""
    return [score for score in evaluation.scores if score.row_set == "test"]


def make_table(rows: int = 240) -> pd.DataFrame:
    """Make a table with a time and a column that names the subset of each row."""
    rng = np.random.default_rng(0)
    x, days = rng.normal(size=rows), pd.date_range("2024-01-30", periods=rows // 3)
    return pd.DataFrame(
        {
            "x": x.round(3),
            "day": np.repeat(days.strftime("%d.%m.%Y"), 3),
            "subset": np.where(np.arange(rows) % 3 == 0, "test", "train"),
            "y": (x + rng.normal(size=rows)).round(3),
        }
    )


@pytest.fixture
def run_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Evaluation]]:
    """Return a function that runs the repeats 0 to 2 of five with a rule of the split."""

    def run(rule: str, time: str | None = None) -> list[Evaluation]:
        folder = create_project(tmp_path / "project", make_table())
        roles = {"time": "day", "split": "subset"}
        change_settings(folder, roles, train=SHORT_TRAINING, split={"by": rule})
        run_stages(folder, last="validate")
        monkeypatch.chdir(folder)
        return [run_repeat(Path(".repeats/table"), time, 5, number) for number in range(3)]

    return run


def test_each_period_of_a_split_by_time_is_a_tenth_of_the_rows(
    run_repeats: Callable[..., list[Evaluation]],
) -> None:
    present, *evaluations = run_repeats("time", "day")
    repeats = summarize("mae", REGRESSION, "period", present, evaluations)
    assert repeats
    assert "over 2 periods of the later half" in repeats.conclusion
    for name in ("model", "ridge"):
        assert len({*repeats.models[name].values, repeats.models[name].present}) == 3
    assert [each.rows("test") for each in evaluations] == [24, 24]
    assert [each.rows("train") for each in evaluations] == [216, 192]


def test_only_the_training_differs_where_a_column_names_the_test_rows(
    run_repeats: Callable[..., list[Evaluation]],
) -> None:
    present, *evaluations = run_repeats("column")
    repeats = summarize("mae", REGRESSION, "training", present, evaluations)
    assert repeats
    assert "over 2 other trainings" in repeats.conclusion
    assert "settled" not in repeats.conclusion
    assert "significantly" not in repeats.conclusion
    model, linear = repeats.models["model"], repeats.models["ridge"]
    assert len({*model.values, model.present}) == 3
    assert len({*linear.values, linear.present}) == 1
    assert [each.rows("test") for each in (present, *evaluations)] == [80, 80, 80]
