"""Rows that belong together: groups, equal rows, and hashes of rows."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.table.csv import connect
from keras_tabular.table.parquet import part_paths, read_parts

# If a larger share of the rows repeat others, the columns have so few values that rows
# are equal by chance, and equal rows are not copies.
MAX_SHARE_REPEATED = 0.5


def row_groups(folder: Path, schema: Schema) -> np.ndarray | None:
    """Number the groups of the rows of a table.

    Rows with the same value in the declared group column are a group. Without that
    column, rows that are equal in all columns that the model reads are a group.

    Returns:
        Number of the group of each row, from 0: int64, (rows,). None if the rows can be
        treated as independent, see `number_groups`.
    """
    if (
        schema.group is not None
        and schema.group in pq.read_schema(part_paths(folder)[0]).names
    ):
        return number_groups(equality_hashes(read_parts(folder, [schema.group])), True)
    first = equal_feature_rows(folder, schema)
    return None if first is None else number_groups(first, False)


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
    """
    distinct, group = np.unique(keys, return_inverse=True)
    repeated = len(keys) - len(distinct)
    if not repeated or (not declared and repeated > MAX_SHARE_REPEATED * len(keys)):
        return None
    return group


def equal_feature_rows(folder: Path, schema: Schema) -> np.ndarray | None:
    """Find the first row whose features equal those of each row: int32, (rows,), or None.

    None means that all rows differ.
    """
    hashes = equality_hashes(read_parts(folder, list(schema.features)))
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    return None if len(first) == len(hashes) else first.astype(np.int32)[inverse]


def mean_group_size(group: np.ndarray | None) -> float:
    """Compute the mean over rows of the size of their group, or 1 without groups.

    With groups of mean size n, a mean over rows is about as uncertain as a mean over
    1/n as many independent rows.
    """
    if group is None:
        return 1.0
    sizes = np.unique(group, return_counts=True)[1]
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
    """
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    ranks = np.argsort(np.argsort(-counts, kind="stable"))[codes]
    rarest = np.zeros(group.max(initial=-1) + 1, np.int64)
    np.maximum.at(rarest, group, ranks)
    return rarest, np.bincount(group, ranks == rarest[group])


def stable_row_hashes(folder: Path, names: list[str], seed: int) -> np.ndarray:
    """Hash some columns of each row of a table: uint64, shape (rows,)."""
    return np.concatenate(
        [stable_hashes(part.columns, seed) for part in read_parts(folder, names)],
    )


def stable_hashes(columns: Sequence[pa.ChunkedArray], seed: int) -> np.ndarray:
    """Hash the values of each row: uint64, shape (rows,); a missing value is hashed too.

    The hash is SipHash of the values as text, so a row has the same hash in every
    table.
    """
    texts = [pc.fill_null(column.cast(pa.large_string()), "\0") for column in columns]
    separator = pa.scalar("\x1f", pa.large_string())
    joined = (
        pc.binary_join_element_wise(*texts, separator) if len(texts) > 1 else texts[0]
    )
    import pandas as pd  # takes half a second

    values = joined.to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values, hash_key=f"{seed:016d}"[-16:], categorize=True)


def equality_hashes(parts: Iterable[pa.Table]) -> np.ndarray:
    """Return a hash of the values of each row of a table in parts: uint64, (rows,).

    Rows are equal if all their values are equal; two missing values are equal. Hashes
    of different tables can be compared within a run, but a later version of DuckDB may
    compute other hashes.
    """
    remaining = iter(parts)
    first = next(remaining)
    names = [
        f"column{n}" for n in range(first.num_columns)
    ]  # names in DuckDB ignore the case
    tables = (part.rename_columns(names) for part in chain([first], remaining))
    batches = (batch for table in tables for batch in table.to_batches())
    schema = first.rename_columns(names).schema
    rows = connect().from_arrow(pa.RecordBatchReader.from_batches(schema, batches))
    return rows.project(f"hash({', '.join(names)}) AS h").fetchnumpy()["h"]
