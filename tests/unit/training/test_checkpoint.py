"""A checkpoint belongs to one table, one set of parameters and the code that trains."""

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from keras_tabular.config.sections import Ingest
from keras_tabular.training import checkpoint
from network import build
from tests.helpers import PROJECT


def test_the_identity_depends_on_rows_parameters_and_the_order_of_tables(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    for folder in (one, two):
        folder.mkdir()
        (folder / "part-00000.parquet").write_text(folder.name)
    identities = {
        checkpoint.identity([Ingest(rows_per_part=rows)], tables, build)
        for rows in (10, 20)
        for tables in ([one], [two], [one, two], [two, one])
    }
    assert len(identities) == 8


def test_the_identity_depends_on_versions_and_only_on_code_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identities = set()
    for package in ("", "keras", "numpy", "pyarrow", "scipy", "tensorflow"):
        monkeypatch.setattr(checkpoint, "version", package.__eq__)
        identities.add(checkpoint.identity([], [], build))
    assert len(identities) == 6
    code = tmp_path / "keras_tabular"
    shutil.copytree(PROJECT / "keras_tabular", code, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(checkpoint, "__file__", str(code / "training/checkpoint.py"))
    trains = {"evaluation": False, "report": False, "core": True, "table": True}
    for package, changes_identity in trains.items():
        identity = checkpoint.identity([], [], build)
        (code / package / "__init__.py").write_text("# an edit\n")
        assert (checkpoint.identity([], [], build) != identity) is changes_identity


def test_the_identity_depends_on_the_modules_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as those that network.py imports."""
    module = tmp_path / "project/my_blocks.py"
    installed = tmp_path / "project/.venv/lib/site-packages/my_package.py"
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    for file in (module, installed):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("UNITS = 3\n")
        monkeypatch.syspath_prepend(file.parent)
        importlib.import_module(file.stem)
    monkeypatch.chdir(module.parent)
    identity = checkpoint.identity([], [], build)
    installed.write_text("UNITS = 5\n")
    assert checkpoint.identity([], [], build) == identity
    module.write_text("UNITS = 5\n")
    assert checkpoint.identity([], [], build) != identity


def test_the_identity_depends_on_the_file_of_the_layers(tmp_path: Path) -> None:
    file, identities = tmp_path / "network.py", set()
    for text in ("UNITS = 3\ndef build(): ...\n", "UNITS = 4\ndef build(): ...\n"):
        file.write_text(text)
        namespace: dict[str, Any] = {}
        exec(compile(text, file, "exec"), namespace)
        identities.add(checkpoint.identity([], [], namespace["build"]))
    assert len(identities) == 2
