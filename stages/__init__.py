"""The stages of `dvc.yaml`: one script for each, and what happens before and after its `main`.

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
from collections.abc import Callable

from keras_tabular.core import process

sys.excepthook = process.show_error
process.use_one_blas_thread()  # before NumPy is imported

from keras_tabular.config.stage_inputs import StageInputs  # noqa: E402 - after the hook

inputs = StageInputs(
    os.environ.get("DVC_STAGE"),
)  # of no stage if DVC does not call the script


def run(main: Callable[[], None]) -> None:
    """Run the `main` of a stage, and check that the inputs of the stage have not changed."""
    if inputs.name:
        process.supervise(
            inputs.name,
        )  # which explains a signal that ends the child process
    process.hide_pandas()

    def run_and_check() -> None:
        main()
        inputs.check()

    process.run(run_and_check)
