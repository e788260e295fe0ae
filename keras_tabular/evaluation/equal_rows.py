"""Rows that equal others from which the model has learnt, so that it may know them by heart."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.evaluation.evaluation import EqualRows
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.table.database import row_hashes
from keras_tabular.table.parquet import read_parts


def score_equal_rows(
    split: Path, fold: np.ndarray, predictions: Mapping[str, Predictions], schema: Schema
) -> dict[str, EqualRows]:
    """Count rows that equal one which their prediction was learnt from, and score the other rows.

    These are test rows that equal a training row, and training rows that equal one of another fold.

    Args:
        split: Folder of the tables train and test.
        fold: Fold of each training row; empty without folds.
        predictions: By set of rows, see `metrics.ROW_SETS`.

    Returns:
        By set of rows, where some rows are equal to others.
    """
    train, test = (hash_rows(split / name, schema) for name in ("train", "test"))
    masks = {"test": [np.isin(*hashes) for hashes in zip(test, train, strict=True)]}
    if len(fold):
        masks["cross_validation"] = [_in_other_folds(hashes[: len(fold)], fold) for hashes in train]
    equal_rows = {}
    for name, (equal_with_target, equal) in masks.items():
        if equal.any():
            counts = int(equal.sum()), int(equal_with_target.sum())
            equal_rows[name] = EqualRows(*counts, score(predictions[name].select(~equal), schema))
    return equal_rows


def hash_rows(folder: Path, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Hash the features of each row of a table with its target, and without."""
    without = row_hashes(read_parts(folder, list(schema.features)))
    target = pa.concat_tables(read_parts(folder, [schema.target]))[0]
    return row_hashes([pa.table([without, target], ["features", "target"])]), without


def _in_other_folds(hashes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Find the rows that equal a row of another fold: bool, (rows,)."""
    _, group = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.column_stack([group, fold]), axis=0)
    return (np.bincount(pairs[:, 0]) > 1)[group]
