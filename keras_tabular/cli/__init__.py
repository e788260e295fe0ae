"""What people run by hand."""

import keras_tabular.core.process  # noqa: F401 - Ctrl-C during the imports of a command
