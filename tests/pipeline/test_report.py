"""Tests of the report: its content, and its layout at a desk and on a phone."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests import pages, projects
from tests.commands import call_command, check_output
from tests.documentation import PAGES


@pytest.fixture(scope="module")
def reported(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the experiment with its report."""
    folder = projects.copy_project(
        experiment,
        tmp_path_factory.mktemp("reported") / "project",
    )
    call_command(folder, "report")
    return folder


TASK_PICTURES = {
    "diabetes": [*pages.CLASSIFICATION_PICTURES, "Threshold"],
    "wine": pages.CLASSIFICATION_PICTURES,
    "mixed_regression": ["Predicted and true values"],
}


@pytest.mark.parametrize("table", TASK_PICTURES)
def test_layout_at_a_desk_and_on_a_phone(
    table: str,
    reproduced: Path,
    tutorial: Path,
    trained_project: Callable[[str], Path],
    browser: Any,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    page = tmp_path / f"{table}.html"
    if table == "wine":
        shutil.copy(tutorial / "wine/report.html", page)
    else:
        folder = reproduced if table == "diabetes" else trained_project(table)
        call_command(folder, "report", "--output", page)
    screenshots = pytestconfig.getoption("--keep-screenshots")
    for width, scheme in pages.VIEWS:
        pages.check_layout(
            browser,
            page,
            width,
            scheme,
            screenshots and Path(screenshots),
        )
    pages.check_content(page, browser, TASK_PICTURES[table])
    text = pages.Page(page.read_text()).text
    # The alternative text of a picture says what the picture shows.
    description = rf"!\[(.*); (.*)\]\(\S*/{table}-"
    for parts in re.findall(description, "".join(PAGES.values())):
        assert all(part in text for part in parts)


def test_drift_page_shows_column_with_drift(
    short_run: Path,
    browser: Any,
    tmp_path: Path,
) -> None:
    rows = pd.read_csv(short_run / "data/raw/diabetes.csv").drop(columns="Outcome")
    rows["Glucose"] += 30
    rows.to_csv(tmp_path / "new.csv", index=False)
    page = tmp_path / "drift.html"
    call_command(short_run, "drift", tmp_path / "new.csv", "-o", page, exit_code=1)
    for width, scheme in pages.VIEWS:
        pages.open_page(browser, page.as_uri(), width, scheme)
        pages.check_texts(browser, width)
    assert pages.picture_titles(browser) == ["Glucose"]
    assert pages.Page(page.read_text()).loads == []
    assert "There is drift in columns that matter" in pages.Page(page.read_text()).text


def test_page_shows_both_runs(reported: Path) -> None:
    text = pages.Page((reported / "report.html").read_text()).text
    reason = projects.read_gate(reported)["reason"].replace(" -", " −")
    for part in (
        reason,
        "train.networks.plain.units",
        "Loss of plain by epoch",
        "(CC0)",
    ):
        assert part in text


def test_page_of_a_run_without_a_verdict_says_so(
    reported: Path,
    tmp_path: Path,
) -> None:
    folder = projects.copy_project(reported, tmp_path / "project")
    (folder / "metrics/gate.json").unlink()
    call_command(folder, "report")
    assert "The gate was not evaluated" in (folder / "report.html").read_text()


def test_base_is_revision_experiment_or_last_other_results(
    reported: Path,
    tmp_path: Path,
) -> None:
    folder = projects.copy_project(reported, tmp_path / "project")
    call_command(folder, "report", "HEAD", "small", "-o", "one.html")
    report = "python -m keras_tabular report HEAD small --output two.html"
    check_output(folder, report)
    assert (folder / "one.html").read_bytes() == (folder / "two.html").read_bytes()

    before = check_output(folder, "git rev-list -1 HEAD -- metrics/metrics.json")[:7]
    check_output(folder, "git commit -qam Smaller")
    output = call_command(folder, "report")
    assert output == f"report.html: workspace compared with {before}\n"
    assert (
        "the last commit that has other results" in (folder / "report.html").read_text()
    )
    with pytest.raises(SystemExit, match=r"error: expected a branch, .*, got 'nope'"):
        call_command(folder, "report", "nope")


def test_page_of_a_comparison_with_500_columns_is_small_and_folded(
    reported: Path,
    browser: Any,
    tmp_path: Path,
) -> None:
    """500 columns are added to the files of a run."""
    folder = projects.copy_project(reported, tmp_path / "wide")
    names = [f"a column with a rather long name, number {n}" for n in range(500)]
    for file, key in (
        ("profile", "column"),
        ("columns", None),
        ("networks", "columns"),
    ):
        path = folder / f"metrics/{file}.json"
        content = projects.read_json(path)
        columns = content[key] if key else content
        columns |= dict.fromkeys(names, columns["Glucose"])
        path.write_text(json.dumps(content))
    projects.change_settings(
        folder,
        {"columns": {name: {"kind": "real"} for name in names}},
    )
    call_command(folder, "report")
    assert (folder / "report.html").stat().st_size < 3_000_000
    for width, scheme in pages.VIEWS:
        pages.check_layout(browser, folder / "report.html", width, scheme)


FAILING = {
    "slices": "explain.slices.slice_scores",
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

    folder = projects.copy_project(binary_project, tmp_path / "project")
    monkeypatch.delenv("TABULAR_STRICT")
    for function in FAILING.values():
        monkeypatch.setattr(f"keras_tabular.{function}", fail)
    projects.run_stages(folder, first="evaluate")
    call_command(folder, "report")

    output = capsys.readouterr().out.splitlines()
    page = (folder / "report.html").read_text()
    log = (folder / "evaluate.log").read_text()
    for name in FAILING:
        warning = (
            f"{name}: this explanation is missing, because it failed (evaluate.log)"
        )
        lines = [line for line in output if warning in line]
        assert lines == [f"warn: {warning}: ZeroDivisionError: a fault"]
        assert f"{name}: Traceback" in log
        assert f"{name.capitalize()}: this explanation is missing" in page
    before = projects.read_scores(binary_project)
    after = projects.read_scores(folder)
    assert after.failed_explanations == dict.fromkeys(
        FAILING,
        "ZeroDivisionError: a fault",
    )
    assert after.scores == before.scores
    for file in ("slices", "effects", "columns", "errors"):
        assert bool(projects.read_json(folder / f"metrics/{file}.json")) is (
            file not in FAILING
        )
