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
from tests.commands import call_main, run_command
from tests.helpers import BINARY, PROJECT, build_schema
from tests.projects import change_settings, read_scores, run_stages

SCORE = "keras_tabular.cli.score"


@pytest.fixture(scope="module")
def rows(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test rows of the run as a CSV."""
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    pd.read_parquet(short_run / "data/split/test").to_csv(file, index=False)
    return file


def test_the_test_rows_get_the_scores_of_evaluate(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_main(short_run, SCORE, str(rows), "-o", str(tmp_path / "scores.json"))
    output = capsys.readouterr().out
    scores, expected = json.loads((tmp_path / "scores.json").read_text()), read_scores(short_run)
    assert scores["test"] == expected["test"]
    for name, baseline in scores["baseline"].items():
        assert baseline == {key: expected["baseline"][name][key] for key in baseline}
    assert scores["paired_difference"]["test"] == expected["paired_difference"]["test"]
    header, *lines = output.splitlines()[1:]
    assert header.split("  ")[0] == "score"
    assert len(lines) == len(BINARY.metrics)
    assert "not significant" in output


def test_training_rows_are_a_warning_and_bad_rows_an_error(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_main(short_run, SCORE, "data/raw/diabetes.csv")
    assert "warn: 514 of 768 rows are training rows" in capsys.readouterr().err
    frame, bad = pd.read_csv(rows), tmp_path / "bad.csv"
    frame.loc[3, "Age"] = 500
    frame.to_csv(bad, index=False)
    with pytest.raises(SystemExit, match=r"bad\.csv, line 5, column Age: "):
        call_main(short_run, SCORE, str(bad))
    frame.drop(columns="Outcome").to_csv(bad, index=False)
    with pytest.raises(SystemExit, match="missing: Outcome"):
        call_main(short_run, SCORE, str(bad))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 9])
def test_few_rows_have_scores_without_intervals(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """All rows are negative here, so the recall is undefined and not 0."""
    frame, few, file = pd.read_csv(rows), tmp_path / "few.csv", tmp_path / "scores.json"
    frame[frame["Outcome"] == 0][:count].to_csv(few, index=False)
    call_main(short_run, SCORE, str(few), "-o", str(file))
    output, scores = capsys.readouterr(), json.loads(file.read_text())
    assert f"warn: {scores['warnings'][-1]}\n" in output.err
    assert scores["primary_metrics"] == ["accuracy"]
    assert scores["test"].keys() == {"rows", *BINARY.metrics}
    assert not any("_low" in key for baseline in scores["baseline"].values() for key in baseline)
    assert scores["paired_difference"] == {"test": {}}
    undefined = {key for key, value in scores["test"].items() if value is None}
    assert undefined >= {"recall", "roc_auc", "average_precision"}
    assert re.search(r"^Recall +– ", output.out, re.MULTILINE)
    assert not any(word in output.out for word in (" to ", "better", "worse", "chance"))


def test_a_model_alone_is_scored_without_baselines(
    short_run: Path, rows: Path, tmp_path: Path
) -> None:
    shutil.copy(short_run / "models/model.keras", tmp_path / "m.keras")
    command = f"python -m keras_tabular score m.keras < {rows}"
    done = run_command(tmp_path, "bash", "-c", command, PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stderr
    assert "No baselines, because data/split/train does not contain the" in done.stderr
    accuracy = read_scores(short_run)["test"]["accuracy"]
    assert f"\nAccuracy           {accuracy:.3f}  " in done.stdout


def test_baselines_belong_to_the_model_that_is_scored(
    workspace: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another model has other thresholds, and a model of other training rows has no baselines."""

    def score() -> dict[str, Any]:
        call_main(workspace, SCORE, str(rows), "-o", str(tmp_path / "scores.json"))
        scores: dict[str, Any] = json.loads((tmp_path / "scores.json").read_text())
        return scores

    change_settings(workspace, evaluate={"threshold": 0.8})
    run_stages(workspace, "calibrate", "calibrate")  # dvc.lock contains the hash of the old model
    scores = score()
    run_stages(workspace, "evaluate", "evaluate")
    for name, baseline in scores["baseline"].items():
        expected = read_scores(workspace)["baseline"][name]
        assert baseline == {key: expected[key] for key in baseline}
    change_settings(workspace, split={"seed": 7})
    run_stages(workspace, "split", "split")
    capsys.readouterr()
    assert "baseline" not in score()
    message = "No baselines, because data/split/train does not contain the training rows of "
    assert f"{message}models/model.keras\n" in capsys.readouterr().err


def test_evaluate_scores_files_of_data_tests_and_the_gate_limits_them(
    workspace: Path, rows: Path, tmp_path: Path
) -> None:
    """The scores are those of the command. A wrong header or path is an error."""
    pd.read_csv(rows)[::2].to_csv(workspace / "data/tests/newer.csv", index=False)
    limits = {"tests": {"newer": {"accuracy": 0.99}}}
    change_settings(workspace, evaluate={"tests": ["newer.csv"]}, gate={"lowest": limits})
    run_stages(workspace, "evaluate")
    scores = read_scores(workspace)
    tested = scores["tests"]["newer"]
    assert (tested["rows"], tested["training_rows"]) == (127, 0)
    file = tmp_path / "scores.json"
    call_main(workspace, SCORE, "data/tests/newer.csv", "-o", str(file))
    expected = json.loads(file.read_text())
    assert {key: tested[key] for key in expected["test"]} == expected["test"]
    assert tested["paired_difference"] == expected["paired_difference"]["test"]
    metrics = json.loads((workspace / "metrics/metrics.json").read_text())
    assert metrics["tests"]["newer"]["accuracy"] == tested["accuracy"]
    gate = json.loads((workspace / "metrics/gate.json").read_text())
    assert gate["verdict"] == "fail"
    accuracy = f"tests.newer.accuracy is {tested['accuracy']:.3f}"
    assert f"{accuracy} but has to be at least 0.990" in gate["reason"]

    (workspace / "data/tests/newer.csv").write_text("Age,Outcome\n")
    with pytest.raises(SystemExit, match=r"newer\.csv, line 1: The header is not as declared"):
        run_stages(workspace, "evaluate")
    for name, message in (
        ("../raw/diabetes.csv", r"evaluate\.tests"),
        ("old.csv", r"old\.csv does not exist, but evaluate\.tests in params\.yaml lists it"),
    ):
        change_settings(workspace, evaluate={"tests": [name, "newer.csv"]})
        with pytest.raises(SystemExit, match=message):
            run_stages(workspace, "evaluate")


@pytest.fixture
def answered(binary_project: Path, tmp_path: Path) -> tuple[pd.DataFrame, Path]:
    """Rows with their target, and a log of two days beside a copy of the model.

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
    return pd.concat([frame[5:40], frame[:5], frame[40:]]), tmp_path / "answers"


def log_line(time: str, row: dict[str, Any]) -> str:
    """Return a line of a server's log."""
    model = {"version": "v1.0.0", "md5": "0" * 32}
    return json.dumps({"time": time, "model": model, "inputs": row, "answer": {}}) + "\n"


def test_labels_that_come_later_are_joined_by_a_key(
    answered: tuple[pd.DataFrame, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scores are those of the labelled rows, of a log, of one file of a log, and of a CSV."""
    frame, log = answered
    table = frame[["id", "y"]].assign(seen="later")[::-1]
    table.loc[table["id"] >= 50, "y"] = None  # an outcome that is not known yet
    table = table[table["id"] != 7]
    table.to_csv(tmp_path / "labels.csv", index=False)
    table.to_json(tmp_path / "labels.jsonl", orient="records", lines=True)
    table.to_parquet(tmp_path / "labels.parquet")
    frame[(frame["id"] < 50) & (frame["id"] != 7)].to_csv(tmp_path / "labelled.csv", index=False)
    frame.drop(columns="y").to_csv(tmp_path / "rows.csv", index=False)
    days = (path.read_text() for path in sorted(log.iterdir()))
    (tmp_path / "days.jsonl").write_text("\n".join(days))

    def score(*arguments: str) -> dict[str, Any]:
        call_main(tmp_path, SCORE, "m.keras", *arguments, "-o", "scores.json")
        scores: dict[str, Any] = json.loads((tmp_path / "scores.json").read_text())
        return scores

    expected = score("labelled.csv")["test"]
    scores = score("rows.csv", "--labels", "labels.parquet", "--key", "id")
    assert scores["test"] == expected
    assert scores["warnings"] == ["11 of 60 rows have no label"]
    for file, labels in {"answers": "labels.csv", "days.jsonl": "labels.jsonl"}.items():
        capsys.readouterr()
        scores = score(file, "--labels", labels, "--key", "id")
        assert scores["test"] == expected
        assert scores["warnings"] == [
            "11 of 65 rows have no label",
            "5 of 65 rows are left out, because a later row has the same id",
        ]
        errors = capsys.readouterr().err
        assert "warn: incomplete or invalid lines of the log: 2 skipped\n" in errors
        assert f"than m.keras: 65 by v1.0.0 (md5 {'0' * 32})\n" in errors


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("id,y\n1,pos\n01,neg\n2,pos\n1,neg\n", r"s\.csv, line 5, column id: .* another for '1'"),
        ("id,y\n1,pos\n2,maybe\n", r"s\.csv, line 3, column y: expected one of .*, got 'maybe'"),
        ("id,y\n001,pos\n2,\n", r"s\.csv: the texts in column id are not those of any row of"),
        ("patient,y\n1,pos\n", r"s\.csv, line 1: .* missing: id"),
        ("id,y\n59,pos\n", r"answers/2026-11-28\.jsonl, line 27, column flag: expected true"),
    ],
)
def test_wrong_labels_are_named_with_their_line(
    answered: tuple[pd.DataFrame, Path], tmp_path: Path, labels: str, message: str
) -> None:
    (tmp_path / "s.csv").write_text(labels)
    with (answered[1] / "2026-11-28.jsonl").open("a") as log:
        row = json.loads(answered[0][-1:].to_json(orient="records"))[0] | {"flag": "maybe"}
        log.write("\n" + log_line("2026-11-28T11:00:00.000000Z", row))
    options = ("--labels", str(tmp_path / "s.csv"), "--key", "id")
    with pytest.raises(SystemExit, match=message):
        call_main(tmp_path, SCORE, "m.keras", str(answered[1]), *options)


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


def test_labels_may_come_from_a_pipe(answered: tuple[pd.DataFrame, Path], tmp_path: Path) -> None:
    """A message about the labels names the pipe. The rows cannot also come from stdin."""
    frame, _ = answered
    frame.drop(columns="y").to_csv(tmp_path / "rows.csv", index=False)
    frame[["id", "y"]].to_csv(tmp_path / "labels.csv", index=False)

    def score(command: str) -> Any:
        return run_command(tmp_path, "bash", "-c", command, PYTHONPATH=str(PROJECT))

    command = "python -m keras_tabular score m.keras"
    expected = score(f"{command} rows.csv --key id --labels labels.csv")
    assert expected.stdout.startswith("60 rows of rows.csv\n")
    piped = score(f"{command} rows.csv --key id --labels - < labels.csv")
    assert piped.stdout == expected.stdout, piped.stderr
    pipes = f"mkfifo p q; cat rows.csv > p & cat labels.csv > q & {command} p --key id --labels q"
    assert score(pipes).stdout == expected.stdout.replace("rows.csv", "p")
    wrong = score(f"{command} rows.csv --key id --labels - <<< id,label")
    assert "error: stdin, line 1: The header is not as declared" in wrong.stderr
    wrong = score(f"echo id,label > q & {command} rows.csv --key id --labels q")
    assert "error: q, line 1: The header is not as declared" in wrong.stderr
    both = score(f"{command} --key id --labels - < labels.csv")
    assert "the rows and --labels cannot both come from stdin" in both.stderr


def test_a_folder_without_answers_is_no_log(short_run: Path, tmp_path: Path) -> None:
    (tmp_path / "2026-11-28.jsonl").touch()
    (tmp_path / "2026-11-28.jsonl~").write_text(log_line("2026-11-28T10:00:00.000000Z", {}))
    with pytest.raises(SystemExit, match=r"expected \.jsonl files with answers, got none"):
        call_main(short_run, SCORE, str(tmp_path))
    with pytest.raises(SystemExit, match="2"):
        call_main(short_run, SCORE, str(tmp_path), "--key", "Age")
