"""One script for each stage of `dvc.yaml`."""

import os

from keras_tabular.core.process import install_excepthook

install_excepthook()  # first, for Ctrl-C during the imports of a stage

from keras_tabular.config.stage_inputs import stage_runner  # noqa: E402

run = stage_runner(os.environ.get("DVC_STAGE"))
