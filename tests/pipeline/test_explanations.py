"""An explanation that fails costs neither the scores nor the verdict nor the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.commands import call_main
from tests.projects import (
    STAGE_COMMANDS,
    change_settings,
    copy_project,
    create_project,
    read_json,
    read_scores,
    run_stages,
)
from tests.tables import make_mixed_table

EXPLANATIONS = {
    "slices": "inspection.slices.slice_scores",
    "groups": "inspection.groups.add_groups",
    "plots": "evaluation.plot_data.compute_plots",
}


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_an_explanation_that_fails_is_left_out_and_named(
    binary_project: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a fault")

    folder = copy_project(binary_project, tmp_path / "project")
    change_settings(folder, evaluate={"groups": ["colour"]})
    monkeypatch.delenv("TABULAR_STRICT")
    monkeypatch.setattr(f"keras_tabular.{EXPLANATIONS[name]}", fail)
    run_stages(folder, first="evaluate")
    call_main(folder, "keras_tabular.cli.report")

    warning = f"{name}: this explanation is missing, because it failed (evaluate.log)"
    lines = [line for line in capsys.readouterr().out.splitlines() if warning in line]
    assert lines == [f"warn: {warning}: ZeroDivisionError: a fault"] * 2  # evaluate and gate
    assert (folder / "evaluate.log").read_text().startswith(f"{name}: Traceback")
    before, after = read_scores(binary_project), read_scores(folder)
    assert after.pop("failed_explanations") == {name: "ZeroDivisionError: a fault"}
    assert after["test"] == before["test"]
    assert ("groups" in after) is (name != "groups")
    assert "this explanation is missing" in (folder / "report.html").read_text()
    for output in STAGE_COMMANDS["evaluate"][3:]:
        assert (folder / output).exists()
    for file in ("slices", "effects", "columns", "errors"):
        assert bool(read_json(folder / f"metrics/{file}.json")) is (file != name)


def test_equal_rows_with_equal_targets_are_a_slice_without_an_interval(tmp_path: Path) -> None:
    """They are one group, which says nothing about the spread of their errors."""
    frame = make_mixed_table("regression").drop(columns="id")
    frame.loc[:79, frame.columns] = frame.loc[0].to_numpy()
    frame.loc[:79, "colour"] = "alike"
    folder = create_project(tmp_path / "project", frame)
    change_settings(
        folder,
        train={"members": [{"network": "plain"}], "folds": 2, "networks": {"plain": {"epochs": 1}}},
        evaluate={"slices": {"alike": {"colour": ["alike"]}}},
    )
    run_stages(folder)
    call_main(folder, "keras_tabular.cli.report")
    slices = json.loads((folder / "metrics/slices.json").read_text())
    assert "high" not in slices["declared"]["alike"]["cross_validation"]


@pytest.mark.parametrize("name", ["mixed_binary", "mixed_regression", "wine", "shops"])
def test_predictions_of_the_test_rows_name_file_line_and_identifiers(
    trained_project: Any, name: str, tmp_path: Path
) -> None:
    folder = trained_project(name)
    predictions = pd.read_parquet(folder / "data/predictions")
    call_main(folder, "keras_tabular.cli.predict", "data/raw/t.csv", "-o", str(tmp_path / "p.csv"))
    columns = pd.read_csv(tmp_path / "p.csv", nrows=0).columns
    raw = pd.read_csv(folder / "data/raw/t.csv", dtype=str)
    target = raw.columns[-1]
    identifiers = [column for column in columns if column in raw.columns]
    assert identifiers == (["id"] if name.startswith("mixed") else [])
    assert [*predictions] == ["file", "line", *identifiers, "actual", *columns[len(identifiers) :]]
    assert {*predictions["file"]} == {"data/raw/t.csv"}
    rows = raw.iloc[predictions["line"] - 2]
    for column in identifiers:
        assert predictions[column].tolist() == rows[column].tolist()
    actual, expected = predictions["actual"].astype(str), rows[target]
    if predictions["actual"].dtype == float:
        actual, expected = predictions["actual"], expected.astype(float)
    np.testing.assert_array_equal(actual, expected)


def test_rows_that_were_set_aside_do_not_shift_the_lines(tmp_path: Path) -> None:
    """The table is in two files, whose cells have line breaks, and every third row is dropped."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"key": [f"k{n}" for n in range(300)], "x": rng.normal(size=300)})
    frame["words"] = rng.choice(["one\ntwo", "three"], 300)
    frame["y"] = np.where(np.arange(300) % 3 == 1, "", (frame["x"] > 0).astype(int).astype(str))
    folder = create_project(tmp_path / "project", frame)
    change_settings(
        folder,
        {"source": "data/raw"},
        train={"members": [{"network": "plain"}], "folds": 2, "networks": {"plain": {"epochs": 1}}},
    )
    frame[:150].to_csv(folder / "data/raw/t.csv", index=False)
    frame[150:].to_csv(folder / "data/raw/u.csv", index=False)
    run_stages(folder, last="evaluate")
    predictions = pd.read_parquet(folder / "data/predictions")
    assert {*predictions["file"]} == {"data/raw/t.csv", "data/raw/u.csv"}
    for file, line, key in predictions[["file", "line", "key"]].itertuples(index=False):
        text = (folder / file).read_text().splitlines()[line - 1]
        assert text.startswith(f"{key},")
