"""The wheel has the same bytes each time, and contains what the commands need."""

import os
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.commands import check_output
from tests.helpers import PROJECT
from tests.projects import clone


def build(folder: Path) -> Path:
    check_output(folder, sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "built")
    (wheel,) = folder.glob("built/keras_tabular-*-py3-none-any.whl")
    return wheel


def test_two_builds_have_same_bytes_and_contain_only_library(origin: Path, tmp_path: Path) -> None:
    """tests/pipeline/test_new_project.py runs a project with an installed wheel."""
    pytest.importorskip("hatchling")
    folder, other = clone(origin, tmp_path / "clone"), clone(origin, tmp_path / "another clone")
    for path in other.rglob("*.py"):
        os.utime(path, (10**9, 10**9))
    wheel = build(folder)
    assert build(other).read_bytes() == wheel.read_bytes()
    with ZipFile(wheel) as file:
        names = set(file.namelist())
        (metadata,) = {name.split("/")[0] for name in names} - {"keras_tabular"}
        file.extractall(tmp_path / "installed")
        entry_points = file.read(f"{metadata}/entry_points.txt").decode()
    assert metadata.endswith(".dist-info")
    assert "keras-tabular = keras_tabular.__main__:main" in entry_points
    pages = {f"keras_tabular/docs/{page.name}" for page in PROJECT.glob("docs/*.md")}
    assert pages | {"keras_tabular/py.typed", "keras_tabular/CHANGELOG.md"} < names
    docs = (sys.executable, "-m", "keras_tabular", "docs", "schema")
    output = check_output(tmp_path, *docs, PYTHONPATH=str(tmp_path / "installed"))
    assert output == (PROJECT / "docs/schema.md").read_text()
