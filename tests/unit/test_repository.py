"""The files of the repository agree with the code."""

import re
from collections import defaultdict

import grimp
import pytest
import yaml

from keras_tabular.cli import COMMANDS
from keras_tabular.projects.lock import locked_packages
from tests.commands import check_output, run_command
from tests.documentation import MAKE_VARIABLES, PAGES
from tests.helpers import PROJECT

# The commands and paths of AGENTS.md exist.
PAGE = PAGES["AGENTS.md"]
CODE = re.findall(r"`([^`]+)`", PAGE)


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 60


def test_each_command_exists() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| ", PAGE.partition("## Rules")[0], re.MULTILINE)
    assert len(rows) == 10
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for command in rows:
        program, *arguments = command.split()
        if program == "make":
            check_output(PROJECT, "make", "--dry-run", *arguments, **MAKE_VARIABLES)
        elif program == "dvc":
            *options, change = arguments
            check_output(PROJECT, "dvc", *options[:2], "--help")
            value = params
            for key in change.partition("=")[0].split("."):
                value = value[key]
        else:
            name = arguments[arguments.index("keras_tabular") + 1]
            assert name in COMMANDS
            options = re.findall(r" (--\w+)", command)
            usage = check_output(PROJECT, "python", "-m", "keras_tabular", name, "--help")
            assert [option for option in options if option not in usage] == []
    assert "`python -m keras_tabular docs params`" in PAGE
    assert (PROJECT / "docs/params.md").exists()


def test_each_path_is_in_git_or_is_an_output() -> None:
    paths = {code for code in CODE if re.fullmatch(r"[\w.-]+(/[\w.-]*)*", code)}
    paths = {path for path in paths if "/" in path or "." in path}
    assert len(paths) > 15
    for path in paths - {".venv"}:
        ignored = run_command(PROJECT, "git", "check-ignore", "--quiet", path).returncode == 0
        assert ignored or (PROJECT / path).exists(), path


# `dvc.yaml` tells DVC about all code and all parameters that a stage uses.
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


# The lock files agree on one version of each package, so that all can be installed together.
LOCK_FILES = [PROJECT / "requirements.txt", *PROJECT.glob("requirements/*.txt")]


def test_every_lock_file_has_the_same_version_of_a_package() -> None:
    versions = defaultdict(set)
    for file in LOCK_FILES:
        text = file.read_text()
        assert "index-url" not in text
        assert "://" not in text
        for package, lines in locked_packages(text).items():
            versions[package].add(lines.split()[0])
    assert len(versions) > 150
    assert [package for package, locked in versions.items() if len(locked) > 1] == []


def test_the_image_has_the_tensorflow_of_the_training_and_no_package_to_train() -> None:
    image = locked_packages((PROJECT / "requirements/image.txt").read_text())
    version, cpu_version = (image[name].split()[0] for name in ("tensorflow", "tensorflow-cpu"))
    assert cpu_version == version.replace("tensorflow", "tensorflow-cpu")
    left_out = {"dvc", "duckdb", "scikit-learn", "botocore", "sqlalchemy", "vl-convert-python"}
    assert left_out < {*locked_packages((PROJECT / "requirements.txt").read_text())} - {*image}
