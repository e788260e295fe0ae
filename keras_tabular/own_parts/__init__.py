"""What `network.py` and `custom.py` of a project import. These names do not move.

`own_parts.layers` has the functions that build layers; they import TensorFlow.
"""

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedNetwork
from keras_tabular.table.checks import RowCheck
from keras_tabular.tasks.metrics import CustomMetric

__all__ = ["CustomMetric", "ResolvedNetwork", "RowCheck", "Schema"]
