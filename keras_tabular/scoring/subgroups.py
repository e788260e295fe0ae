"""The groups of test rows in `metrics/scores.json`: their measures, and the largest differences."""

from math import inf

from keras_tabular.config.typed_yaml import Section


class Measure(Section, allow_inf_nan=True):
    """A measure of a group of rows, such as its selection rate, with its 95% interval.

    Attributes:
        rows: Number of rows that decide it: those of the group, but only the positive ones for the
            true positive rate, and only the negative ones for the false positive rate.
        low, high: The ends of the interval; infinite if the rows say nothing about the spread.
    """

    value: float
    rows: int
    low: float = -inf
    high: float = inf


class GroupDifference(Measure):
    """The difference between the groups with the highest and the lowest value of a measure.

    Attributes:
        rows: Number of rows of both groups that decide it.
        highest, lowest: Names of the groups.
    """

    highest: str
    lowest: str


class Group(Section):
    """The test rows with the same value of a column. Undefined measures are left out."""

    name: str
    rows: int
    measures: dict[str, Measure]


class ColumnGroups(Section):
    """The groups of a column, and the largest difference between them in each measure."""

    groups: tuple[Group, ...]
    differences: dict[str, GroupDifference]
