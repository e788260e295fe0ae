"""Tests of the report: its content, and its layout at a desk and on a phone."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from keras_tabular.experiments.comparison import Comparison
from keras_tabular.experiments.paired import paired_differences
from keras_tabular.experiments.run import WORKSPACE, Run
from keras_tabular.report.page import UNDECIDED_NOTE
from tests.commands import call_main, check_output
from tests.pages import (
    CLASSIFICATION_PICTURES,
    CUT_TEXTS_SCRIPT,
    WIDTHS,
    Page,
    check_content,
    check_layout,
    open_page,
    picture_titles,
)
from tests.projects import change_settings, copy_project, read_scores

REPORT = "keras_tabular.cli.report"


@pytest.fixture(scope="module")
def reported(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the experiment with its report."""
    folder = copy_project(experiment, tmp_path_factory.mktemp("reported") / "project")
    call_main(folder, REPORT)
    return folder


def test_layout_at_a_desk_and_on_a_phone_in_the_dark(reported: Path, browser: Any) -> None:
    page = reported / "report.html"
    for width, scheme in ((1280, "light"), (390, "dark")):
        check_layout(browser, page, width, scheme)
    check_content(page, browser, [*CLASSIFICATION_PICTURES, "Threshold"])


def test_drift_page_shows_column_with_drift(short_run: Path, browser: Any, tmp_path: Path) -> None:
    rows = pd.read_csv(short_run / "data/raw/diabetes.csv").drop(columns="Outcome")
    rows["Glucose"] += 30
    rows.to_csv(tmp_path / "new.csv", index=False)
    page = tmp_path / "drift.html"
    with pytest.raises(SystemExit, match="1"):
        call_main(short_run, "keras_tabular.cli.drift", str(tmp_path / "new.csv"), "-o", str(page))
    for width, scheme in product(WIDTHS, ("light", "dark")):
        open_page(browser, page, width, scheme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script(CUT_TEXTS_SCRIPT) == []
    assert picture_titles(browser) == ["Glucose"]
    assert Page(page.read_text()).loads == []
    assert "There is drift in columns that matter" in Page(page.read_text()).text


def test_page_shows_both_runs(reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page shows the comparison of the files in metrics/ and of dvc.lock."""
    monkeypatch.chdir(reported)
    comparison = Comparison(Run(WORKSPACE), Run("HEAD"))
    assert ("train.networks.plain.units", [4], [16]) in comparison.params
    assert (comparison.data, comparison.code, comparison.packages) == ([], [], [])
    verdict, scores = comparison.verdict, read_scores(reported)
    assert verdict
    assert verdict.to_json() == json.loads((reported / "metrics/gate.json").read_text())
    for key, score in comparison.scores["test"].items():
        assert score.value == scores["test"][key]
        assert score.base
        assert score.base.interval  # both have the same test rows
        assert score.base.interval[0] <= score.base.difference <= score.base.interval[1]
    text = Page((reported / "report.html").read_text()).text
    reason = verdict.reason.replace(" -", " −")
    for expected in (verdict.headline, reason, "Loss of plain by epoch", "(CC0)"):
        assert expected in text
    assert text.count(UNDECIDED_NOTE) == (verdict.status == "undecided")


def test_base_is_revision_experiment_or_last_other_results(
    reported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copy_project(reported, tmp_path / "project")
    call_main(folder, REPORT, "HEAD", "small", "-o", "one.html")
    report = ("python", "-m", "keras_tabular", "report", "HEAD", "small")
    check_output(folder, *report, "--output", "two.html")
    assert (folder / "one.html").read_bytes() == (folder / "two.html").read_bytes()

    before = check_output(folder, "git", "rev-list", "-1", "HEAD", "--", "metrics/metrics.json")[:7]
    check_output(folder, "git", "commit", "-qam", "Smaller")
    capsys.readouterr()
    call_main(folder, REPORT)
    assert capsys.readouterr().out == f"report.html: workspace compared with {before}\n"
    assert "the last commit that has other results" in (folder / "report.html").read_text()
    with pytest.raises(SystemExit, match=r"error: expected a branch, .*, got 'nope'"):
        call_main(folder, REPORT, "nope")

    monkeypatch.chdir(folder)
    assert paired_differences(Run(WORKSPACE), Run(before)).keys() >= {"accuracy", "roc_auc"}
    rows = pd.read_csv("metrics/plots/test_rows.csv")
    rows.assign(y=1 - rows["y"]).to_csv("metrics/plots/test_rows.csv", index=False)
    assert paired_differences(Run(WORKSPACE), Run(before)) == {}  # other labels


def test_page_of_500_columns_is_small_and_folded(
    reported: Path, browser: Any, tmp_path: Path
) -> None:
    """500 columns are added to the files of a run."""
    folder = copy_project(reported, tmp_path / "wide")
    names = [f"a column with a rather long name, number {n}" for n in range(500)]
    for file, key in (("profile", "column"), ("columns", None), ("networks", "columns")):
        path = folder / f"metrics/{file}.json"
        content = json.loads(path.read_text())
        columns = content[key] if key else content
        columns |= dict.fromkeys(names, columns["Glucose"])
        path.write_text(json.dumps(content))
    change_settings(folder, {"columns": {name: {"kind": "real"} for name in names}})
    call_main(folder, REPORT)
    assert (folder / "report.html").stat().st_size < 3_000_000
    check_layout(browser, folder / "report.html", 390, "light")
