"""`dvc.yaml` tells DVC about all code and all parameters that a stage uses."""

import ast
import re
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


def params_read(node: ast.AST) -> set[str]:
    """What the code takes from what `load_params` returned, by dotted key."""
    if isinstance(node, ast.Attribute):
        found = re.fullmatch(r"(?:params|load_params\(.*\))\.([\w.]+)", ast.unparse(node))
        if found:
            return {found[1].rstrip("_")}
    return set().union(*(params_read(child) for child in ast.iter_child_nodes(node)))


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_script_and_every_module_that_it_imports(stage: str) -> None:
    script = PROJECT / f"stages/{stage}.py"
    declared = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    used = {str(file.relative_to(PROJECT)) for file in imported_files(script) | {script}}
    assert declared == used


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_that_the_script_reads(stage: str) -> None:
    declared = STAGES[stage]["params"]
    read = params_read(ast.parse((PROJECT / f"stages/{stage}.py").read_text()))
    assert all(any(f"{key}.".startswith(f"{d}.") for d in declared) for key in read)
    assert all(any(f"{key}.".startswith(f"{d}.") for key in read) for d in declared)


@pytest.mark.parametrize("stage", STAGES)
def test_a_script_names_no_artifact_and_imports_no_other_script(stage: str) -> None:
    script = PROJECT / f"stages/{stage}.py"
    assert all(file.parent.name == "lib" for file in imported_files(script))
    for artifact in ("data/", "models/", "metrics/"):
        assert artifact not in script.read_text()
