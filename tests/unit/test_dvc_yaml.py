"""`dvc.yaml` tells DVC about all code and all parameters that a stage uses."""

import re

import grimp
import pytest
import yaml

from tests.helpers import PROJECT

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
GRAPH = grimp.build_graph("stages", "keras_tabular", exclude_type_checking_imports=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_code_that_it_imports_and_the_params_that_it_loads(stage: str) -> None:
    imported = GRAPH.find_upstream_modules(f"stages.{stage}") - {"stages", "keras_tabular"}
    packages = {"/".join(module.split(".")[:2]) for module in imported}
    deps = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("stages", "keras_tabular"))}
    assert deps == packages | {f"stages/{stage}.py"}
    script = (PROJECT / f"stages/{stage}.py").read_text()
    assert ("network.py" in STAGES[stage]["deps"]) is ("from network import" in script)
    loaded = re.findall(r'"(\w+)"', "".join(re.findall(r"load_params\(([^)]*)\)", script)))
    assert STAGES[stage].get("params", []) == sorted(loaded)
