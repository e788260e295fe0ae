"""Other people's tables run from `infer_schema` to scores without an edit by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.config.schema import load_schema
from tests.commands import call_main, check_output, run_command
from tests.projects import (
    SHORT_TRAINING,
    STAGE_COMMANDS,
    change_settings,
    create_project,
    read_scores,
    run_stages,
)
from tests.tables import load_table, make_mixed_table


def test_a_group_is_in_one_share_and_in_one_fold(tmp_path: Path) -> None:
    """Of generated persons, each with several rows."""
    rng = np.random.default_rng(0)
    person = rng.integers(0, 40, 400)
    frame = pd.DataFrame({"x": rng.normal(size=400), "person": [f"p{n}" for n in person]})
    frame["y"] = rng.normal(size=400)
    folder = create_project(tmp_path, frame)
    change_settings(folder, {"group": "person"}, split={"by": "group"}, train=SHORT_TRAINING)
    run_stages(folder, last="train")
    train, test = (pd.read_parquet(folder / f"data/split/{name}") for name in ("train", "test"))
    assert len(train) + len(test) == 400
    assert 0.2 < len(test) / 400 < 0.45
    assert not set(train["person"]) & set(test["person"])
    fold = pd.read_parquet(folder / "data/oof")["fold"]
    assert fold.nunique() == 2
    assert (train.assign(fold=fold).groupby("person")["fold"].nunique() == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["iris", "breast_cancer", "diabetes", "mixed_binary", "mixed_regression"]
)
def test_a_table_runs_to_scores_that_beat_the_simplest_baseline(name: str, tmp_path: Path) -> None:
    """As it comes, but for fewer folds; the README has another one."""
    folder = create_project(tmp_path, load_table(name))
    change_settings(folder, train={"folds": 3})
    run_stages(folder)
    metrics = read_scores(folder)
    if load_schema(folder / "data/schema.yaml").task == "regression":
        assert metrics["test"]["mae"] < 0.8 * metrics["baseline"]["mean"]["mae"]
        assert metrics["test"]["r2"] > 0.3
    else:
        assert metrics["test"]["accuracy_low"] > metrics["baseline"]["majority"]["accuracy"]


def three_classes(rows: int = 900) -> pd.DataFrame:
    """Rows of which few are of class c; `part` is whether they are training or test rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    y = np.array(["a", "b", "c"])[np.digitize(x + rng.normal(size=rows) / 2, [0.2, 1.8])]
    part = np.where(np.arange(rows) % 3, "train", "test")
    return pd.DataFrame({"x": x.round(3), "part": part, "y": y})


def test_a_rare_class_goes_through_evaluate_gate_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ranking decides; an additional test file of few rows leaves it undefined."""
    frame = three_classes()
    folder = create_project(tmp_path, frame)
    rare = frame["y"] == "c"
    for name, rows in {"mixed": frame[:40], "few": frame[~rare][:5]}.items():
        (folder / "data/tests").mkdir(exist_ok=True)
        rows.to_csv(folder / f"data/tests/{name}.csv", index=False)
    change_settings(
        folder,
        {"split": "part"},
        split={"by": "column"},
        train=SHORT_TRAINING,
        evaluate={"tests": ["mixed.csv", "few.csv"]},
        gate={"lowest": {"test": {"macro": {"roc_auc": 0.01}}}},
    )
    run_stages(folder)
    call_main(folder, "keras_tabular.cli.report")
    lines = capsys.readouterr().out.splitlines()
    scores, gate = read_scores(folder), json.loads((folder / "metrics/gate.json").read_text())
    assert scores["primary_metrics"] == ["macro.roc_auc", "macro.average_precision"]
    assert "roc_auc" in scores["test"]["macro"]
    assert "roc_auc" not in scores["tests"]["few"]["macro"]
    (line,) = [line for line in lines if line.startswith("ROC AUC: ")]
    assert " test rows (95% CI 0." in line
    (line,) = [line for line in lines if line.startswith("few.csv: Accuracy: ")]
    assert " on 5 test rows; logistic regression" in line
    assert lines[-2] == f"Gate: {gate['verdict']}. {gate['reason']}."
    page = (folder / "report.html").read_text()
    assert all(text in page for text in ("few: 5 rows of an additional test file", "each class"))


def test_other_column_order_and_line_ends_give_the_same_outputs(tmp_path: Path) -> None:
    frame = make_mixed_table("binary")
    plain = create_project(tmp_path / "plain", frame)
    other = create_project(tmp_path / "other", frame)
    shuffled = frame[[*frame.columns[::-1]]]
    shuffled.to_csv(other / "data/raw/t.csv", index=False, lineterminator="\r\n")
    for folder in (plain, other):
        run_stages(folder, last="split")
    files = [file.relative_to(plain) for file in (plain / "data").rglob("*.parquet")]
    assert len(files) >= 6
    for file in [*files, Path("metrics/profile.json"), Path("metrics/validation.json")]:
        assert (plain / file).read_bytes() == (other / file).read_bytes(), file


def test_rows_that_fail_end_validate_with_lines_or_are_set_aside(tmp_path: Path) -> None:
    """Under `error` nothing is written that a later stage reads; under `drop` the rest goes on."""
    frame = make_mixed_table("binary").sort_values("colour", ascending=False)  # right ones first
    places = np.flatnonzero(frame["colour"] == "blue, dark")
    wrong, first = len(places), places[0] + 2  # the header is line 1
    folder = create_project(tmp_path, frame)
    schema = folder / "data/schema.yaml"
    text = schema.read_text()
    assert "colour: {kind: category," in text
    values = "colour: {kind: category, values: [red, green],"
    schema.write_text(text.replace("colour: {kind: category,", values))
    run_stages(folder, last="ingest")
    done = run_command(folder, *STAGE_COMMANDS["validate"])
    assert done.returncode == 1
    assert f"colour: {wrong} of 600 rows fail values: found blue, dark, blue, dark" in done.stderr
    assert f"(data/raw/t.csv: line {first}; data/raw/t.csv: line {first + 1}; " in done.stderr
    assert "validate.values in params.yaml: drop sets such rows aside, warn" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "data/validated").exists()
    report = json.loads((folder / "metrics/validation.json").read_text())
    assert report["checks"]["colour.values"] == {"failed_rows": wrong, "verdict": "error"}

    change_settings(folder, validate={"values": "drop"})
    assert f"drop: colour: {wrong} of 600 rows" in check_output(folder, *STAGE_COMMANDS["validate"])
    kept = pd.read_parquet(folder / "data/validated")
    assert len(kept) == 600 - wrong
    assert set(kept["colour"].dropna()) == {"red", "green"}
    rejected = pd.read_parquet(folder / "data/rejected")
    assert [*rejected] == [*kept, "rejected_line", "rejected_reason"]
    reason = "colour: found 'blue, dark'; expected one of ['red', 'green']"
    assert set(rejected["rejected_reason"]) == {reason}
    assert rejected["zip/code"].tolist() == frame["zip/code"].iloc[places].tolist()
    lines = [f"data/raw/t.csv: line {place + 2}" for place in places]
    assert rejected["rejected_line"].tolist() == lines


def test_a_column_that_is_declared_and_ignored_is_checked_and_not_read(tmp_path: Path) -> None:
    """A leak that keeps its line in `columns`; new rows need not have it."""
    frame = make_mixed_table("binary").drop(columns="id")
    frame.insert(0, "leak", np.where(frame["y"] == "pos", 1.5, 0.5))
    folder = create_project(tmp_path, frame)
    leak = {"kind": "real", "max": 1.0}
    ignored: dict[str, Any] = {"ignore": ["leak"], "columns": {"leak": leak}}
    change_settings(folder, ignored, train=SHORT_TRAINING)
    with pytest.raises(SystemExit, match=r"leak: \d+ of 600 rows fail range"):
        run_stages(folder, last="validate")
    change_settings(folder, {"columns": {"leak": {"max": 2.0}}})
    run_stages(folder)
    assert read_scores(folder)["baseline"]["gradient_boosting"]["accuracy"] < 1
    profile = json.loads((folder / "metrics/profile.json").read_text())["column"]
    assert [name for name, of in profile.items() if of.get("read") is False] == ["leak"]
    call_main(folder, "keras_tabular.cli.report")
    assert (folder / "report.html").read_text().count("not read") == 1
    for command, rows in (
        ("predict", frame.drop(columns=["leak", "y"])),
        ("drift", frame.drop(columns=["leak", "y"])),
        ("score", frame.drop(columns="leak")),
    ):
        rows.to_csv(folder / "new.csv", index=False)
        options = ["-o", "without.csv"] if command == "predict" else []
        call_main(folder, f"keras_tabular.cli.{command}", "new.csv", *options)


def test_a_header_without_rows_ends_ingest_without_an_output(tmp_path: Path) -> None:
    folder = create_project(tmp_path, make_mixed_table("binary"))
    make_mixed_table("binary")[:0].to_csv(folder / "data/raw/t.csv", index=False)
    message = r"^error: data/raw/t\.csv: found a header and no rows; expected some$"
    with pytest.raises(SystemExit, match=message):
        run_stages(folder, last="ingest")
    assert not (folder / "data/ingested").exists()
