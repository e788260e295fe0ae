"""Subgroups of test rows in `metrics/scores.json`: their measures, and the largest differences."""

from math import inf

from keras_tabular.config.typed_yaml import Section


class Measure(Section, allow_inf_nan=True):
    """A measure of a subgroup of rows, such as its selection rate, with its 95% interval.

    Attributes:
        rows: Number of rows that decide it: those of the subgroup, but only the positive ones for
            the true positive rate, and only the negative ones for the false positive rate.
        low, high: The ends of the interval; infinite if the rows say nothing about the spread.
    """

    value: float
    rows: int
    low: float = -inf
    high: float = inf


class SubgroupDifference(Measure):
    """The difference between the subgroups with the highest and the lowest value of a measure.

    Attributes:
        rows: Number of rows of both subgroups that decide it.
        highest, lowest: Names of the subgroups.
    """

    highest: str
    lowest: str


class Subgroup(Section):
    """The test rows with the same value of a column. Undefined measures are left out."""

    name: str
    rows: int
    measures: dict[str, Measure]


class ColumnSubgroups(Section):
    """The subgroups of a column, and the largest difference between them in each measure."""

    subgroups: tuple[Subgroup, ...]
    differences: dict[str, SubgroupDifference]
