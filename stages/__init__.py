"""One script for each stage of `dvc.yaml`."""

import tabular.core.process  # noqa: F401 - Ctrl-C during the imports of a stage
