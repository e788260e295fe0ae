"""Rows that are equal to rows of the training, whose targets a model may know by heart."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.core.database import row_hashes
from keras_tabular.scoring.evaluation import EqualRows
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.table.parquet import read_parts


def score_equal_rows(
    split: Path, fold: np.ndarray, predictions: Mapping[str, Predictions], schema: Schema
) -> dict[str, EqualRows]:
    """Count the rows that are equal to a row from which their prediction was learnt.

    These are test rows that are equal to a training row, and training rows that are equal to a row
    of another fold. The other rows are scored.

    Args:
        split: Folder with the tables train and test.
        fold: Fold of the training rows, shape (rows,); empty without folds.
        predictions: Predictions by row set, see `metrics.ROW_SETS`.

    Returns:
        The counts and scores of each row set that has such rows.
    """
    train, test = (hash_rows(split / name, schema) for name in ("train", "test"))
    masks = {"test": [np.isin(*hashes) for hashes in zip(test, train, strict=True)]}
    if len(fold):
        masks["cross_validation"] = [_in_other_folds(hashes[: len(fold)], fold) for hashes in train]
    equal_rows = {}
    for name, (equal_with_target, equal) in masks.items():
        if equal.any():
            equal_rows[name] = EqualRows(
                equal=int(equal.sum()),
                equal_with_target=int(equal_with_target.sum()),
                without=score(predictions[name].select(~equal)),
            )
    return equal_rows


def hash_rows(folder: Path, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Hash each row of a table: its features with the target, and its features alone."""
    features = row_hashes(read_parts(folder, list(schema.features)))
    target = pa.concat_tables(read_parts(folder, [schema.target]))[0]
    return row_hashes([pa.table([features, target], ["features", "target"])]), features


def _in_other_folds(hashes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Return whether each row is equal to a row of another fold, bool, shape (rows,)."""
    _, group = np.unique(hashes, return_inverse=True)
    pairs = np.unique(np.column_stack([group, fold]), axis=0)
    return (np.bincount(pairs[:, 0]) > 1)[group]
