"""The fold of each training row: drawn by class, or by the groups or times of the split."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tabular.core.errors import UserError
from tabular.table.parquet import FOLD_KEY, count_rows, part_paths, read_parts

MIN_SUBFOLDS = 10  # in which target statistics are cross-fitted
MAX_AUTO_FOLDS = 10


def count_subfolds(folds: int) -> int:
    """Return the number of subfolds: at least `MIN_SUBFOLDS`, the same number for each fold."""
    return folds * -(-MIN_SUBFOLDS // folds)


def fold_keys(folder: Path) -> list[np.ndarray]:
    """Read the keys of rows that stay together, for each part; empty if the split wrote none."""
    if FOLD_KEY not in pq.read_schema(part_paths(folder)[0]).names:
        return []
    return [part[0].to_numpy() for part in read_parts(folder, [FOLD_KEY])]


def possible_folds(folder: Path) -> range:
    """Return the numbers of folds, up to `MAX_AUTO_FOLDS`, of which each fold has training rows.

    Args:
        folder: Folder of the training rows.
    """
    keys = fold_keys(folder)
    groups = len(np.unique(np.concatenate(keys))) if keys else sum(count_rows(folder))
    return range(2, min(MAX_AUTO_FOLDS, groups) + 1)


def random_subfolds(classes: list[np.ndarray], folds: int, seed: int) -> list[np.ndarray]:
    """Draw the subfold of each row of each part; subfolds differ by one row at most.

    The rows of a class are dealt to the folds in turn, so that each fold has some of them if the
    part has enough.

    Args:
        classes: Class of the rows of each part; one class for regression.

    Returns:
        Int32 arrays, one for each part; the fold is the subfold modulo `folds`.

    Raises:
        UserError: There are more folds than rows.
    """
    rows = sum(map(len, classes))
    if folds > rows:
        raise UserError(
            f"train.folds is {folds}, but there are only {rows} training rows. "
            f"Set train.folds to {rows} or less, or to auto."
        )
    rng, dealt, subfolds = np.random.default_rng([seed, folds]), 0, []
    for of_part in classes:
        order = rng.permutation(len(of_part))
        order = order[np.argsort(of_part[order], kind="stable")]
        subfold = np.empty(len(order), np.int32)
        subfold[order] = (np.arange(len(order)) + dealt) % count_subfolds(folds)
        dealt += len(order)  # they take turns from part to part
        subfolds.append(subfold)
    return subfolds


def keyed_subfolds(keys: list[np.ndarray], folds: int) -> list[np.ndarray]:
    """Return the subfold of each row of each part, int32: an equal range of keys each.

    Where few groups would leave a fold without rows, each fold gets an equal number of groups.

    Raises:
        UserError: There are more folds than groups or times.
    """
    every_key, count = np.concatenate(keys), count_subfolds(folds)
    distinct, rank = np.unique(every_key, return_inverse=True)
    if len(distinct) < folds:
        raise UserError(
            f"train.folds is {folds}, but the training rows have only {len(distinct)} groups or "
            f"times. Set train.folds to {len(distinct)} or less, or to auto."
        )
    subfolds = np.minimum(every_key * count, count - 1).astype(np.int32)
    if len(np.unique(subfolds % folds)) < folds:
        fold = rank * folds // len(distinct)
        subfolds = (fold + folds * (rank % (count // folds))).astype(np.int32)
    return np.split(subfolds, np.cumsum([len(of_part) for of_part in keys])[:-1])
