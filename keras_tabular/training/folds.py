"""The fold of each training row: drawn by class, or by the groups or times of the split."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.core.errors import UserError
from keras_tabular.table.groups import rarest_classes
from keras_tabular.table.parquet import FOLD_KEY, count_rows, part_paths, read_parts

MAX_AUTO_FOLDS = 10


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


def draw_folds(
    classes: list[np.ndarray], keys: list[np.ndarray], folds: int, seed: int
) -> list[np.ndarray]:
    """Draw the fold of each row of each part: by class and group, or by time.

    Args:
        classes: Class of the rows of each part; one class for regression.
        keys: Keys of the rows of each part, see `parquet.FOLD_KEY`; empty if there are none.

    Returns:
        Int32 arrays, one for each part.

    Raises:
        UserError: There are more folds than rows, groups or times.
    """
    every_key = np.concatenate(keys or [np.arange(sum(map(len, classes)))])
    distinct, group = np.unique(every_key, return_inverse=True)
    if folds > len(distinct):
        what = "groups or times of training rows" if keys else "training rows"
        raise UserError(
            f"train.folds is {folds}, but there are only {len(distinct)} {what}. "
            f"Set train.folds to {len(distinct)} or less, or to auto."
        )
    if not keys:
        return random_folds(classes, folds, seed)
    if every_key.dtype.kind == "f":
        drawn = folds_of_times(every_key, group, folds)
    else:
        drawn = grouped_folds(np.concatenate(classes), group, folds, seed)
    return np.split(drawn, np.cumsum([len(part) for part in keys])[:-1])


def random_folds(classes: list[np.ndarray], folds: int, seed: int) -> list[np.ndarray]:
    """Draw the fold of each row of each part; folds differ by one row at most.

    The rows of a class are dealt to the folds in turn, so that each fold has some of them if the
    part has enough.
    """
    rng, dealt, drawn = np.random.default_rng([seed, folds]), 0, []
    for of_part in classes:
        order = rng.permutation(len(of_part))
        order = order[np.argsort(of_part[order], kind="stable")]
        fold = np.empty(len(order), np.int32)
        fold[order] = (np.arange(len(order)) + dealt) % folds
        dealt += len(order)  # they take turns from part to part
        drawn.append(fold)
    return drawn


def grouped_folds(classes: np.ndarray, group: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Draw the fold of each row, int32: that of its group.

    Groups are dealt to the folds as rows are, each as its rarest class, those with most rows of it
    first. So each fold has its share of every class, as with scikit-learn's `StratifiedGroupKFold`,
    and a table with few repeated rows has nearly the folds of one without.
    """
    rarest, rows = rarest_classes(classes, group)
    return random_folds([rarest - rows / (rows.max() + 1)], folds, seed)[0][group]


def folds_of_times(times: np.ndarray, rank: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each row, int32: an equal range of times each.

    Where few different times would leave a fold without rows, each fold gets the same number of
    different times.

    Args:
        times: Keys of the rows, float64 from 0 to 1.
        rank: Rank of each of them among the different times, from 0.
    """
    drawn = np.minimum(times * folds, folds - 1).astype(np.int32)
    if len(np.unique(drawn)) < folds:
        drawn = (rank * folds // (int(rank.max()) + 1)).astype(np.int32)
    return drawn
