"""New rows are predicted, compared with the training rows, and scored."""

import gzip
import re
import shutil
import sys
from collections.abc import Callable
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import md5_hash
from tests import projects
from tests.commands import call_command, call_main, run_command
from tests.helpers import BINARY
from tests.projects import change_settings, copy_project, read_scores, run_stages

TrainedProject = Callable[[str], Path]


def select_outputs(predictions: pd.DataFrame) -> np.ndarray:
    """Return the outputs of the model; shape (rows, outputs)."""
    outputs = predictions.filter(like="probability_")
    outputs = outputs if len(outputs.columns) else predictions[["predicted"]]
    return outputs.to_numpy(np.float32)


@pytest.mark.parametrize("name", ["mixed_binary", "mixed_regression", "wine", "shops"])
def test_test_rows_get_the_predictions_that_evaluate_scored(
    trained_project: TrainedProject,
    name: str,
    tmp_path: Path,
) -> None:
    """They are equal bit for bit, also from Parquet and in another order."""
    folder = trained_project(name)
    file = tmp_path / "test.csv"
    out = tmp_path / "out.parquet"
    schema = load_schema(folder / "data/schema.yaml")
    expected = select_outputs(pd.read_parquet(folder / "data/predictions"))
    rows = pd.read_parquet(folder / "data/split/test")
    if name == "shops":
        rows["day"] = rows["day"].dt.strftime("%d.%m.%Y")
    rows[[*schema.features][::-1]].to_csv(file, index=False)
    for path in (file, folder / "data/split/test/part-00000.parquet"):
        call_command(folder, "predict", path, "-o", out)
        predictions = pd.read_parquet(out)
        assert select_outputs(predictions).tobytes() == expected.tobytes()
    rows[:0:-1].to_csv(file, index=False)  # all rows but the first
    call_command(folder, "predict", file, "-o", out)
    reversed_outputs = select_outputs(pd.read_parquet(out))
    assert reversed_outputs[::-1].tobytes() == expected[1:].tobytes()
    if name == "mixed_regression":  # the intervals are those that evaluate scored
        low = predictions["low"]
        high = predictions["high"]
        assert predictions["predicted"].between(low, high, inclusive="neither").all()
        coverage = read_scores(folder).interval_coverage
        assert coverage
        inside = rows[schema.target].between(low, high)
        assert coverage.coverage == pytest.approx(inside.mean(), abs=0.006)
        assert coverage.low < coverage.nominal == 0.9 < coverage.high
        assert coverage.mean_width == pytest.approx((high - low).mean(), rel=1e-5)
    elif schema.classes:
        codes = (expected[:, 0] >= 0.5).astype(int)
        if name == "wine":
            codes = expected.argmax(axis=1)
        classes = [schema.classes[code] for code in codes]
        assert predictions["predicted"].tolist() == classes


ROWS = """y,count,flag,zip/code,id,colour,cast
?,5,true,00123,007,red,0.25
pos,?,False,99999,"a, b",,
,-3,0,00456,,mauve,1e-3
"""


def test_all_formats_give_the_same_predictions(
    binary_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Identifiers stay texts, rows keep their order, and the target is ignored."""
    (tmp_path / "new.csv").write_text(ROWS)
    (tmp_path / "new.csv.gz").write_bytes(gzip.compress(ROWS.encode()))
    frame = pd.read_csv(
        tmp_path / "new.csv",
        dtype={"zip/code": str, "id": str},
        na_values="?",
    )
    frame.to_parquet(tmp_path / "new.parquet", index=False)
    for ending in ("csv", "csv.gz", "parquet"):
        file = tmp_path / f"new.{ending}"
        output = tmp_path / f"predictions.{ending}"
        call_command(binary_project, "predict", file, "-o", output)
    text = (tmp_path / "predictions.csv").read_text()
    compressed = (tmp_path / "predictions.csv.gz").read_bytes()
    assert gzip.decompress(compressed).decode() == text
    predictions = pd.read_csv(
        StringIO(text),
        dtype={"id": str, "probability_pos": np.float32},
    )
    assert [*predictions] == ["id", "predicted", "probability_pos"]
    assert predictions["id"].fillna("").tolist() == ["007", "a, b", ""]
    parquet = pd.read_parquet(tmp_path / "predictions.parquet")
    assert parquet.fillna("").values.tolist() == predictions.fillna("").values.tolist()

    # A copy of the model in another folder predicts the same and makes the same checks.
    shutil.copy(binary_project / "models/model.keras", tmp_path / "m.keras")
    stdin = (tmp_path / "new.csv.gz").open("rb")
    monkeypatch.setattr("sys.stdin", TextIOWrapper(stdin))
    call_main(tmp_path, "keras_tabular.cli", "predict", "m.keras")
    piped, messages = capfd.readouterr()
    assert piped == text
    warnings = re.findall(
        r"^warn: (\S+): 1 of 3 rows .*('\w+') \(1\)$",
        messages,
        re.MULTILINE,
    )
    assert warnings == [("colour", "'mauve'"), ("zip/code", "'99999'")]


def write_many_rows(path: Path) -> None:
    rows = (ROWS + ROWS.split("\n", 1)[1] * 5000).replace("99999", "00123")
    path.write_text(rows)


def test_a_reader_that_stops_ends_the_command_without_a_message(
    binary_project: Path,
    tmp_path: Path,
) -> None:
    write_many_rows(tmp_path / "new.csv")
    predict = (
        f"{sys.executable} -m keras_tabular predict --rejects {tmp_path}/rejects.csv"
    )
    command = f"cat {tmp_path}/new.csv | {predict} | head -1"
    done = run_command(
        binary_project,
        "bash",
        "-c",
        f"{command}; echo ${{PIPESTATUS[1]}}",
    )
    assert done.stdout == "row,id,predicted,probability_pos\n141\n"
    assert done.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_a_full_disk_is_blamed_on_the_file_that_is_on_it(
    binary_project: Path,
    tmp_path: Path,
) -> None:
    write_many_rows(tmp_path / "new.csv")
    predict = f"{sys.executable} -m keras_tabular predict {tmp_path}/new.csv"
    command = f"{predict} --rejects {tmp_path}/rejects.csv > /dev/full"
    message = run_command(binary_project, "bash", "-c", command).stderr
    assert "stdout: cannot be written" in message
    assert "rejects.csv" not in message


BAD = """id,cast,colour,zip/code,flag,count
1,0.5,red,00123,true,1
2,1e999,red,00123,true,1
3,0.5,"two

lines",00123,true,1
4,0.5,red,,maybe,1.5

5,0.5,red,00456,true,3000
"""


def test_rows_that_fail_a_check_are_an_error_or_set_aside(
    binary_project: Path,
    tmp_path: Path,
) -> None:
    """`row` counts the rows of the file from 0, as pandas does."""
    project = copy_project(binary_project, tmp_path / "project")
    change_settings(project, {"columns": {"count": {"max": 100}}})
    run_stages(project, "calibrate", "calibrate")
    bad = tmp_path / "bad.csv"
    predictions = tmp_path / "p.csv"
    rejects = tmp_path / "r.csv"
    bad.write_text(BAD)
    message = (
        r"bad\.csv, line 3, column cast: (?s:.*)\nThere may be more\.\nWith --rejects"
        r" FILE, "
    )
    with pytest.raises(SystemExit, match=message):
        call_command(project, "predict", bad, "-o", predictions)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "project"]

    bad.write_text(f"{BAD}6,0.5\n7,0.5,red,00123,true,1,more\n")
    options = ("-o", predictions, "--rejects", rejects)
    output = call_command(project, "predict", bad, *options)
    assert r"that the model does not know: 'two\n\nlines' (1)" in output
    assert output.endswith(f"5 of 7 rows were set aside in {rejects}\n")
    assert pd.read_csv(predictions)[["row", "id"]].to_numpy().tolist() == [
        [0, 1],
        [2, 3],
    ]
    expected = [
        ("2,1e999,red,00123,true,1", 3, "cast: .*'1e999'"),
        ("4,0.5,red,,maybe,1.5", 7, "flag: .*'maybe'; count: .*'1.5'; zip/code: .*''"),
        ("5,0.5,red,00456,true,3000", 9, "count: .* 100, got '3000'"),
        ("6,0.5,,,,", 10, "row: .* 6 .* 2"),
        ("7,0.5,red,00123,true,1", 11, "row: .* 6 .* 7; .*'more'"),
    ]
    rejected = pd.read_csv(rejects, dtype=str, keep_default_na=False).to_numpy()
    assert len(rejected) == len(expected)
    for row, (cells, line, reasons) in zip(rejected, expected, strict=True):
        *texts, place, reason = row
        assert ",".join(texts) == cells
        assert place == f"{bad}, line {line}"
        assert re.match(reasons, reason)


def test_evaluate_refuses_a_model_of_another_table_or_positive_class(
    trained_project: TrainedProject,
    tmp_path: Path,
) -> None:
    """The probabilities would be those of the other class."""
    folder = copy_project(trained_project("mixed_binary"), tmp_path / "project")
    change_settings(folder, {"positive": "neg"})
    with pytest.raises(SystemExit, match=r"another table .*: positive differ"):
        run_stages(folder, "evaluate", "evaluate")
    shutil.copy(trained_project("wine") / "models/model.keras", folder / "models")
    with pytest.raises(SystemExit, match=r"another table .*: task, target"):
        run_stages(folder, "evaluate", "evaluate")


# New rows are compared with the summaries of the training rows in the model's file.


def read_training_rows(project: Path) -> pd.DataFrame:
    return pd.read_parquet(project / "data/split/train").drop(columns="y")


def test_only_a_shifted_column_has_drifted(
    binary_project: Path,
    tmp_path: Path,
) -> None:
    """The file of the model is all that is needed."""
    shutil.copy(binary_project / "models/model.keras", tmp_path / "m.keras")
    rows = read_training_rows(binary_project).sample(frac=0.5, random_state=1)
    files = "m.keras", "new.csv"
    rows.to_csv(tmp_path / "new.csv", index=False)
    output = call_command(tmp_path, "drift", *files)
    assert "\nDrift: pass: no column differs by more than 0.1\n" in output
    rows["cast"] += 1
    rows.to_csv(tmp_path / "new.csv", index=False)
    output = call_command(
        tmp_path,
        "drift",
        *files,
        "--json",
        "drift.json",
        exit_code=1,
    )
    assert "\nDrift: fail: cast has drifted; it has " in output
    columns = projects.read_json(tmp_path / "drift.json")["columns"]
    assert [name for name in columns if columns[name]["moved"]] == ["cast"]
    assert columns["cast"]["distance"] > 0.1
    assert columns["cast"]["p_value"] < 0.001


def test_missing_values_and_invalid_cells_are_reported(
    binary_project: Path,
    tmp_path: Path,
) -> None:
    """With the policy `warn`, the exit code is 0 although the verdict is `fail`."""
    project = copy_project(binary_project, tmp_path / "project")
    change_settings(project, drift={"policy": "warn", "attribution": 0.0001})
    run_stages(project, "calibrate", "calibrate")
    rows = read_training_rows(project).astype({"count": object})
    before = rows["cast"].isna().mean()
    rows.loc[::2, "cast"] = np.nan
    rows.loc[5, "count"] = "old"
    rows.to_csv(project / "new.csv", index=False)
    output = call_command(project, "drift", "new.csv")
    after = rows["cast"].isna().mean()
    assert re.search(
        rf"^cast .* missing {after:.1%} \(training {before:.1%}\)$",
        output,
        re.MULTILINE,
    )
    assert re.search(r"(?m)^count .* failed checks: 1$", output)
    assert "Drift: fail: cast has drifted" in output
    assert "; more values are missing: cast;" in output


def test_a_new_category_is_named_and_later_dates_are_only_a_warning(
    trained_project: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    project = trained_project("shops")
    file = tmp_path / "new.csv"
    page = tmp_path / "drift.html"
    new = pd.read_parquet(project / "data/split/train")[["day", "review", "shop_id"]]
    new["day"] = (new["day"] + pd.Timedelta(2000, "D")).dt.strftime("%d.%m.%Y")
    new.to_csv(file, index=False)
    later = call_command(project, "drift", file, "-o", page)
    assert "Drift: warn: day has drifted" in later
    assert "dates do not count, because new rows are usually later" in later
    new.loc[::2, "shop_id"] = "Velo Express"
    new.to_csv(file, index=False)
    output = call_command(project, "drift", file, "-o", page, exit_code=1)
    assert "unknown category 50.0% (training 0.0%): Velo Express" in output
    assert "Velo Express" in page.read_text()


# A labelled file gets the scores that the stage `evaluate` gives the same rows.


@pytest.fixture(scope="module")
def project(binary_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a rule for the threshold, and with a file of additional test rows.

    The file `rows.csv` contains the test rows. The additional test rows are every
    second one of them, and 20 training rows.
    """
    folder = copy_project(binary_project, tmp_path_factory.mktemp("scored") / "project")
    rows = pd.read_parquet(folder / "data/split/test")
    train = pd.read_parquet(folder / "data/split/train")
    rows.to_csv(folder / "rows.csv", index=False)
    (folder / "data/tests").mkdir()
    newer = pd.concat([rows[::2], train[:20]])
    newer[rows.columns].to_csv(folder / "data/tests/newer.csv", index=False)
    settings = {"threshold": {"recall": 0.95}, "tests": ["newer.csv"]}
    limits = {"tests": {"newer": {"accuracy": 0.99}}}
    change_settings(folder, evaluate=settings, gate={"min": limits})
    run_stages(folder, first="calibrate")
    write_lock(folder, (folder / "models/model.keras").read_bytes())
    return folder


def write_lock(folder: Path, model: bytes) -> None:
    """Write the part of dvc.lock that says which model has the scores in `metrics`."""
    stages = {
        "evaluate": {"deps": [{"path": "models/model.keras", "md5": md5_hash(model)}]},
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


def score(folder: Path, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Call the command in a folder; return its scores and what it prints."""
    output = call_command(folder, "score", *arguments, "-o", "written.json")
    return projects.read_json(folder / "written.json"), output


def scores_of_rows(folder: Path, row_set: str = "test") -> list[dict[str, Any]]:
    """Return the scores of a set of rows in the last run, as of test rows."""
    scores = projects.read_json(folder / "metrics/scores.json")["scores"]
    return [each | {"row_set": "test"} for each in scores if each["row_set"] == row_set]


def test_labelled_rows_get_the_scores_that_the_gate_limits(
    project: Path,
) -> None:
    scores, output = score(project, "rows.csv")
    assert scores["scores"] == scores_of_rows(project)
    assert len(output.splitlines()) == len(BINARY.metrics) + 2
    assert "not significant" in output
    scores, output = score(project, "data/tests/newer.csv")
    assert scores["scores"] == scores_of_rows(project, "tests.newer")
    assert "warn: 20 of 119 rows are training rows" in output
    gate = projects.read_gate(project)
    assert gate["checks"]["min tests.newer.accuracy"]["status"] == "fail"


def test_baselines_belong_to_the_model_that_is_scored(
    project: Path,
    tmp_path: Path,
) -> None:
    """They have this model's thresholds, and learn from its training rows."""
    folder = copy_project(project, tmp_path / "project")
    write_lock(folder, b"another model")
    scores, _ = score(folder, "rows.csv")
    differing = [
        each for each in scores["scores"] if each not in scores_of_rows(folder)
    ]
    assert {"recall", "precision"} <= {each["metric"] for each in differing}
    assert {each["model"] for each in differing} == {"linear", "gradient_boosting"}
    shutil.copytree(
        folder / "data/split/test",
        folder / "data/split/train",
        dirs_exist_ok=True,
    )
    of_other_rows = score(folder, "rows.csv")
    shutil.rmtree(folder / "data")
    for scores, output in (of_other_rows, score(folder, "rows.csv")):
        assert {each["model"] for each in scores["scores"]} == {"model"}
        assert "No baselines, because data/split/train does not contain the " in output


def test_a_threshold_is_in_the_saved_model_and_in_all_scores(project: Path) -> None:
    scores = read_scores(project)
    recall = scores.value("cross_validation", "recall")
    threshold = scores.threshold
    assert recall
    assert recall >= 0.85  # the threshold of each row is chosen on other folds
    assert threshold
    assert threshold < 0.45
    call_command(project, "predict", "data/raw/t.csv", "-o", "new.csv")
    by_class = pd.read_csv(project / "new.csv").groupby("predicted")["probability_pos"]
    assert by_class.max()["neg"] < threshold + 1e-6
    assert by_class.min()["pos"] > threshold - 1e-6
