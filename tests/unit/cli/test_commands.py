"""The commands of `keras-tabular`, their help texts, and the documentation that they print."""

import re
import sys
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

from keras_tabular import cli
from keras_tabular.cli import COMMANDS
from keras_tabular.config.params import Params
from keras_tabular.config.schema import Column, Schema
from keras_tabular.config.sections import Network
from tests.helpers import PROJECT

RunCommand = Callable[..., tuple[int, str, str]]  # returns the exit code, stdout and stderr


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Return a function that runs `keras-tabular` with some arguments in this process."""

    def run_with_arguments(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["keras-tabular", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run_with_arguments


def test_help_describes_each_command_on_a_line(run_command: RunCommand) -> None:
    modules = (PROJECT / "keras_tabular").glob("*/[!_]*.py")
    parser = "ArgumentParser(description=__doc__)"
    commands = {file.stem.replace("_", "-") for file in modules if parser in file.read_text()}
    assert commands == set(COMMANDS)
    _, listing, _ = run_command("--help")
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w.+[.?]$", listing, re.MULTILINE)
        code, text, _ = run_command(command, "--help")
        assert (code, text.partition("[")[0]) == (0, f"usage: keras-tabular {command} ")


def test_docs_lists_and_prints_the_pages(run_command: RunCommand) -> None:
    _, listing, _ = run_command("docs")
    titles = dict(line.split(maxsplit=1) for line in listing.splitlines())
    assert set(titles) == {page.stem for page in (PROJECT / "docs").glob("*.md")}
    for name, title in titles.items():
        assert run_command("docs", name)[1].startswith(f"# {title}\n")
    for wrong in (("docs", "shema"), ("infer_schema",)):
        code, output, error = run_command(*wrong)
        assert (code, output) == (2, "")
        assert re.search(f"invalid choice: '{wrong[-1]}' .choose from .*schema", error)


def rows_by_key(text: str) -> dict[str, str]:
    """Return the rows of the tables of a page by the keys in their first column."""
    rows = re.findall(r"^\| (`[^|]*`) \| (.*) \|$", text, re.MULTILINE)
    return {key: row for keys, row in rows for key in re.findall(r"`(\w+)`", keys)}


def test_docs_schema_explains_each_key(run_command: RunCommand) -> None:
    explained = rows_by_key(run_command("docs", "schema")[1])
    assert set(explained) >= {*Schema.model_fields, *Column.model_fields}


def test_docs_params_explains_each_key_and_names_its_default(run_command: RunCommand) -> None:
    _, *parts = re.split(r"^## ", run_command("docs", "params")[1], flags=re.MULTILINE)
    explained = {part.split("\n", 1)[0]: rows_by_key(part) for part in parts}
    sections: dict[str, Any] = get_type_hints(Params) | {"train.networks": Network}
    assert set(explained) == set(sections)
    for name, section in sections.items():
        assert set(explained[name]) == set(section.model_fields)
        for key, row in explained[name].items():
            default = section.model_fields[key].get_default()
            if isinstance(default, int | float | str):
                text = f"{default}" if isinstance(default, bool | str) else f"{default:g}"
                named = rf"(?i)default `?{text}\b|`{text}` \(the default\)"
                assert re.search(named, row), key
