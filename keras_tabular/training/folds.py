"""The folds of cross-validation: how each training row gets its fold.

1. The stage `split` gives each row of the table a *fold key*, except in a random split
   without equal rows to keep together, and in a split by column or file without a
   group: `table.splits.assign_rows`. It is an integer that all rows of a group share,
   or, in a split by time, the share of the training rows that are earlier. The key is
   the column `FOLD_KEY`.
2. `read_fold_keys` reads that column.
3. `draw_folds` turns keys into folds, numbers from 0: without keys it deals the rows to
   the folds (`deal_rows`), with integer keys it deals whole groups (`deal_groups`), and
   with times each fold is a period (`number_periods`) with nearly the same number of
   rows. If a fold would get no row, since there are few different times, the periods
   have nearly the same number of different times instead.
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.core.errors import UserError
from keras_tabular.table.groups import rarest_classes
from keras_tabular.table.parquet import FOLD_KEY, count_rows, part_paths, read_parts

# Number of folds that `train.folds: auto` chooses.
MAX_AUTO_FOLDS = 10
# For each part, the fold of each row, int32, numbers from 0.
Folds = list[np.ndarray]


def read_fold_keys(folder: Path) -> list[np.ndarray]:
    """Read the fold keys of each part that has rows; nothing if rows have no keys."""
    if FOLD_KEY not in pq.read_schema(part_paths(folder)[0]).names:
        return []
    keys = [part[FOLD_KEY] for part in read_parts(folder, [FOLD_KEY])]
    return [part.to_numpy() for part in keys if len(part)]


def possible_folds(folder: Path) -> range:
    """Return the numbers of folds up to `MAX_AUTO_FOLDS` for which none is empty.

    Args:
        folder: Folder of the training rows.
    """
    keys = read_fold_keys(folder)
    n_groups = sum(count_rows(folder))
    if keys:
        n_groups = len(np.unique(np.concatenate(keys)))
    return range(2, min(MAX_AUTO_FOLDS, n_groups) + 1)


def draw_folds(
    classes: list[np.ndarray],
    keys: list[np.ndarray],
    folds: int,
    seed: int,
) -> Folds:
    """Return the fold of each row of each part, int32.

    Args:
        classes: Class of each row of each part; for regression, all rows are of one
            class.
        keys: Result of `read_fold_keys`.
        folds: Number of folds.
        seed: Seed of the draw.

    Raises:
        UserError: There are more folds than rows, groups or times.
    """
    if not keys:
        check_count(folds, sum(map(len, classes)), "training rows")
        return deal_rows(classes, folds, seed)
    all_keys = np.concatenate(keys)
    distinct_keys, group = np.unique(all_keys, return_inverse=True)
    check_count(folds, len(distinct_keys), "groups or times of training rows")
    if np.issubdtype(all_keys.dtype, np.floating):  # times
        row_folds = number_periods(all_keys, folds)
        if len(np.unique(row_folds)) < folds:
            row_folds = (group * folds // len(distinct_keys)).astype(np.int32)
    else:
        row_folds = deal_groups(np.concatenate(classes), group, folds, seed)
    ends = np.cumsum([len(part) for part in keys])
    return np.split(row_folds, ends[:-1])


def check_count(folds: int, largest: int, unit: str) -> None:
    """Raise an error if there are more folds than rows, groups or times."""
    if folds > largest:
        raise UserError(
            f"train.folds is {folds}, but there are only {largest} {unit}. Set"
            f" train.folds to {largest} or less, or to auto.",
        )


def deal_rows(
    classes: list[np.ndarray],
    folds: int,
    seed: int,
) -> Folds:
    """Deal the rows of each part to the folds in turn, like cards, class by class.

    The rows of a class are shuffled. So each fold gets its share of each class, and the
    sizes of the folds differ by one row at most.

    Args:
        classes: Class of each row of each part, of any type that can be sorted.

    Examples:
        >>> (part_folds,) = deal_rows([np.array([0, 0, 1, 1])], folds=2, seed=0)
        >>> sorted(part_folds[:2].tolist()), sorted(part_folds[2:].tolist())
        ([0, 1], [0, 1])
    """
    rng = np.random.default_rng([seed, folds])
    dealt_rows = 0  # each part continues with the fold whose turn it is
    row_folds = []
    for part_classes in classes:
        n_rows = len(part_classes)
        shuffled = rng.permutation(n_rows)
        by_class = np.argsort(part_classes[shuffled], kind="stable")
        part_folds = np.empty(n_rows, np.int32)
        part_folds[shuffled[by_class]] = (dealt_rows + np.arange(n_rows)) % folds
        row_folds.append(part_folds)
        dealt_rows += n_rows
    return row_folds


def deal_groups(
    classes: np.ndarray,
    group: np.ndarray,
    folds: int,
    seed: int,
) -> np.ndarray:
    """Return the fold of each row, int32, where all rows of a group have the same fold.

    Groups are dealt as `deal_rows` deals rows. The class of a group is its rarest
    class, and groups with more rows of that class come first. So each fold gets its
    share of each class, as with scikit-learn's `StratifiedGroupKFold`.

    Args:
        classes: Class of each row, shape (rows,).
        group: Number of the group of each row from 0, shape (rows,).
    """
    class_rank, class_rows = rarest_classes(classes, group)
    # By the rank of the class, then most rows first: what is subtracted is below 1.
    dealing_order = class_rank - class_rows / (class_rows.max() + 1)
    # Each group is dealt like one row.
    (group_folds,) = deal_rows([dealing_order], folds, seed)
    return group_folds[group]


def number_periods(times: np.ndarray, count: int) -> np.ndarray:
    """Return the number of the period of each row, int32, for periods of equal length.

    Args:
        times: For each row the share of the rows that are earlier, from 0 to 1.
        count: Number of periods.

    Examples:
        >>> number_periods(np.array([0.0, 0.5, 1.0]), 2).tolist()
        [0, 1, 1]
    """
    return np.minimum(times * count, count - 1).astype(np.int32)
