"""`dvc.yaml` tells DVC about all code and all parameters that a stage uses, and about no more."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.helpers import PROJECT

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
CODE = ("stages", "commands", "tabular")


def script(stage: str) -> Path:
    return PROJECT / f"stages/{stage}.py"


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def sections(stage: str) -> set[str]:
    """The names in the script's calls of `load_params`."""
    calls = [node for node in ast.walk(parse(script(stage))) if isinstance(node, ast.Call)]
    asked = [call.args for call in calls if ast.unparse(call.func) == "load_params"]
    return {ast.literal_eval(name) for names in asked for name in names}


def deciding(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of code that can decide an output: no types, no words for an error."""
    for child in ast.iter_child_nodes(node):
        of_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not of_types and not isinstance(child, ast.ExceptHandler):
            yield child
            yield from deciding(child)


@cache
def imported(path: Path) -> set[Path]:
    """The project's modules that `path` itself imports, at the top or in a function."""
    names = set()
    for node in deciding(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = {PROJECT / f"{name.replace('.', '/')}.py" for name in names}
    return {file for file in files if file.is_file()}


def used(stage: str) -> set[Path]:
    """The script, the sections that it asks for, and all that these import, directly or not."""
    found = set[Path]()
    new = {script(stage)} | {PROJECT / f"tabular/params/{name}.py" for name in sections(stage)}
    while new:
        found |= new
        new = {file for path in new for file in imported(path)} - found
    return found


def modules(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*.py") if file.name != "__init__.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_script_and_every_module_that_it_imports(stage: str) -> None:
    """A folder stands for its modules, and only where the stage uses every one of them."""
    deps = [PROJECT / dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in CODE]
    declared = [file for dep in deps for file in (modules(dep) if dep.is_dir() else [dep])]
    assert len(declared) == len(set(declared))
    assert set(declared) == used(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_that_the_script_asks_for(stage: str) -> None:
    assert set(STAGES[stage].get("params", ())) == sections(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_script_names_no_artifact_and_imports_no_other_script(stage: str) -> None:
    assert {file.relative_to(PROJECT).parts[0] for file in imported(script(stage))} == {"tabular"}
    for artifact in ("data/", "models/", "metrics/"):
        assert artifact not in script(stage).read_text()


def test_the_library_imports_neither_stages_nor_commands() -> None:
    for file in modules(PROJECT / "tabular"):
        for node in ast.walk(parse(file)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("stages", "commands") for name in names), file


def test_every_script_of_a_stage_is_one() -> None:
    assert {file.stem for file in modules(PROJECT / "stages")} == set(STAGES)
