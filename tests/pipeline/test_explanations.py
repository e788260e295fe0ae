"""An explanation that fails costs neither the scores nor the verdict nor the report."""

from pathlib import Path
from typing import Any

import pytest

from tests.commands import call_command
from tests.projects import (
    STAGE_COMMANDS,
    copy_project,
    read_json,
    read_scores,
    run_stages,
)

FAILING = {
    "slices": "inspection.slices.slice_scores",
    "plots": "evaluation.plot_data.compute_plots",
}


def test_an_explanation_that_fails_is_left_out_and_named(
    binary_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("a fault")

    folder = copy_project(binary_project, tmp_path / "project")
    monkeypatch.delenv("TABULAR_STRICT")
    for function in FAILING.values():
        monkeypatch.setattr(f"keras_tabular.{function}", fail)
    run_stages(folder, first="evaluate")
    call_command(folder, "report")

    output, page = capsys.readouterr().out.splitlines(), (folder / "report.html").read_text()
    log = (folder / "evaluate.log").read_text()
    for name in FAILING:
        warning = f"{name}: this explanation is missing, because it failed (evaluate.log)"
        lines = [line for line in output if warning in line]
        assert lines == [f"warn: {warning}: ZeroDivisionError: a fault"] * 2  # evaluate and gate
        assert f"{name}: Traceback" in log
        assert f"{name.capitalize()}: this explanation is missing" in page
    before, after = read_scores(binary_project), read_scores(folder)
    assert after.failed_explanations == dict.fromkeys(FAILING, "ZeroDivisionError: a fault")
    assert after.scores == before.scores
    for path in STAGE_COMMANDS["evaluate"][3:]:
        assert (folder / path).exists()
    for file in ("slices", "effects", "columns", "errors"):
        assert bool(read_json(folder / f"metrics/{file}.json")) is (file not in FAILING)
