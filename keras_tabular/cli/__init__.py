"""The commands of `keras-tabular`, each in a module of its name, with `_` for `-`.

Most modules are in this package, others in the package of what they do, see `COMMANDS`.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib import import_module
from pathlib import Path

from keras_tabular.core import VERSION
from keras_tabular.core.errors import align_columns
from keras_tabular.core.process import use_one_blas_thread

# The package of each command's module.
COMMANDS = {
    "new": "project",
    "upgrade": "project",
    "infer-schema": "cli",
    "gate": "cli",
    "report": "cli",
    "pr-report": "cli",
    "verify": "runs",
    "repeat": "runs",
    "quick": "runs",
    "predict": "cli",
    "score": "cli",
    "drift": "cli",
    "serve": "cli",
    "docs": "cli",
}


def main() -> None:
    """Run a command, which imports its libraries after its arguments are checked."""
    use_one_blas_thread()  # before a command imports NumPy
    library = Path(__file__).parents[1]
    lines = []
    for command, package in COMMANDS.items():
        file = library / package / f"{command.replace('-', '_')}.py"
        docstring = file.read_text("utf-8").split('"""')[1]
        lines.append([f"  {command}", docstring.splitlines()[0]])
    parser = ArgumentParser(
        "keras-tabular",
        usage="keras-tabular COMMAND [ARGUMENT ...]",
        description="Reproducible Keras models for tables.",
        epilog=(
            f"commands:\n{align_columns(lines)}\n\n`keras-tabular COMMAND --help`"
            " explains its arguments."
        ),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument(
        "command",
        metavar="COMMAND",
        choices=COMMANDS,
        help="one of those below",
    )
    command = parser.parse_args(sys.argv[1:2]).command
    name = command.replace("-", "_")
    module = import_module(f"keras_tabular.{COMMANDS[command]}.{name}")
    del sys.argv[1]
    module.main(ArgumentParser(f"keras-tabular {command}", description=module.__doc__))
