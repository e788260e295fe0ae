"""The command `predict`: the formats of its files, its checks and its messages."""

import gzip
import re
import shutil
import sys
from collections.abc import Callable
from io import StringIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_tabular.config.schema import load_schema
from tests.commands import call_command, call_main, run_command
from tests.projects import change_settings, copy_project, read_scores, run_stages

TrainedProject = Callable[[str], Path]


def select_outputs(predictions: pd.DataFrame) -> np.ndarray:
    """Return the outputs of the model; shape (rows, outputs)."""
    outputs = predictions.filter(like="probability_")
    outputs = outputs if len(outputs.columns) else predictions[["predicted"]]
    return outputs.to_numpy(np.float32)


@pytest.mark.parametrize("name", ["mixed_binary", "mixed_regression", "wine", "shops"])
def test_test_rows_get_the_predictions_that_evaluate_scored(
    trained_project: TrainedProject, name: str, tmp_path: Path
) -> None:
    """They are equal bit for bit, also from Parquet, and if columns or rows have another order."""
    folder, file, out = trained_project(name), tmp_path / "test.csv", tmp_path / "out.parquet"
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
    assert select_outputs(pd.read_parquet(out))[::-1].tobytes() == expected[1:].tobytes()
    if name == "mixed_regression":  # the intervals are those that evaluate scored
        low, high = predictions["low"], predictions["high"]
        assert predictions["predicted"].between(low, high, inclusive="neither").all()
        coverage = read_scores(folder).interval_coverage
        assert coverage
        inside = rows[schema.target].between(low, high)
        assert coverage.coverage == pytest.approx(inside.mean(), abs=0.006)
        assert coverage.low < coverage.nominal == 0.9 < coverage.high
        assert coverage.mean_width == pytest.approx((high - low).mean(), rel=1e-5)
    elif schema.classes:
        indices = expected.argmax(axis=1) if name == "wine" else (expected[:, 0] >= 0.5).astype(int)
        assert predictions["predicted"].tolist() == np.array(schema.classes)[indices].tolist()


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
    frame = pd.read_csv(tmp_path / "new.csv", dtype={"zip/code": str, "id": str}, na_values="?")
    frame.to_parquet(tmp_path / "new.parquet", index=False)
    for ending in ("csv", "csv.gz", "parquet"):
        output = tmp_path / f"predictions.{ending}"
        call_command(binary_project, "predict", tmp_path / f"new.{ending}", "-o", output)
    text = (tmp_path / "predictions.csv").read_text()
    assert gzip.decompress((tmp_path / "predictions.csv.gz").read_bytes()).decode() == text
    predictions = pd.read_csv(StringIO(text), dtype={"id": str, "probability_pos": np.float32})
    assert [*predictions] == ["id", "predicted", "probability_pos"]
    assert predictions["id"].fillna("").tolist() == ["007", "a, b", ""]
    parquet = pd.read_parquet(tmp_path / "predictions.parquet")
    assert parquet.fillna("").values.tolist() == predictions.fillna("").values.tolist()

    # A copy of the model in another folder predicts the same and makes the same checks.
    shutil.copy(binary_project / "models/model.keras", tmp_path / "m.keras")
    stdin = (tmp_path / "new.csv.gz").open("rb")
    monkeypatch.setattr("sys.stdin", TextIOWrapper(stdin))
    call_main(tmp_path, "keras_tabular.cli.predict", "m.keras")
    piped, messages = capfd.readouterr()
    assert piped == text
    warnings = re.findall(r"^warn: (\S+): 1 of 3 rows .*('\w+') \(1\)$", messages, re.MULTILINE)
    assert warnings == [("colour", "'mauve'"), ("zip/code", "'99999'")]


def test_a_reader_that_stops_ends_the_command_without_a_message(
    binary_project: Path, tmp_path: Path
) -> None:
    rows = (ROWS + ROWS.split("\n", 1)[1] * 5000).replace("99999", "00123")
    (tmp_path / "new.csv").write_text(rows)
    predict = f"{sys.executable} -m keras_tabular predict --rejects {tmp_path}/rejects.csv"
    command = f"cat {tmp_path}/new.csv | {predict} | head -1"
    done = run_command(binary_project, "bash", "-c", f"{command}; echo ${{PIPESTATUS[1]}}")
    assert (done.stdout, done.stderr) == ("row,id,predicted,probability_pos\n141\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


BAD = """id,cast,colour,zip/code,flag,count
1,0.5,red,00123,true,1
2,1e999,red,00123,true,1
3,0.5,"two

lines",00123,true,1
4,0.5,red,,maybe,1.5

5,0.5,red,00456,true,3000
"""


def test_rows_that_fail_a_check_are_an_error_or_set_aside(
    binary_project: Path, tmp_path: Path
) -> None:
    """`row` counts the rows of the file from 0, as pandas does."""
    project = copy_project(binary_project, tmp_path / "project")
    change_settings(project, {"columns": {"count": {"max": 100}}})
    run_stages(project, "calibrate", "calibrate")
    bad, predictions, rejects = (tmp_path / name for name in ("bad.csv", "p.csv", "r.csv"))
    bad.write_text(BAD)
    message = r"bad\.csv, line 3, column cast: (?s:.*)\nThere may be more\.\nWith --rejects FILE, "
    with pytest.raises(SystemExit, match=message):
        call_command(project, "predict", bad, "-o", predictions)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "project"]

    bad.write_text(f"{BAD}6,0.5\n7,0.5,red,00123,true,1,more\n")
    output = call_command(project, "predict", bad, "-o", predictions, "--rejects", rejects)
    assert r"that the model does not know: 'two\n\nlines' (1)" in output
    assert output.endswith(f"5 of 7 rows were set aside in {rejects}\n")
    assert pd.read_csv(predictions)[["row", "id"]].to_numpy().tolist() == [[0, 1], [2, 3]]
    expected = [
        ("2,1e999,red,00123,true,1", 3, "cast: .*'1e999'"),
        ("4,0.5,red,,maybe,1.5", 7, "flag: .*'maybe'; count: .*'1.5'; zip/code: .*''"),
        ("5,0.5,red,00456,true,3000", 9, "count: .* 100, got '3000'"),
        ("6,0.5,,,,", 10, "row: .* 6 .* 2"),
        ("7,0.5,red,00123,true,1", 11, "row: .* 6 .* 7; .*'more'"),
    ]
    rejected = pd.read_csv(rejects, dtype=str, keep_default_na=False).to_numpy().tolist()
    for (cells, line, reasons), (*texts, place, reason) in zip(expected, rejected, strict=True):
        assert (",".join(texts), place) == (cells, f"{bad}, line {line}")
        assert re.match(reasons, reason)


def test_evaluate_refuses_a_model_of_another_table_or_positive_class(
    trained_project: TrainedProject, tmp_path: Path
) -> None:
    """The probabilities of the other positive class would be those of the other class."""
    folder = copy_project(trained_project("mixed_binary"), tmp_path / "project")
    change_settings(folder, {"positive": "neg"})
    with pytest.raises(SystemExit, match=r"another table .*: positive differ"):
        run_stages(folder, "evaluate", "evaluate")
    shutil.copy(trained_project("wine") / "models/model.keras", folder / "models")
    with pytest.raises(SystemExit, match=r"another table .*: task, target"):
        run_stages(folder, "evaluate", "evaluate")
