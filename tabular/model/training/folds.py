"""The folds of the training rows, cut into smaller groups for cross-fitting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tabular.core.errors import UserError
from tabular.table.parquet import FOLD_KEY, part_paths, read_parts

MIN_SUBFOLDS = 10  # at least, in which target statistics are cross-fitted


def random_subfolds(
    classes: list[np.ndarray], folds: int, subfolds: int, seed: int
) -> list[np.ndarray]:
    """The subfold of each row of each part, int32; subfolds differ by one row at most.

    Rows of a class are dealt to the folds in turn: each has some where a part has enough.

    Args:
        classes: of the rows of each part; one class where there are none.

    Raises:
        UserError: there are more folds than rows.
    """
    rows = sum(map(len, classes))
    if folds > rows:
        raise UserError(
            f"train.folds is {folds}, but there are {rows} training rows and each fold needs one; "
            "set it lower"
        )
    rng, dealt, found = np.random.default_rng([seed, folds]), 0, []
    for of_part in classes:
        order = rng.permutation(len(of_part))
        order = order[np.argsort(of_part[order], kind="stable")]
        subfold = np.empty(len(order), np.int32)
        subfold[order] = (np.arange(len(order)) + dealt) % subfolds
        dealt += len(order)  # they take turns from part to part
        found.append(subfold)
    return found


def fold_keys(folder: Path) -> list[np.ndarray]:
    """What the split says of the rows that stay together, for each part; of none it is empty."""
    if FOLD_KEY not in pq.read_schema(part_paths(folder)[0]).names:
        return []
    return [part[0].to_numpy() for part in read_parts(folder, [FOLD_KEY])]


def keyed_subfolds(keys: list[np.ndarray], folds: int, subfolds: int) -> list[np.ndarray]:
    """The subfold of each row of each part, int32: an equal range of keys each.

    Raises:
        UserError: a fold would have no row.
    """
    found = [np.minimum(of_part * subfolds, subfolds - 1).astype(np.int32) for of_part in keys]
    with_rows = len(np.unique(np.concatenate(found) % folds))
    if with_rows < folds:
        raise UserError(
            f"train.folds is {folds}, but the training rows have groups or times for {with_rows} "
            "folds alone; set it lower, or add rows"
        )
    return found


def equal_sizes(
    indices: list[list[np.ndarray]], size: Callable[[list[int]], Any]
) -> list[list[np.ndarray]]:
    """The indices of each fold, as many for each: a graph is compiled for a number of rows.

    That is the least number of them all, so that a row may be left out, or the largest, so that
    one may come twice; with two numbers the default table trains in 6.2 seconds and not in 5. Of a
    table in several parts, where compiling takes the least of the time,
    they stay as they are.

    Args:
        indices: of each fold, of each part.
        size: of the numbers of the folds' rows.
    """
    if len(indices[0]) > 1:
        return indices
    count = int(size([len(part) for (part,) in indices]))
    return [[np.resize(part, count)] for (part,) in indices]
