"""What people run by hand."""

import tabular.process  # noqa: F401 - Ctrl-C during the imports of a command
