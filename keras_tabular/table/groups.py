"""Groups of rows that depend on each other: the declared groups, or the copies of a row."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.table.database import first_equal_rows, row_hashes
from keras_tabular.table.parquet import part_paths, read_parts

# Where more rows repeat others, the columns have few values, and equal rows are no copies.
MAX_SHARE_REPEATED = 0.5


def row_groups(folder: Path, schema: Schema) -> np.ndarray | None:
    """Number the groups of the rows of a table, from 0: int64, (rows,).

    Rows of one value of the declared group column are a group; without that column, rows that are
    equal in all columns that the model reads.

    Returns:
        None where groups do not matter, see `number_groups`.
    """
    if schema.group is not None and schema.group in pq.read_schema(part_paths(folder)[0]).names:
        return number_groups(row_hashes(read_parts(folder, [schema.group])), True)
    first = equal_feature_rows(folder, schema)
    return None if first is None else number_groups(first, False)


def number_groups(keys: np.ndarray, declared: bool) -> np.ndarray | None:
    """Number the groups of rows, from 0: int64, (rows,).

    Args:
        keys: Key of the group of each row, (rows,).
        declared: Whether the schema declares the groups, so that they are not just equal rows.

    Returns:
        None where every row is a group by itself, or where most rows are equal to others without a
        declared group, since their columns have few values, and equal rows are no copies.
    """
    distinct, group = np.unique(keys, return_inverse=True)
    repeated = len(keys) - len(distinct)
    if not repeated or (not declared and repeated > MAX_SHARE_REPEATED * len(keys)):
        return None
    return group


def equal_feature_rows(folder: Path, schema: Schema) -> np.ndarray | None:
    """Find for each row of a table the first one whose features are equal: int32, (rows,).

    Returns:
        None where no two rows are equal.
    """
    return first_equal_rows(row_hashes(read_parts(folder, list(schema.features))))


def mean_group_size(group: np.ndarray | None) -> float:
    """Compute the mean size of the group of a row, 1 without groups.

    A mean over rows of groups is as uncertain as one over as many times fewer independent rows.
    """
    if group is None:
        return 1.0
    sizes = np.unique(group, return_counts=True)[1]
    return float(np.square(sizes).sum() / sizes.sum())


def rarest_classes(classes: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the rarest class of the rows of each group, and count the rows of it.

    Args:
        classes: Class of each row, of any type; shape (rows,).
        group: Number of the group of each row, from 0; shape (rows,).

    Returns:
        The rank of the class among all, 0 for the most frequent one, and its rows in the group;
        both of shape (groups,).
    """
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    ranks = np.argsort(np.argsort(-counts, kind="stable"))[codes]
    rarest = np.zeros(group.max(initial=-1) + 1, np.int64)
    np.maximum.at(rarest, group, ranks)
    return rarest, np.bincount(group, ranks == rarest[group])
