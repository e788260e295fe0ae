"""The cells of docs/python.md are those of the notebook, run, and lead to a project."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np

import keras_tabular
from keras_tabular.config.params import load_settings
from tests.commands import check_output
from tests.documentation import MAKE_VARIABLES, PAGES, code_blocks, use_free_port
from tests.helpers import PROJECT
from tests.projects import SHORT_TRAINING, clone, read_json
from tests.tables import load_table

BASH = "%%bash\n"  # a cell that begins with this line contains shell commands
CELLS = []
for language, code in re.findall(
    r"^```(python|sh)\n(.*?)\n```",
    PAGES["docs/python.md"],
    re.MULTILINE | re.DOTALL,
):
    CELLS.append(BASH + code if language == "sh" else code)
SHORT_FITS = f"""
import functools, subprocess, keras_tabular
keras_tabular.TabularClassifier = functools.partial(
    keras_tabular.TabularClassifier, **{SHORT_TRAINING})
"""


def run_cells(project: Path, folder: Path, cells: list[str]) -> str:
    """Run cells in one process that begins in a folder of a clone."""
    (project / ".venv").symlink_to(sys.prefix)
    lines = [SHORT_FITS]
    for cell in cells:
        magic, _, block = cell.partition(BASH)
        if not magic:
            command = ["bash", "-ec", use_free_port(block)]
            cell = f"subprocess.run({command}, check=True)"
        lines.append(cell)
    variables = MAKE_VARIABLES | {"PYTHONPATH": str(project)}
    return check_output(folder, sys.executable, "-c", "\n".join(lines), **variables)


def test_the_notebook_has_the_cells_of_the_page_and_runs(
    origin: Path,
    tmp_path: Path,
) -> None:
    project = clone(origin, tmp_path / "clone")
    cells = []
    for cell in read_json(PROJECT / "examples/notebook.ipynb")["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            cells.append("".join(cell["source"]))
    assert cells[1:] == CELLS[:8]
    cells += code_blocks("README.md", "python")
    output = run_cells(project, project / "examples", cells)
    assert output.count("log loss") == 2
    assert '{"rows":[{"predicted":' in output


def test_a_project_has_the_settings_of_an_estimator(tmp_path: Path) -> None:
    rows = load_table("wine")
    rows["size"] = np.where(rows["ash"] > 2, "groß", "yes")
    features, target = rows.drop(columns="target"), rows["target"]
    estimator = keras_tabular.TabularClassifier(**SHORT_TRAINING, ignore=["ash"])
    estimator.set_params(networks__plain__units=[4]).fit(features, target)
    params_file = shutil.copy(PROJECT / "params.yaml", tmp_path)
    schema_file = tmp_path / "data/schema.yaml"
    schema_file.parent.mkdir()
    schema_file.write_text(
        "{source: data/raw/wine.parquet, columns: {day: {kind: text}}, ignore: [id]}",
    )
    estimator.write_settings(tmp_path)
    schema, params = load_settings("train", project=tmp_path)
    assert schema.source == "data/raw/wine.parquet"
    assert schema.ignore == ("ash", "day", "id")
    assert params.train.networks["plain"].units == (4,)
    assert "; 1: no folds" in Path(params_file).read_text()
    train = params.train.model_dump(exclude={"ignore"})
    copy = keras_tabular.TabularClassifier(schema=schema_file, **train).fit(
        features, target
    )
    np.testing.assert_equal(copy.oof_predictions_, estimator.oof_predictions_)
    schema_file.write_text("{source: a.csv, group: id, columns: {id: {kind: integer}}}")
    estimator.write_settings(tmp_path)
    assert load_settings("train", project=tmp_path)[0].group == "id"
