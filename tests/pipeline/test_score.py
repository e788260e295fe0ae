"""A labelled file gets the scores that the stage `evaluate` gives the same rows."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.evaluation.labelled_file import find_labels
from tests.commands import call_command, check_output, run_command, start_command
from tests.helpers import BINARY, PROJECT, build_schema
from tests.projects import (
    change_settings,
    copy_project,
    read_gate,
    read_json,
    read_scores,
    run_stages,
)


@pytest.fixture(scope="module")
def project(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `short_run` with its test rows in the file `rows.csv`."""
    folder = copy_project(short_run, tmp_path_factory.mktemp("scored") / "project")
    pd.read_parquet(folder / "data/split/test").to_csv(folder / "rows.csv", index=False)
    return folder


def score(folder: Path, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Call the command in a folder, and return the scores that it writes and what it prints."""
    output = call_command(folder, "score", *arguments, "-o", "written.json")
    return read_json(folder / "written.json"), output


def scores_of_rows(folder: Path, row_set: str = "test") -> list[dict[str, Any]]:
    """Return the scores of the last run in a folder for a set of rows, as those of test rows."""
    scores = read_json(folder / "metrics/scores.json")["scores"]
    return [each | {"row_set": "test"} for each in scores if each["row_set"] == row_set]


def test_the_test_rows_get_the_scores_of_evaluate(project: Path) -> None:
    scores, output = score(project, "rows.csv")
    assert scores["scores"] == scores_of_rows(project)
    assert len(output.splitlines()) == len(BINARY.metrics) + 2
    assert "not significant" in output


def test_training_rows_are_a_warning_and_bad_rows_an_error(project: Path) -> None:
    _, output = score(project, "data/raw/diabetes.csv")
    assert "warn: 514 of 768 rows are training rows" in output
    frame = pd.read_csv(project / "rows.csv")
    frame.loc[3, "Age"] = 500
    for rows, message in (
        (frame, r"bad\.csv, line 5, column Age: "),
        (frame.drop(columns="Outcome"), "missing: Outcome"),
    ):
        rows.to_csv(project / "bad.csv", index=False)
        with pytest.raises(SystemExit, match=message):
            score(project, "bad.csv")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 9])
def test_few_rows_have_scores_without_intervals(project: Path, count: int) -> None:
    """All rows are negative here, so the recall is undefined and not 0."""
    frame = pd.read_csv(project / "rows.csv")
    frame[frame["Outcome"] == 0][:count].to_csv(project / "few.csv", index=False)
    scores, output = score(project, "few.csv")
    assert f"warn: {scores['warnings'][-1]}\n" in output
    assert all(each.keys() & {"interval", "difference"} == set() for each in scores["scores"])
    assert {"recall", "roc_auc"}.isdisjoint(each["metric"] for each in scores["scores"])
    assert re.search(r"^Recall +– ", output, re.MULTILINE)
    assert not re.search(r"^\w.*(\d to |better|worse|chance)", output, re.MULTILINE)


def test_a_model_alone_is_scored_without_baselines(project: Path, tmp_path: Path) -> None:
    shutil.copy(project / "models/model.keras", tmp_path / "m.keras")
    command = f"python -m keras_tabular score m.keras < {project}/rows.csv"
    done = run_command(tmp_path, "bash", "-c", command, PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stderr
    assert "No baselines, because data/split/train does not contain the" in done.stderr
    accuracy = read_scores(project).value("test", "accuracy")
    assert f"\nAccuracy           {accuracy:.3f}  " in done.stdout


def test_baselines_belong_to_the_model_that_is_scored(workspace: Path, project: Path) -> None:
    """Another model has other thresholds, and a model of other training rows has no baselines."""
    rows = project / "rows.csv"
    change_settings(workspace, evaluate={"threshold": 0.8})
    run_stages(workspace, "calibrate", "calibrate")  # dvc.lock contains the hash of the old model
    scores, _ = score(workspace, rows)
    run_stages(workspace, "evaluate", "evaluate")
    assert scores["scores"] == scores_of_rows(workspace)
    change_settings(workspace, split={"seed": 7})
    run_stages(workspace, "split", "split")
    scores, output = score(workspace, rows)
    assert {each["model"] for each in scores["scores"]} == {"model"}
    assert "No baselines, because data/split/train does not " in output


def test_evaluate_scores_files_of_data_tests_and_the_gate_limits_them(
    workspace: Path, project: Path
) -> None:
    """The scores are those of the command. A wrong header or path is an error."""
    file = workspace / "data/tests/newer.csv"
    pd.read_csv(project / "rows.csv")[::2].to_csv(file, index=False)
    limits = {"tests": {"newer": {"accuracy": 0.99}}}
    change_settings(workspace, evaluate={"tests": ["newer.csv"]}, gate={"lowest": limits})
    run_stages(workspace, "evaluate")
    evaluation, (expected, _) = read_scores(workspace), score(workspace, file)
    assert expected["scores"] == scores_of_rows(workspace, "tests.newer")
    assert (evaluation.rows("tests.newer"), evaluation.training_rows["newer"]) == (127, 0)
    metrics = read_json(workspace / "metrics/metrics.json")
    assert metrics["tests"]["newer"]["accuracy"] == evaluation.value("tests.newer", "accuracy")
    gate = read_gate(workspace)
    assert gate["status"] == gate["checks"]["lowest tests.newer.accuracy"]["status"] == "fail"

    file.write_text("Age,Outcome\n")
    with pytest.raises(SystemExit, match=r"newer\.csv, line 1: "):
        run_stages(workspace, "evaluate")
    for name, message in (
        ("../raw/diabetes.csv", r"evaluate\.tests"),
        ("old.csv", r"old\.csv does not exist, but evaluate\.tests in params\.yaml lists it"),
    ):
        change_settings(workspace, evaluate={"tests": [name, "newer.csv"]})
        with pytest.raises(SystemExit, match=message):
            run_stages(workspace, "evaluate")


@pytest.fixture
def answered(binary_project: Path, tmp_path: Path) -> pd.DataFrame:
    """Rows with their target; a log of two days and a copy of the model are in `tmp_path`.

    The first five rows were answered twice. Each day ends with an incomplete line, as if the server
    had been killed.
    """
    shutil.copy(binary_project / "models/model.keras", tmp_path / "m.keras")
    frame = pd.read_csv(binary_project / "data/raw/t.csv", dtype={"zip/code": str})[:60]
    rows = json.loads(frame.drop(columns="y").to_json(orient="records", double_precision=15))
    outdated = [row | {"cast": 0.0} for row in rows[:5]]
    for day, inputs in (("27", outdated + rows[5:40]), ("28", rows[:5] + rows[40:])):
        lines = [log_line(f"2026-11-{day}T10:00:00.000000Z", row) for row in inputs]
        (tmp_path / "answers").mkdir(exist_ok=True)
        (tmp_path / f"answers/2026-11-{day}.jsonl").write_text("".join(lines) + lines[0][:-10])
    return pd.concat([frame[5:40], frame[:5], frame[40:]])


def log_line(time: str, row: dict[str, Any]) -> str:
    """Return a line of a server's log."""
    model = {"version": "v1.0.0", "md5": "0" * 32}
    return json.dumps({"time": time, "model": model, "inputs": row, "answer": {}}) + "\n"


def test_labels_that_come_later_are_joined_by_a_key(answered: pd.DataFrame, tmp_path: Path) -> None:
    """The scores are those of the labelled rows, of a log, of one file of a log, and of a CSV."""
    table = answered[["id", "y"]].assign(seen="later")[::-1]
    table.loc[table["id"] >= 50, "y"] = None  # an outcome that is not known yet
    table = table[table["id"] != 7]
    table.to_csv(tmp_path / "labels.csv", index=False)
    table.to_json(tmp_path / "labels.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "labels.parquet")
    labelled = answered[(answered["id"] < 50) & (answered["id"] != 7)]
    labelled.to_csv(tmp_path / "labelled.csv", index=False)
    answered.drop(columns="y").to_csv(tmp_path / "rows.csv", index=False)
    days = (path.read_text() for path in sorted(tmp_path.glob("answers/*")))
    (tmp_path / "days.jsonl").write_text("\n".join(days))

    expected, _ = score(tmp_path, "m.keras", "labelled.csv")
    repeated = "5 of 65 rows are left out, because a later row has the same id"
    for file, labels, warnings in (
        ("rows.csv", "labels.parquet", ["11 of 60 rows have no label"]),
        ("answers", "labels.csv", ["11 of 65 rows have no label", repeated]),
        ("days.jsonl", "labels.jsonl", ["11 of 65 rows have no label", repeated]),
    ):
        scores, output = score(tmp_path, "m.keras", file, "--labels", labels, "--key", "id")
        assert (scores["scores"], scores["warnings"]) == (expected["scores"], warnings)
        is_log = file != "rows.csv"
        assert ("incomplete or invalid lines of the log: 2 skipped\n" in output) == is_log
        assert (f"than m.keras: 65 by v1.0.0 (md5 {'0' * 32})\n" in output) == is_log


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ("id,y\n1,pos\n01,neg\n2,pos\n1,neg\n", r"s\.csv, line 5, column id: .*'1'"),
        ("id,y\n1,pos\n2,maybe\n", r"s\.csv, line 3, column y: .*'maybe'"),
        ("id,y\n001,pos\n2,\n", r"s\.csv: the texts in column id are not those of any row of"),
        ("patient,y\n1,pos\n", r"s\.csv, line 1: .* missing: id"),
        ("id,y\n59,pos\n", r"answers/2026-11-28\.jsonl, line 27, column flag: "),
    ],
)
def test_wrong_labels_are_named_with_their_line(
    answered: pd.DataFrame, tmp_path: Path, labels: str, place: str
) -> None:
    (tmp_path / "s.csv").write_text(labels)
    with (tmp_path / "answers/2026-11-28.jsonl").open("a") as file:
        row = json.loads(answered[-1:].to_json(orient="records"))[0] | {"flag": "maybe"}
        file.write("\n" + log_line("2026-11-28T11:00:00.000000Z", row))
    with pytest.raises(SystemExit, match=place):
        score(tmp_path, "m.keras", "answers", "--labels", "s.csv", "--key", "id")


@pytest.mark.parametrize("policy", ["drop", "error", "warn"])
@pytest.mark.parametrize(
    ("task", "missing", "labels"),
    [("multiclass", "NA", "1,a\n2,NA\n3,\n"), ("regression", -1, "1,0.5\n2,-1.0\n3,\n")],
)
def test_a_declared_missing_value_is_no_label(
    task: str, missing: Any, labels: str, policy: Any, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("x,id\n0.5,2\n1.5,3\n2.5,1\n")
    (tmp_path / "labels.csv").write_text(f"id,y\n{labels}")
    files = tmp_path / "rows.csv", tmp_path / "labels.csv"
    schema, policies = build_schema(task, missing), Validate(missing_target=policy)
    schema = schema.model_copy(update={"ignore": ("id",)})
    joined = find_labels(*files, "id", schema, policies)
    assert (joined.positions, joined.warnings) == ({2: 0}, ["2 of 3 rows have no label"])


def test_labels_may_come_from_a_pipe(
    answered: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message about the labels names the pipe. The rows cannot also come from stdin."""
    answered.drop(columns="y").to_csv(tmp_path / "rows.csv", index=False)
    answered[["id", "y"]].to_csv(tmp_path / "labels.csv", index=False)
    (tmp_path / "wrong.csv").write_text("id,label\n")
    check_output(tmp_path, "mkfifo", "p", "q")

    def score_rows(rows: str, labels: str, stdin: str = "", exit_code: int = 0) -> str:
        monkeypatch.setattr("sys.stdin", (tmp_path / stdin).open() if stdin else None)
        arguments = ("m.keras", rows, "--key", "id", "--labels", labels)
        return call_command(tmp_path, "score", *arguments, exit_code=exit_code)

    def fill_pipes(commands: str) -> None:
        start_command(tmp_path, "bash", "-c", commands)

    expected = score_rows("rows.csv", "labels.csv")
    assert expected.startswith("60 rows of rows.csv\n")
    assert score_rows("rows.csv", "-", stdin="labels.csv") == expected
    fill_pipes("cat rows.csv > p & cat labels.csv > q")
    assert score_rows("p", "q") == expected.replace("rows.csv", "p")
    with pytest.raises(SystemExit, match=r"^error: stdin, line 1: "):
        score_rows("rows.csv", "-", stdin="wrong.csv")
    fill_pipes("cat wrong.csv > q")
    with pytest.raises(SystemExit, match=r"^error: q, line 1: "):
        score_rows("rows.csv", "q")
    both = score_rows("-", "-", stdin="labels.csv", exit_code=2)
    assert "the rows and --labels cannot both come from stdin" in both


def test_a_folder_without_answers_is_no_log(project: Path, tmp_path: Path) -> None:
    (tmp_path / "2026-11-28.jsonl").touch()
    (tmp_path / "2026-11-28.jsonl~").write_text(log_line("2026-11-28T10:00:00.000000Z", {}))
    with pytest.raises(SystemExit, match=r"expected \.jsonl files with answers, got none"):
        score(project, tmp_path)
    with pytest.raises(SystemExit, match="2"):  # a key without labels
        score(project, tmp_path, "--key", "Age")
