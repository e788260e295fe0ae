"""A checkpoint belongs to one table, one set of parameters and the code that trains."""

import importlib.util
import shutil
from importlib.metadata import version
from pathlib import Path

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


@pytest.mark.parametrize("package", ["keras", "numpy", "pyarrow", "scipy", "tensorflow"])
def test_the_identity_depends_on_the_version_of_each_package(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = checkpoint.identity([], [], build)
    monkeypatch.setattr(
        checkpoint, "version", lambda name: "0.0" if name == package else version(name)
    )
    assert checkpoint.identity([], [], build) != identity


def test_the_identity_depends_only_on_code_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "keras_tabular"
    shutil.copytree(PROJECT / "keras_tabular", code, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(checkpoint, "__file__", str(code / "training/checkpoint.py"))
    trains = {"evaluation": False, "report": False, "core": True, "table": True}
    for package, changes_identity in trains.items():
        identity = checkpoint.identity([], [], build)
        (code / package / "__init__.py").write_text("# an edit\n")
        assert (checkpoint.identity([], [], build) != identity) is changes_identity


def test_the_identity_depends_on_the_file_of_the_layers(tmp_path: Path) -> None:
    identities = set()
    for text in ("UNITS = 3\ndef build(): ...\n", "UNITS = 4\ndef build(): ...\n"):
        file = tmp_path / "network.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location("network", file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        identities.add(checkpoint.identity([], [], module.build))
    assert len(identities) == 2
