"""Your own checks of rows, and your own metrics; see `keras-tabular docs own-parts`."""

from keras_tabular.own_parts import CustomMetric, RowCheck

# Checks of several columns of a row, which the stage validate runs.
CHECKS: list[RowCheck] = []

# Metrics, which the stage evaluate computes in addition to those of the task.
METRICS: list[CustomMetric] = []
