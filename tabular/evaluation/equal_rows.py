"""Rows that equal others from which the model has learnt, so that it may know them by heart."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.evaluation.evaluation import EqualRows
from tabular.evaluation.scores import Predictions, score
from tabular.table.database import row_hashes
from tabular.table.parquet import read_parts


class EqualRowMasks(NamedTuple):
    """Masks of the rows that equal a row which their prediction was learnt from; bool, (rows,).

    Attributes:
        equal: Rows that are equal in all columns that the model reads.
        equal_with_target: Rows that are equal in the target, too.
    """

    equal: np.ndarray
    equal_with_target: np.ndarray


def find_equal_rows(split: Path, fold: np.ndarray, schema: Schema) -> dict[str, EqualRowMasks]:
    """Find test rows that equal a training row, and training rows that equal one of another fold.

    Args:
        fold: Fold of each training row; empty without folds.

    Returns:
        Masks for the test rows and, with folds, for those of cross-validation.
    """
    masks: dict[str, list[np.ndarray]] = {}
    for train, test in zip(
        *(hash_rows(split / name, schema) for name in ("train", "test")), strict=True
    ):
        masks.setdefault("test", []).append(np.isin(test, train))
        if len(fold):
            equal = _in_other_folds(train[: len(fold)], fold)
            masks.setdefault("cross_validation", []).append(equal)
    return {rows: EqualRowMasks(equal, with_target) for rows, (with_target, equal) in masks.items()}


def score_equal_rows(
    masks: Mapping[str, EqualRowMasks], predictions: Mapping[str, Predictions], schema: Schema
) -> dict[str, EqualRows]:
    """Count the equal rows of each set of rows that has some, and score the other rows."""
    equal_rows = {}
    for name, (equal, with_target) in masks.items():
        if equal.any():
            remaining = predictions[name].select(~equal)
            scores = score(remaining, schema) if remaining.weight.any() else None
            equal_rows[name] = EqualRows(int(equal.sum()), int(with_target.sum()), scores)
    return equal_rows


def hash_rows(folder: Path, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Hash the features of each row of a table with its target, and without."""
    with_target, without = [], []
    for part in read_parts(folder, [*schema.features, schema.target]):
        with_target.append(row_hashes(part.columns))
        without.append(row_hashes(part.columns[:-1]))
    return np.concatenate(with_target), np.concatenate(without)


def _in_other_folds(hashed: np.ndarray, fold: np.ndarray) -> np.ndarray:
    _, group = np.unique(hashed, return_inverse=True)
    pairs = np.unique(np.column_stack([group, fold]), axis=0)
    return (np.bincount(pairs[:, 0]) > 1)[group]
