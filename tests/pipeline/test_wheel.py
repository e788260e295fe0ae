"""The wheel: the same bytes each time, and all that the commands need outside of a clone."""

import os
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.commands import check_output
from tests.helpers import PROJECT
from tests.projects import clone


@pytest.fixture(scope="module")
def wheel(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel in a clone."""
    pytest.importorskip("hatchling")
    return build(clone(origin, tmp_path_factory.mktemp("clone") / "project"))


def build(folder: Path) -> Path:
    check_output(folder, sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "built")
    (wheel,) = folder.glob("built/keras_tabular-*-py3-none-any.whl")
    return wheel


def test_two_builds_are_the_same_file(wheel: Path, origin: Path, tmp_path: Path) -> None:
    folder = clone(origin, tmp_path / "another clone")
    for path in folder.rglob("*.py"):
        os.utime(path, (10**9, 10**9))
    assert build(folder).read_bytes() == wheel.read_bytes()


def test_it_works_in_an_empty_folder(wheel: Path, binary_project: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as file:
        file.extractall(tmp_path / "installed")
    (scripts,) = tmp_path.glob("installed/*.dist-info/entry_points.txt")
    assert "keras-tabular = keras_tabular.__main__:main" in scripts.read_text()
    assert (tmp_path / "installed/keras_tabular/py.typed").exists()
    folder = tmp_path / "empty"
    folder.mkdir()

    def keras_tabular(*arguments: str) -> str:
        command = (sys.executable, "-m", "keras_tabular", *arguments)
        return check_output(folder, *command, PYTHONPATH=str(tmp_path / "installed"))

    assert keras_tabular("docs", "schema") == (PROJECT / "docs/schema.md").read_text()
    model, table = binary_project / "models/model.keras", binary_project / "data/raw/t.csv"
    assert len(keras_tabular("predict", str(model), str(table)).splitlines()) == 601
    page = keras_tabular("drift", str(model), str(table))
    assert "Drift: " in page
    assert (folder / "drift.html").exists()


def test_it_holds_the_library_alone(wheel: Path) -> None:
    with ZipFile(wheel) as file:
        names = file.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"keras_tabular"}
    pages = {name for name in names if name.startswith("keras_tabular/docs/")}
    assert pages == {f"keras_tabular/docs/{path.name}" for path in PROJECT.glob("docs/*.md")}
