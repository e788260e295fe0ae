"""One script for each stage of `dvc.yaml`."""

import os
import sys
from collections.abc import Callable

from keras_tabular.core import process

sys.excepthook = process.show_error  # first, for Ctrl-C during the imports of a stage

from keras_tabular.config.stage_inputs import StageInputs  # noqa: E402

inputs = StageInputs(os.environ.get("DVC_STAGE"))


def run(main: Callable[[], None]) -> None:
    """Run the `main` of a stage; it fails if the inputs of the stage change while it runs."""
    if inputs.name:
        process.supervise(inputs.name)
    process.hide_pandas()

    def run_and_check() -> None:
        main()
        inputs.check()

    process.run(run_and_check)
