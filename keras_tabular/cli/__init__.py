"""The commands of `keras-tabular`: each is a module of its name, with `_` instead of `-`.

Most modules are in this package, others in the package of what they do, see `COMMANDS`.
"""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from importlib import import_module
from pathlib import Path

from keras_tabular.core import VERSION
from keras_tabular.core.errors import align_columns
from keras_tabular.core.process import use_one_blas_thread

COMMANDS = {  # the package of each command's module
    **dict.fromkeys(("new", "upgrade"), "project"),
    **dict.fromkeys(("infer-schema", "gate", "report", "pr-report"), "cli"),
    **dict.fromkeys(("verify", "repeat", "quick"), "runs"),
    **dict.fromkeys(("predict", "score", "drift", "serve", "docs"), "cli"),
}


def main() -> None:
    """Run a command, which imports its libraries after its arguments are checked."""
    use_one_blas_thread()  # before a command imports NumPy
    lines = []
    library = Path(__file__).parents[1]
    for command, package in COMMANDS.items():
        file = library / package / f"{command.replace('-', '_')}.py"
        lines.append(
            [f"  {command}", file.read_text("utf-8").split('"""')[1].splitlines()[0]],
        )
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
    module = import_module(
        f"keras_tabular.{COMMANDS[command]}.{command.replace('-', '_')}",
    )
    del sys.argv[1]
    module.main(ArgumentParser(f"keras-tabular {command}", description=module.__doc__))
