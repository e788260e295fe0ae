"""The commands of `keras-tabular`, each in a module of its name, with `_` for `-`."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib import import_module
from pathlib import Path

from keras_tabular.core import VERSION
from keras_tabular.core.errors import UserError, align_columns
from keras_tabular.core.process import use_one_blas_thread
from keras_tabular.core.removed import REMOVED_IN, REPLACEMENTS

COMMANDS = (
    "new",
    "upgrade",
    "infer-schema",
    "gate",
    "report",
    "pr-report",
    "verify",
    "repeat",
    "quick",
    "predict",
    "score",
    "drift",
    "serve",
    "docs",
)


def main() -> None:
    """Run a command, which imports its libraries after its arguments are checked."""
    use_one_blas_thread()  # before a command imports NumPy
    lines = []
    for command in COMMANDS:
        file = Path(__file__).with_name(f"{command.replace('-', '_')}.py")
        docstring = file.read_text("utf-8").split('"""')[1]
        lines.append([f"  {command}", docstring.splitlines()[0]])
    parser = ArgumentParser(
        "keras-tabular",
        usage="keras-tabular COMMAND [ARGUMENT ...]",
        description="Reproducible Keras models for tables.",
        epilog=f"commands:\n{align_columns(lines)}\n\n`keras-tabular COMMAND --help`"
        " explains its arguments.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument(
        "command",
        metavar="COMMAND",
        choices=COMMANDS,
        help="one of those below",
    )
    for command in REPLACEMENTS.keys() & sys.argv[1:2]:
        raise UserError(f"{command}: removed in {REMOVED_IN}. {REPLACEMENTS[command]}")
    command = parser.parse_args(sys.argv[1:2]).command
    module = import_module(f"keras_tabular.cli.{command.replace('-', '_')}")
    del sys.argv[1]
    module.main(ArgumentParser(f"keras-tabular {command}", description=module.__doc__))
