"""One script for each stage of `dvc.yaml`."""

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from inspect import getdoc, signature
from pathlib import Path

from keras_tabular.core import process

sys.excepthook = process.show_error  # first, for Ctrl-C during the imports of a stage

from keras_tabular.config.stage_inputs import StageInputs  # noqa: E402

inputs = StageInputs(os.environ.get("DVC_STAGE"))


def run(main: Callable[..., None]) -> None:
    """Run the `main` of a stage; it fails if the inputs of the stage change while it runs."""
    if inputs.name:
        process.supervise(inputs.name)
    process.hide_pandas()

    def run_and_check() -> None:
        call_with_paths(main)
        inputs.check()

    process.run(run_and_check)


def call_with_paths(main: Callable[..., None]) -> None:
    """Call the `main` of a stage with the paths in the command line, which are its parameters."""
    parser = ArgumentParser(description=getdoc(main), formatter_class=RawDescriptionHelpFormatter)
    for name, parameter in signature(main).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            parser.add_argument(f"--{name}", type=Path, required=True)
        else:
            parser.add_argument(name, type=Path)
    main(**vars(parser.parse_args()))
