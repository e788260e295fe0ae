"""The commands and paths of AGENTS.md exist."""

import re

import yaml

from keras_tabular.cli import COMMANDS
from tests.commands import check_output, run_command
from tests.documentation import MAKE_VARIABLES, PAGES
from tests.helpers import PROJECT

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
