"""`dvc.yaml` tells DVC about all code and all parameters that a stage uses, and about no more."""

import re
from pathlib import Path

import grimp
import pytest
import yaml

from tests.helpers import PROJECT

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
GRAPH = grimp.build_graph("stages", "tabular", exclude_type_checking_imports=True)
GRAPH.remove_module("tabular.mistakes")  # words for an error decide no output


def modules(folder: Path) -> set[Path]:
    return {file for file in folder.rglob("*.py") if file.name != "__init__.py"}


def sections(stage: str) -> set[str]:
    """The names in the script's calls of `load_params`."""
    calls = re.findall(r"load_params\(([^)]*)\)", (PROJECT / f"stages/{stage}.py").read_text())
    return set(re.findall(r'"(\w+)"', " ".join(calls)))


def used(stage: str) -> set[Path]:
    """The script, the sections that it asks for, and all that these import, directly or not."""
    found = {f"stages.{stage}"} | {f"tabular.params.{name}" for name in sections(stage)}
    found = found.union(*map(GRAPH.find_upstream_modules, found))
    return {file for name in found if (file := PROJECT / f"{name.replace('.', '/')}.py").is_file()}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_script_and_every_module_that_it_imports(stage: str) -> None:
    """A folder stands for its modules, and only where the stage uses every one of them."""
    deps = [PROJECT / dep for dep in STAGES[stage]["deps"] if dep.startswith(("stages", "tabular"))]
    declared = [file for dep in deps for file in (modules(dep) if dep.is_dir() else [dep])]
    assert len(declared) == len(set(declared))
    assert set(declared) == used(stage)


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_that_the_script_asks_for_and_it_names_no_artifact(
    stage: str,
) -> None:
    assert set(STAGES[stage].get("params", ())) == sections(stage)
    script = (PROJECT / f"stages/{stage}.py").read_text()
    assert not any(artifact in script for artifact in ("data/", "models/", "metrics/"))
    assert GRAPH.find_upstream_modules(f"stages.{stage}") & {f"stages.{s}" for s in STAGES} == set()


def test_every_script_of_a_stage_is_one() -> None:
    assert {file.stem for file in modules(PROJECT / "stages")} == set(STAGES)
