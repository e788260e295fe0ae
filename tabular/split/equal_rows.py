"""Rows whose columns are equal, which may be copies: they stay in one subset and one fold."""

from pathlib import Path

import numpy as np

from tabular.config.schema import Schema
from tabular.config.sections import Split
from tabular.table.hashing import row_hashes
from tabular.table.parquet import read_parts

# Where more rows repeat others, the columns have few values, and equal rows are no copies.
MOST_REPEATED = 0.5


def first_equal_rows(folder: Path, schema: Schema) -> np.ndarray | None:
    """For each row the first one with equal columns, but for the target: int32, (rows,).

    Returns:
        None where no two rows are equal.
    """
    features = schema.features
    numbers = [name for name, column in features.items() if column.feature_type == "number"]
    # Numbers alone often tell, and are fast to hash.
    for names in [numbers] * (0 < len(numbers) < len(features)) + [list(features)]:
        parts = read_parts(folder, names)
        hashed = np.concatenate([row_hashes(part.columns) for part in parts])
        ordered = np.sort(hashed)
        if not (ordered[1:] == ordered[:-1]).any():
            return None
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int32)


def stays_with(folder: Path, split: Split, schema: Schema) -> tuple[np.ndarray | None, str | None]:
    """What `first_equal_rows` gives where a random split heeds it, and what is to be told of it."""
    if split.by != "random" or split.equal_rows == "drawn":
        return None, None
    first = first_equal_rows(folder, schema)
    if first is None:
        return None, None
    repeated = int((first != np.arange(len(first))).sum())
    found = f"{repeated:,} of {len(first):,} rows repeat the columns of another"
    if split.equal_rows == "auto" and repeated > MOST_REPEATED * len(first):
        return None, f"warn: {found}: too many to be copies, so each is drawn by itself"
    return first, f"{found}: they stay with it, in one subset and one fold"


def kept_together(
    order: np.ndarray, counts: np.ndarray, first: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A draw of rows in which each goes where the first one that equals it was drawn.

    Args:
        order: the rows of one subset after the other, (rows,).
        counts: how many rows each subset has.
        first: see `first_equal_rows`.

    Returns:
        The same order and counts, with the rows that move behind those that stay, and the fold key
        of every row, float64, (rows,).
    """
    subset = np.empty(len(order), np.int8)
    subset[order] = np.repeat(np.arange(len(counts)), counts)
    subset = subset[first]
    order = order[np.argsort(subset[order], kind="stable")]
    counts = np.bincount(subset, minlength=len(counts))
    keys, sizes = np.empty(len(order)), np.bincount(first, minlength=len(order))
    for rows in np.split(order, np.cumsum(counts)[:-1]):
        leading = rows[first[rows] == rows]
        keys[leading] = (np.cumsum(sizes[leading]) - sizes[leading]) / max(len(rows), 1)
    return order, counts, keys[first]
