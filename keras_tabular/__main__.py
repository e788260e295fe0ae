"""The command `keras-tabular`. `python -m keras_tabular` runs it as well.

So does `python3 path/to/keras_tabular`, which needs no installation. Python then looks
for modules in this folder, and not in the folder that contains it.
"""

import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - any Python may run this file
    version = sys.version.split()[0]
    sys.exit(f"error: keras-tabular needs Python 3.11 or later, and this is {version}")
if not __package__:
    sys.path[0] = str(Path(sys.path[0]).resolve().parent)

import keras_tabular.cli
from keras_tabular.core.process import run


def main() -> None:
    """Run the subcommand that the arguments name."""
    run(keras_tabular.cli.main)


if __name__ == "__main__":
    main()
