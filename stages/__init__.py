"""The stages of `dvc.yaml`: a script for each, and what happens around its `main`.

Python runs this file first when DVC calls `python -m stages.train ...`:

1. From here on, an error or Ctrl-C ends the stage with one line, also while it imports
   libraries.
2. `inputs` notes the parameters of the stage, and the hashes of the files that it
   depends on.
3. The script defines its `main`, and `run` calls it, in a child process if DVC runs the
   stage.
4. At the end, `run` compares the inputs with those at the start. If one has changed,
   the stage fails: dvc.lock would say that the outputs were made from the new one.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from keras_tabular.core import process

sys.excepthook = process.show_error
process.use_one_blas_thread()  # before NumPy is imported

from keras_tabular.config.stage_inputs import StageInputs  # noqa: E402 - after the hook

# Without a stage, if DVC does not call the script.
inputs = StageInputs(os.environ.get("DVC_STAGE"))


def path_parser(description: str | None, **paths: str) -> ArgumentParser:
    """Return a parser of the paths that a stage takes, in their order.

    Args:
        description: What the stage does.
        paths: What each path is, by the name of its argument.
    """
    parser = ArgumentParser(description=description)
    for name, text in paths.items():
        parser.add_argument(name, type=Path, help=text)
    return parser


def run(main: Callable[[], None]) -> None:
    """Run the `main` of a stage, and check that its inputs have not changed."""
    if inputs.name:
        # The parent process explains a signal that ends the child process.
        process.supervise(inputs.name)
    process.hide_pandas()

    def run_and_check() -> None:
        main()
        inputs.check()

    process.run(run_and_check)
