"""Tests of the layout of reports of each task; `--keep-screenshots FOLDER` saves screenshots."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.commands import call_main, check_output
from tests.pages import CLASSIFICATION_PICTURES, WIDTHS, check_content, check_layout
from tests.projects import copy_project
from tests.tables import load_table

TABLES = {
    "diabetes": [*CLASSIFICATION_PICTURES, "Threshold"],
    "wine": CLASSIFICATION_PICTURES,
    "mixed_regression": ["Predicted and true values"],
}


@pytest.mark.parametrize("table", TABLES)
def test_report_at_three_widths_light_and_dark(
    table: str, reproduced: Path, browser: Any, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    folder = copy_project(reproduced, tmp_path / table)
    if table != "diabetes":
        frame = load_table(table)
        frame.to_csv(folder / "data/raw/other.csv", index=False)
        arguments = ("data/raw/other.csv", f"--target={frame.columns[-1]}")
        call_main(folder, "keras_tabular.cli.infer_schema", *arguments)
        check_output(folder, "dvc", "repro")
    output = check_output(folder, "python", "-m", "keras_tabular", "report")
    assert ("Not compared: " in output) == (table != "diabetes")
    screenshots = pytestconfig.getoption("--keep-screenshots")
    pictures, page = screenshots and Path(screenshots), folder / "report.html"
    for width, scheme in product(WIDTHS, ("light", "dark")):
        check_layout(browser, page, width, scheme, pictures)
    check_content(page, browser, TABLES[table])
