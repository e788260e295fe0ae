"""`dvc.yaml` tells DVC about all code and all parameters that a stage uses."""

import ast
from pathlib import Path

import pytest
import yaml

from tests.conftest import PROJECT

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]


def imported_files(path: Path) -> set[Path]:
    """The project's modules that `path` imports, directly or not, at the top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = {PROJECT / f"{name.replace('.', '/')}.py" for name in names}
    found = {file for file in files if file.is_file()}
    return found.union(*(imported_files(file) for file in found))


def sections_read(path: Path) -> set[str]:
    """The attributes that a script takes from what `load_params` returned."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            value = node.value
            loaded = isinstance(value, ast.Call) and ast.unparse(value.func) == "load_params"
            if loaded or (isinstance(value, ast.Name) and value.id == "params"):
                found.add(node.attr.rstrip("_"))
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_script_and_every_module_that_it_imports(stage: str) -> None:
    script = PROJECT / f"stages/{stage}.py"
    declared = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    used = {str(file.relative_to(PROJECT)) for file in imported_files(script) | {script}}
    assert declared == used


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_that_the_script_reads(stage: str) -> None:
    assert set(STAGES[stage]["params"]) == sections_read(PROJECT / f"stages/{stage}.py")


@pytest.mark.parametrize("stage", STAGES)
def test_a_script_names_no_artifact_and_imports_no_other_script(stage: str) -> None:
    script = PROJECT / f"stages/{stage}.py"
    assert all(file.parent.name == "lib" for file in imported_files(script))
    for artifact in ("data/", "models/", "metrics/"):
        assert artifact not in script.read_text()
