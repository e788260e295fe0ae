"""One script for each stage of `dvc.yaml`."""

import os

import keras_tabular.core.process  # noqa: F401 - first, for Ctrl-C during the imports of a stage
from keras_tabular.config.stage_inputs import stage_runner

run = stage_runner(os.environ.get("DVC_STAGE"))
