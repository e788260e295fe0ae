"""A checkpoint belongs to one table, one set of parameters and the code that trains."""

import importlib
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keras_tabular.config.sections import Ingest
from keras_tabular.networks.backend import tf
from keras_tabular.training import checkpoint
from network import build
from tests.helpers import PROJECT

identify = partial(checkpoint.identity, sections=[], tables=[], build=build)


def test_the_identity_depends_on_rows_parameters_layers_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, layers = tmp_path / "1", tmp_path / "2", tmp_path / "network.py"
    for folder in (one, two):
        folder.mkdir()
        (folder / "part-00000.parquet").write_text(folder.name)
    identities = [identify(tables=tables) for tables in ([], [one], [two], [one, two], [two, one])]
    identities += [identify(sections=[Ingest(rows_per_part=rows)]) for rows in (10, 20)]
    for units in (3, 4):
        layers.write_text(f"UNITS = {units}\ndef build(): ...\n")
        namespace: dict[str, Any] = {}
        exec(compile(layers.read_text(), layers, "exec"), namespace)
        identities.append(identify(build=namespace["build"]))
    monkeypatch.setattr(tf, "__version__", "1.0")
    identities.append(identify())
    for package in ("keras", "numpy", "pyarrow", "scipy"):
        monkeypatch.setattr(checkpoint, "version", package.__eq__)
        identities.append(identify())
    assert len(set(identities)) == 5 + 2 + 2 + 5


def test_the_identity_depends_only_on_code_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "keras_tabular"
    shutil.copytree(PROJECT / "keras_tabular", code, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(checkpoint, "__file__", str(code / "training/checkpoint.py"))
    trains = {"evaluation": False, "report": False, "core": True, "table": True}
    for package, changes_identity in trains.items():
        identity = identify()
        (code / package / "__init__.py").write_text("# an edit\n")
        assert (identify() != identity) is changes_identity


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
    identity = identify()
    installed.write_text("UNITS = 5\n")
    assert identify() == identity
    module.write_text("UNITS = 5\n")
    assert identify() != identity
