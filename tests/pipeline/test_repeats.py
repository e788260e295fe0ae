"""Repeats on other splits: the same result after a kill and in any order, for each rule."""

import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_tabular.experiments.repeat import run_repeat, summarize
from keras_tabular.scoring.evaluation import Evaluation, Score
from tests.commands import call_command, check_output, start_command, wait_until
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

REPEAT = ("python", "-m", "keras_tabular", "repeat", "--number", "5")


def scores_of_test_rows(evaluation: Evaluation) -> list[Score]:
    """Return what a repeat has in common with the pipeline."""
    return [score for score in evaluation.scores if score.row_set == "test"]


def test_a_killed_run_continues_with_the_same_result(
    short_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = copy_project(short_run, tmp_path / "killed")
    process = start_command(killed, *REPEAT, TABULAR_WORKERS="1")
    wait_until(lambda: [*killed.glob(".repeats/*/2.json")] or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    (folder,) = killed.glob(".repeats/*")
    first = (folder / "2.json").stat().st_mtime_ns
    assert not (folder / "5.json").exists()

    output = check_output(killed, *REPEAT)
    repeats = read_json(killed / "metrics/repeats.json")
    loss, accuracy = repeats["measures"]
    assert output.splitlines()[-2:] == [loss["conclusion"], accuracy["conclusion"]]
    assert (folder / "2.json").stat().st_mtime_ns == first
    assert sorted(path.name for path in folder.iterdir()) == [f"{n}.json" for n in range(1, 6)]

    # A repeat before the others and in this process, and one with the seeds of the pipeline.
    monkeypatch.chdir(killed)
    values = accuracy["models"]["model"]["values"]
    fourth = run_repeat(Path(".repeats/again"), None, 5, 4)
    assert fourth.value("test", "accuracy") == values[3]
    present = run_repeat(Path(".repeats/again"), None, 5, 0)
    assert scores_of_test_rows(present) == scores_of_test_rows(read_scores(killed))
    call_command(killed, "report")
    page = (killed / "report.html").read_text()
    assert "How much is luck: Accuracy" in page
    assert loss["conclusion"] in page


def make_table(rows: int = 240) -> pd.DataFrame:
    """Make a table with a group, a time and a column that names the subset of each row."""
    rng = np.random.default_rng(0)
    x, days = rng.normal(size=rows), pd.date_range("2024-01-30", periods=rows // 3)
    return pd.DataFrame(
        {
            "x": x.round(3),
            "person": rng.integers(0, 40, rows),
            "day": np.repeat(days.strftime("%d.%m.%Y"), 3),
            "subset": np.where(np.arange(rows) % 3 == 0, "test", "train"),
            "y": (x + rng.normal(size=rows)).round(3),
        }
    )


@pytest.mark.parametrize("rule", ["group", "hash", "time", "column"])
def test_each_rule_of_a_split(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = create_project(tmp_path / "project", make_table())
    roles = {"group": "person", "time": "day", "split": "subset"}
    change_settings(folder, roles, train=SHORT_TRAINING, split={"by": rule})
    run_stages(folder, last="validate")
    monkeypatch.chdir(folder)
    time = "day" if rule == "time" else None
    repeats_folder = Path(".repeats/table")
    present, *evaluations = (run_repeat(repeats_folder, time, 5, number) for number in range(3))
    repeated = {"time": "period", "column": "training"}.get(rule, "split")
    repeats = summarize("mae", REGRESSION, repeated, present, evaluations)
    assert repeats
    words = "periods of the later half" if rule == "time" else f"other {repeated}s"
    assert f"over 2 {words}" in repeats.conclusion
    model, linear = repeats.models["model"], repeats.models["ridge"]
    assert len({*model.values, model.present}) == 3
    rows = [each.rows("test") for each in (present, *evaluations)]
    if rule == "column":  # the same test rows, so that only the training differs
        assert rows == [80, 80, 80]
        assert len({*linear.values, linear.present}) == 1
        assert "settled" not in repeats.conclusion
        assert "significantly" not in repeats.conclusion
        return
    assert len({*linear.values, linear.present}) == 3
    if rule == "time":  # each period has a tenth of the rows of the later half
        assert rows[1:] == [24, 24]
        assert [each.rows("train") for each in evaluations] == [216, 192]
