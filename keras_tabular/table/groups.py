"""Rows that belong together: groups, blocks of time, copies, and hashes of rows."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.table.csv import connect
from keras_tabular.table.parquet import FOLD_KEY, part_paths, read_parts

# If a larger share of the rows repeat others, the columns have so few values that rows
# are equal by chance, and equal rows are not copies.
MAX_SHARE_REPEATED = 0.5
# With fewer blocks, intervals are wider; with more, a block resembles the next one.
TIME_BLOCKS = 10
MIN_ROWS_FOR_TIME_BLOCKS = 300
IDENTIFIER = re.compile(
    r"(?i:(^|[^a-z])(id|ids|nr|no|num|key|uuid|guid))$"
    r"|[a-z](Id|ID|Nr|No|Key|UUID|Uuid)$",
)
MIN_IDENTIFIED_GROUPS = 21  # fewer values are categories
MIN_GROUPS = 51  # in a column without the name of an identifier
MAX_MEAN_GROUP_ROWS = 50  # values with more rows are categories
MAX_GROUP_SHARE = 0.05  # of the rows in one group


def row_groups(folder: Path, schema: Schema) -> np.ndarray | None:
    """Number the groups of the rows of a table, which depend on each other.

    A group is the rows with the same value of the schema's `group`, or else one of the
    `time_blocks` of its `time`, or else the copies of a row that the split has kept
    together.

    Returns:
        Number of the group of each row, from 0: int64, (rows,). None if every row is a
        group of its own.
    """
    names = pq.read_schema(part_paths(folder)[0]).names
    key = FOLD_KEY
    if schema.group and schema.group in names:
        key = schema.group
    elif schema.time and schema.time in names:
        times = pa.concat_tables(read_parts(folder, [schema.time]))[0]
        ranks = pc.rank(times, tiebreaker="min").to_numpy().astype(np.int64)  # from 1
        return time_blocks(ranks - 1)
    if key not in names:
        return None
    return number_groups(equality_hashes(read_parts(folder, [key])), declared=True)


def time_blocks(ranks: np.ndarray) -> np.ndarray:
    """Number consecutive blocks of time with about equal numbers of rows.

    Rows of one time are in one block. Too few rows are a single block, which has no
    interval: a short block resembles the next one.

    Args:
        ranks: Number of rows with an earlier time, by row; int64, shape (rows,).

    Returns:
        Number of the block of each row, from 0: int64, shape (rows,).
    """
    n_blocks = TIME_BLOCKS if len(ranks) >= MIN_ROWS_FOR_TIME_BLOCKS else 1
    return ranks * n_blocks // len(ranks)


def may_be_groups(name: str, sizes: np.ndarray) -> bool:
    """Return whether rows with the same value may belong together, as a customer's.

    They may if the column has the name of an identifier, or if it has many texts most
    of which occur more than once, but none often.

    Args:
        name: Name of the column; without the name of an identifier, it contains texts.
        sizes: Number of rows of each value, shape (values,).
    """
    distinct = len(sizes)
    rows = sizes.sum()
    if rows < 2 * distinct:
        return False
    if is_identifier(name):
        return distinct >= MIN_IDENTIFIED_GROUPS
    are_small = rows <= MAX_MEAN_GROUP_ROWS * distinct
    are_small &= sizes.max(initial=0) <= MAX_GROUP_SHARE * rows
    are_many = distinct >= MIN_GROUPS
    return bool(are_many and are_small and np.median(sizes) > 1)


def is_identifier(name: str) -> bool:
    """Return whether a column has the name of an identifier, or none."""
    return not name or bool(IDENTIFIER.search(name))


def number_groups(keys: np.ndarray, declared: bool) -> np.ndarray | None:
    """Number the groups of rows.

    Args:
        keys: Key of the group of each row, (rows,).
        declared: Whether the schema declares the groups, so that they are not just
            equal rows.

    Returns:
        Number of the group of each row, from 0: int64, (rows,). None if every row is a
        group of its own, or if the groups are equal rows and there are more than
        `MAX_SHARE_REPEATED` of them.

    Examples:
        >>> number_groups(np.array([7, 3, 7, 5, 9]), declared=False)
        array([2, 0, 2, 1, 3])
    """
    distinct, group = np.unique(keys, return_inverse=True)
    repeated = len(keys) - len(distinct)
    are_equal_by_chance = not declared and repeated > MAX_SHARE_REPEATED * len(keys)
    return None if not repeated or are_equal_by_chance else group


def equal_feature_rows(folder: Path, schema: Schema) -> np.ndarray | None:
    """Find the first row with the same features as each row.

    Returns:
        The number of the first row, int32, (rows,); None if all rows differ.
    """
    hashes = equality_hashes(read_parts(folder, list(schema.features)))
    _, first_rows, inverse = np.unique(
        hashes,
        return_index=True,
        return_inverse=True,
    )
    if len(first_rows) == len(hashes):
        return None
    return first_rows.astype(np.int32)[inverse]


def mean_group_size(group: np.ndarray | None) -> float:
    """Compute the mean over rows of the size of their group, or 1 without groups.

    With groups of mean size n, a mean over rows is about as uncertain as a mean over
    1/n as many independent rows.

    Examples:
        >>> mean_group_size(np.array([0, 1, 1, 1]))
        2.5
    """
    if group is None:
        return 1.0
    _, sizes = np.unique(group, return_counts=True)
    return float(np.square(sizes).sum() / sizes.sum())


def rarest_classes(
    classes: np.ndarray,
    group: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the rarest class in each group, and count its rows in the group.

    Args:
        classes: Class of each row, of any type; shape (rows,).
        group: Number of the group of each row, from 0; shape (rows,).

    Returns:
        The rank of the class by frequency in all rows, 0 for the most frequent class,
        and the number of its rows in the group; both of shape (groups,).

    Examples:
        >>> classes = np.array(["a", "a", "a", "b", "b"])
        >>> rarest_classes(classes, group=np.array([0, 0, 1, 1, 1]))
        (array([0, 1]), array([2., 2.]))
    """
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    by_frequency = np.argsort(-counts, kind="stable")
    rank_of_class = np.argsort(by_frequency)  # (classes,)
    ranks = rank_of_class[codes]  # (rows,)
    n_groups = group.max(initial=-1) + 1
    rarest = np.zeros(n_groups, np.int64)
    np.maximum.at(rarest, group, ranks)
    is_rarest = ranks == rarest[group]
    return rarest, np.bincount(group, is_rarest)


def stable_row_hashes(
    folder: Path,
    names: list[str],
    seed: int,
) -> np.ndarray:
    """Hash some columns of each row of a table: uint64, shape (rows,)."""
    parts = read_parts(folder, names)
    hashes = [stable_hashes(part.columns, seed) for part in parts]
    return np.concatenate(hashes)


def stable_hashes(columns: Sequence[pa.ChunkedArray], seed: int) -> np.ndarray:
    """Hash the values of each row, also missing ones: uint64, shape (rows,).

    The hash is SipHash of the values as text, so a row has the same hash in every
    table.
    """
    import pandas as pd  # takes half a second

    texts = [pc.fill_null(column.cast("large_string"), "\0") for column in columns]
    separator = pa.scalar("\x1f", "large_string")
    joined = pc.binary_join_element_wise(*texts, separator)
    values = joined.to_numpy()
    key = f"{seed:016d}"[-16:]  # the key has 16 characters
    return pd.util.hash_array(values, hash_key=key, categorize=True)


def equality_hashes(parts: Iterable[pa.Table]) -> np.ndarray:
    """Return a hash of the values of each row of a table in parts: uint64, (rows,).

    Rows are equal if all their values are equal; two missing values are equal. Hashes
    of different tables can be compared within a run, but a later version of DuckDB may
    compute other hashes.
    """
    connection = connect()
    hashes = []
    for part in parts:
        # DuckDB ignores the case of names, so that two columns may have the same name.
        names = [f"column{n}" for n in range(part.num_columns)]
        rows = connection.from_arrow(part.rename_columns(names))
        columns = rows.project(f"hash({', '.join(names)}) AS h").fetchnumpy()
        hashes.append(columns["h"])
    return np.concatenate(hashes)
