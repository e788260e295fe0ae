"""The files of the repository agree with the code."""

import re
from collections import defaultdict
from functools import reduce
from operator import getitem
from pkgutil import resolve_name
from typing import Any, get_type_hints

import grimp
import pytest
import yaml

from keras_tabular.cli import COMMANDS
from keras_tabular.config.params import Params
from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.sections import Network
from keras_tabular.core import VERSION
from keras_tabular.new_project.lock import locked_packages
from tests.commands import call_main, check_output, run_command
from tests.documentation import MAKE_VARIABLES, PAGES
from tests.helpers import PROJECT

# The commands and paths of AGENTS.md exist.
PAGE = PAGES["AGENTS.md"]
CODE = re.findall(r"`([^`]+)`", PAGE)


def test_each_command_exists() -> None:
    table = PAGE.partition("## Rules")[0]
    targets = re.findall(r"(?m)^\| `make ([^`]+)`", table)
    changed_keys = re.findall(r"(?m)^\| `dvc exp run -S ([^`=]+)", table)
    commands = re.findall(r"(?m)^\| `python.* keras_tabular (\S+) ", table)
    assert len(targets) == 6
    assert len(changed_keys) == 1
    assert len(commands) == 3
    check_output(PROJECT, "make", "--dry-run", *targets, **MAKE_VARIABLES)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    for key in changed_keys:
        assert reduce(getitem, key.split("."), params) is not None
    assert {*commands} <= {*COMMANDS}


def test_each_path_is_in_git_or_is_an_output() -> None:
    paths = {code for code in CODE if re.fullmatch(r"[\w.-]+(/[\w.-]*)*", code)}
    paths = {path for path in paths if "/" in path or "." in path}
    assert len(paths) > 15
    for path in paths - {".venv"}:
        ignored = (
            run_command(PROJECT, f"git check-ignore --quiet {path}").returncode == 0
        )
        assert ignored or (PROJECT / path).exists(), path


# `dvc.yaml` tells DVC about all code and all parameters that a stage uses.
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
GRAPH = grimp.build_graph("stages", "keras_tabular", exclude_type_checking_imports=True)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_code_that_it_imports_and_the_params_that_it_loads(
    stage: str,
) -> None:
    declared = STAGES[stage]["deps"]
    code = ("stages", "keras_tabular")
    modules = GRAPH.find_upstream_modules(f"stages.{stage}") - {*code}
    packages = {"/".join(module.split(".")[:2]) for module in modules}
    deps = {dep for dep in declared if dep.startswith(code)}
    script = (PROJECT / f"stages/{stage}.py").read_text()
    if re.search("(?m)^ *from (custom|network) import", script):
        packages |= {"keras_tabular/own_parts"}
    assert deps == packages | {f"stages/{stage}.py"}
    assert ("network.py" in declared) is ("from network import" in script)
    arguments = "".join(re.findall(r"load_settings\(([^)]*)\)", script))
    loaded = re.findall(r'"(\w+)"', arguments)
    assert STAGES[stage].get("params", []) == sorted(loaded)


# The lock files agree on one version of each package, so that all can be installed
# together.
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
    training = locked_packages((PROJECT / "requirements.txt").read_text())
    version, *_ = image["tensorflow"].split()
    cpu_version, *_ = image["tensorflow-cpu"].split()
    assert cpu_version == version.replace("tensorflow", "tensorflow-cpu")
    left_out = {"dvc", "duckdb", "scikit-learn", "vl-convert-python"}
    assert left_out < training.keys() - image.keys()


# The commands of `keras-tabular`, their help texts, and the documentation that they
# print.
def run_cli(
    capsys: pytest.CaptureFixture[str],
    *arguments: str,
) -> tuple[Any, str, str]:
    """Run `keras-tabular` in this process. Return the exit code, stdout and stderr."""
    code: Any = 0
    try:
        call_main(PROJECT, "keras_tabular.cli", *arguments)
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_help_describes_each_command_on_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    modules = (PROJECT / "keras_tabular").glob("*/[!_]*.py")
    parser = "def main(parser: ArgumentParser)"
    commands = {
        file.stem.replace("_", "-") for file in modules if parser in file.read_text()
    }
    assert commands == set(COMMANDS)
    _, listing, _ = run_cli(capsys, "--help")
    for command in COMMANDS:
        assert re.search(rf"(?m)^  {command} +\w.+[.?]$", listing)
        code, text, _ = run_cli(capsys, command, "--help")
        assert code == 0
        assert text.partition("[")[0] == f"usage: keras-tabular {command} "


def test_docs_lists_and_prints_the_pages(capsys: pytest.CaptureFixture[str]) -> None:
    _, listing, _ = run_cli(capsys, "docs")
    titles = dict(line.split(maxsplit=1) for line in listing.splitlines())
    assert {f"docs/{name}.md" for name in titles} == {
        page for page in PAGES if "/" in page
    }
    for name, title in titles.items():
        page = PAGES[f"docs/{name}.md"]
        assert page.startswith(f"# {title}\n")
        assert run_cli(capsys, "docs", name)[1] == page
    for wrong in (("docs", "shema"), ("infer_schema",)):
        code, output, error = run_cli(capsys, *wrong)
        assert code == 2
        assert output == ""
        assert re.search(f"invalid choice: '{wrong[-1]}' .choose from .*schema", error)


def test_the_citation_and_the_sources_of_methods_agree_with_the_code() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["version"] == VERSION
    functions = re.findall(r"\| `([a-z_.]+\.[a-z_]+)` \|", PAGES["docs/glossary.md"])
    assert len(functions) == 11
    for function in functions:
        assert callable(resolve_name(f"keras_tabular.{function}"))


def rows_by_key(text: str) -> dict[str, str]:
    """Return the rows of the tables of a page by the keys in their first column."""
    rows = re.findall(r"(?m)^\| (`[^|]*`) \| (.*) \|$", text)
    row_of_key = dict[str, str]()
    for keys, row in rows:
        row_of_key |= dict.fromkeys(re.findall(r"`(\w+)`", keys), row)
    return row_of_key


def test_docs_schema_explains_each_key() -> None:
    explained = rows_by_key(PAGES["docs/schema.md"])
    assert set(explained) >= {*Schema.model_fields, *Column.model_fields}


def test_docs_params_explains_each_key_and_names_its_default() -> None:
    _, *parts = re.split(r"(?m)^## ", PAGES["docs/params.md"])
    explained = {part.split("\n", 1)[0]: rows_by_key(part) for part in parts}
    sections: dict[str, Any] = get_type_hints(Params)
    sections["train.networks"] = Network
    for name, section in sections.items():
        assert set(explained[name]) == set(section.model_fields)
        for key, row in explained[name].items():
            default = section.model_fields[key].get_default()
            if isinstance(default, int | float | str):
                text = (
                    f"{default}" if isinstance(default, bool | str) else f"{default:g}"
                )
                named = rf"(?i)default `?{text}\b|`{text}` \(the default\)"
                assert re.search(named, row), key


# A paragraph that links results has no other numbers. A block after a colon belongs to
# the paragraph.
RESULTS_LINK = r"\]\((?:\.\./)?((?:benchmarks|metrics)/[\w./]+)#?([\w-]*)\)"
CODE_OR_LINK = r"(?<!`)`[^`\n]+`|\]\(.*?\)"
NUMBER = r"(?<![\w.])\d+(?:\.\d+)?(?!\w)"


def test_each_number_of_a_paragraph_is_in_the_results_that_it_links() -> None:
    """A number may be rounded, and a share may be a percentage."""
    for page, text in PAGES.items():
        assert not re.search(r"\b[0-9a-f]{32}\b", text), (
            "md5: it changes with the version"
        )
        for paragraph in re.split(r"(?<!:)\n\n", text):
            linked = ""
            for path, anchor in re.findall(RESULTS_LINK, paragraph):
                heading = anchor.replace("-", ".")
                part = rf"^#+ {heading}$.*?(?=^## |\Z)" if anchor else ".*"
                linked += re.findall(f"(?ims){part}", (PROJECT / path).read_text())[0]
            results = [*map(float, re.findall(NUMBER, linked.replace(",", "")))]
            results += [100 * result for result in results]
            plain = re.sub(CODE_OR_LINK, "", paragraph).replace(",", "")
            for number in re.findall(NUMBER, plain) if linked else ():
                error = 0.501 / 10 ** len(number.partition(".")[2])
                difference = min(abs(float(number) - result) for result in results)
                assert difference < error, f"{page}: {number}"
