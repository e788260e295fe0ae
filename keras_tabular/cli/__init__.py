"""The subcommands of `keras-tabular`: a module for each, named like it with `_` for `-`."""

import keras_tabular.core.process  # isort: skip  # noqa: F401 - sets up OpenBLAS before NumPy

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from keras_tabular.core.errors import align_columns
from keras_tabular.model_file.version import VERSION

NAMES = (
    *("infer-schema", "search", "report", "exp-show", "pr-report"),
    *("predict", "score", "drift", "serve", "export", "docs"),
)
# The package of each subcommand's module.
COMMANDS = dict.fromkeys(("new", "upgrade"), "projects") | dict.fromkeys(NAMES, "cli")


def main() -> None:
    """Run a subcommand; its libraries are imported after its name and its arguments are checked."""
    parser = ArgumentParser(
        "keras-tabular",
        usage="keras-tabular COMMAND [ARGUMENT ...]",
        description="Reproducible Keras models for tables.",
        epilog=f"{describe_commands()}\n\n`keras-tabular COMMAND --help` lists its arguments.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("command", help="one of the commands below")
    command = parser.parse_args(sys.argv[1:2]).command
    if command not in COMMANDS:
        near = get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the commands are {', '.join(COMMANDS)}"
        parser.error(f"there is no command {command!r}; {hint}")
    sys.argv = [f"keras-tabular {command}", *sys.argv[2:]]  # the program in the usage of argparse
    import_module(f"keras_tabular.{COMMANDS[command]}.{module_name(command)}").main()


def describe_commands() -> str:
    """Return a line for each command: its name and the first line of its module's docstring."""
    lines, library = [], Path(__file__).parents[1]
    for command, package in COMMANDS.items():
        source = (library / package / f"{module_name(command)}.py").read_text(encoding="utf-8")
        lines.append([f"  {command}", source.split('"""')[1].splitlines()[0]])
    return f"commands:\n{align_columns(lines)}"


def module_name(command: str) -> str:
    return command.replace("-", "_")
