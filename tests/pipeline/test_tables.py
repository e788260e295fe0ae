"""Other tables go from `infer_schema` to scores without a change of the schema."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

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


def test_a_group_is_in_one_subset_and_in_one_fold(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    person = [f"p{number}" for number in rng.integers(0, 40, 400)]
    frame = pd.DataFrame({"x": rng.normal(size=400), "person": person, "y": rng.normal(size=400)})
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
def test_a_table_gets_scores_that_beat_a_constant(name: str, tmp_path: Path) -> None:
    folder = create_project(tmp_path, load_table(name))
    change_settings(folder, train={"folds": 3})
    run_stages(folder)
    scores = read_scores(folder)
    if "mean" in scores["baseline"]:  # regression
        assert scores["test"]["mae"] < 0.8 * scores["baseline"]["mean"]["mae"]
        assert scores["test"]["r2"] > 0.3
    else:
        assert scores["test"]["accuracy_low"] > scores["baseline"]["majority"]["accuracy"]


def test_a_rare_class_goes_through_evaluate_gate_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a rare class, the ranking counts; a small test file has no such score."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=900)
    y = np.array(["a", "b", "c"])[np.digitize(x + rng.normal(size=900) / 2, [0.2, 1.8])]
    subset = np.where(np.arange(900) % 3, "train", "test")
    frame = pd.DataFrame({"x": x.round(3), "subset": subset, "y": y})
    folder = create_project(tmp_path, frame)
    (folder / "data/tests").mkdir()
    frame[:40].to_csv(folder / "data/tests/mixed.csv", index=False)
    frame[y != "c"][:5].to_csv(folder / "data/tests/few.csv", index=False)
    change_settings(
        folder,
        {"split": "subset"},
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


def test_the_order_of_columns_and_line_ends_change_no_output(tmp_path: Path) -> None:
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


def test_rows_that_fail_a_check_stop_validate_or_are_dropped(tmp_path: Path) -> None:
    """Under the policy `error`, validate writes no table; under `drop`, it writes the others."""
    frame = make_mixed_table("binary").sort_values("colour", ascending=False)  # valid rows first
    places = np.flatnonzero(frame["colour"] == "blue, dark")
    folder = create_project(tmp_path, frame)
    change_settings(folder, {"columns": {"colour": {"values": ["red", "green"]}}})
    run_stages(folder, last="ingest")
    completed = run_command(folder, *STAGE_COMMANDS["validate"])
    problem = f"colour: {len(places)} of 600 rows"
    lines = [f"data/raw/t.csv, line {place + 2}" for place in places]  # the header is line 1
    for message in (
        f"{problem} fail values: expected one of ['red', 'green'], got blue, dark, blue, dark",
        f"({lines[0]}; {lines[1]}; ",
        "Set validate.values in params.yaml to drop to set such rows aside, or to warn to keep",
    ):
        assert message in completed.stderr
    assert "Traceback" not in completed.stderr
    assert completed.returncode == 1
    assert not (folder / "data/validated").exists()
    report = json.loads((folder / "metrics/validation.json").read_text())
    assert report["checks"]["colour.values"] == {"failed_rows": len(places), "verdict": "error"}

    change_settings(folder, validate={"values": "drop"})
    assert f"drop: {problem}" in check_output(folder, *STAGE_COMMANDS["validate"])
    valid = pd.read_parquet(folder / "data/validated")
    assert len(valid) == 600 - len(places)
    assert set(valid["colour"].dropna()) == {"red", "green"}
    rejected = pd.read_parquet(folder / "data/rejected")
    assert [*rejected] == [*valid, "rejected_line", "rejected_reason"]
    reason = "colour: expected one of ['red', 'green'], got 'blue, dark'"
    assert set(rejected["rejected_reason"]) == {reason}
    assert rejected["zip/code"].tolist() == frame["zip/code"].iloc[places].tolist()
    assert rejected["rejected_line"].tolist() == lines


def test_a_column_that_is_declared_and_ignored_is_checked_but_not_used(tmp_path: Path) -> None:
    """New rows need not have this column."""
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
    assert [name for name, column in profile.items() if column.get("read") is False] == ["leak"]
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
    message = r"^error: data/raw/t\.csv: expected rows, got only a header$"
    with pytest.raises(SystemExit, match=message):
        run_stages(folder, last="ingest")
    assert not (folder / "data/ingested").exists()
