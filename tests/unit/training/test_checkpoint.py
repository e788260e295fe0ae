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


def test_other_rows_parameters_or_order_are_another_training(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    for folder in (one, two):
        folder.mkdir()
        (folder / "part-00000.parquet").write_text(folder.name)
    found = {
        checkpoint.identity([Ingest(rows_per_part=rows)], files, build)
        for rows in (10, 20)
        for files in ([one], [two], [one, two], [two, one])
    }
    assert len(found) == 8


@pytest.mark.parametrize("package", ["keras", "numpy", "pyarrow", "scipy", "tensorflow"])
def test_another_version_of_a_package_is_another_training(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = checkpoint.identity([], [], build)
    monkeypatch.setattr(
        checkpoint, "version", lambda name: "0.0" if name == package else version(name)
    )
    assert checkpoint.identity([], [], build) != key


def test_an_edit_discards_a_checkpoint_only_where_it_is_of_code_that_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "keras_tabular"
    shutil.copytree(PROJECT / "keras_tabular", code, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(checkpoint, "__file__", str(code / "training/checkpoint.py"))
    packages = {"evaluation": False, "report": False, "core": True, "table": True}
    for package, trains in packages.items():
        key = checkpoint.identity([], [], build)
        (code / package / "__init__.py").write_text("# an edit\n")
        assert (checkpoint.identity([], [], build) != key) is trains


def test_an_edit_of_the_layers_discards_a_checkpoint(tmp_path: Path) -> None:
    keys = set()
    for text in ("UNITS = 3\ndef build(): ...\n", "UNITS = 4\ndef build(): ...\n"):
        file = tmp_path / "network.py"
        file.write_text(text)
        spec = importlib.util.spec_from_file_location("network", file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        keys.add(checkpoint.identity([], [], module.build))
    assert len(keys) == 2
