"""An explanation that fails costs neither the scores nor the verdict nor the report."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.commands import call_command
from tests.projects import (
    SHORT_TRAINING,
    STAGE_COMMANDS,
    change_settings,
    copy_project,
    create_project,
    read_json,
    read_scores,
    run_stages,
)

EXPLANATIONS = {
    "slices": "inspection.slices.slice_scores",
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
    monkeypatch.delenv("TABULAR_STRICT")
    monkeypatch.setattr(f"keras_tabular.{EXPLANATIONS[name]}", fail)
    run_stages(folder, first="evaluate")
    call_command(folder, "report")

    warning = f"{name}: this explanation is missing, because it failed (evaluate.log)"
    lines = [line for line in capsys.readouterr().out.splitlines() if warning in line]
    assert lines == [f"warn: {warning}: ZeroDivisionError: a fault"] * 2  # evaluate and gate
    assert (folder / "evaluate.log").read_text().startswith(f"{name}: Traceback")
    before, after = read_scores(binary_project), read_scores(folder)
    assert after.failed_explanations == {name: "ZeroDivisionError: a fault"}
    assert after.scores == before.scores
    assert "this explanation is missing" in (folder / "report.html").read_text()
    for output in STAGE_COMMANDS["evaluate"][3:]:
        assert (folder / output).exists()
    for file in ("slices", "effects", "columns", "errors"):
        assert bool(read_json(folder / f"metrics/{file}.json")) is (file != name)


def test_predictions_of_the_test_rows_name_file_line_and_identifier(tmp_path: Path) -> None:
    """The table is in two files, whose cells have line breaks, and every third row is dropped."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"key": [f"k{n}" for n in range(300)], "x": rng.normal(size=300)})
    frame["words"] = rng.choice(["one\ntwo", "three"], 300)
    frame["y"] = np.where(np.arange(300) % 3 == 1, "", np.where(frame["x"] > 0, "pos", "neg"))
    folder = create_project(tmp_path / "project", frame)
    policies = {"leak": "warn"}  # the target only depends on x
    change_settings(folder, {"source": "data/raw"}, train=SHORT_TRAINING, validate=policies)
    frame[:150].to_csv(folder / "data/raw/t.csv", index=False)
    frame[150:].to_csv(folder / "data/raw/u.csv", index=False)
    run_stages(folder, last="evaluate")
    predictions = pd.read_parquet(folder / "data/predictions")
    names = ["file", "line", "key", "actual", "predicted", "probability_pos"]
    assert [*predictions] == names
    assert {*predictions["file"]} == {"data/raw/t.csv", "data/raw/u.csv"}
    rows = frame.set_index("key").loc[predictions["key"]]
    assert predictions["actual"].tolist() == rows["y"].tolist()
    for file, line, key in predictions[["file", "line", "key"]].itertuples(index=False):
        text = (folder / file).read_text().splitlines()[line - 1]
        assert text.startswith(f"{key},")
