"""Rows that equal others from which the model has learnt, so that it may know them by heart."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema
from tabular.evaluation.scores import Outputs, score
from tabular.table.arrays import row_hashes
from tabular.table.parquet import read_parts


class EqualRows(NamedTuple):
    """How many rows equal others that their answers were learnt from, and which ones do not.

    Attributes:
        counts: by the keys of `metrics.ROWS`; `equal` in all columns that the model reads, and
            `equal_with_target`.
        without: the rows that equal none, bool, by the same keys.
    """

    counts: dict[str, dict[str, int]]
    without: dict[str, np.ndarray]

    def scores(self, rows: dict[str, Outputs], schema: Schema) -> dict[str, Any]:
        """The counts, and the scores `without` these rows; of rows that equal none, nothing."""
        found: dict[str, Any] = {}
        for name, counts in self.counts.items():
            if counts["equal"]:
                found[name] = dict(counts)
                left = rows[name].of(self.without[name])
                if left.weight.any():
                    found[name]["without"] = score(left, schema)
        return found


def find_equal_rows(split: Path, fold: np.ndarray, schema: Schema) -> EqualRows:
    """Test rows that equal a training row, and training rows that equal one of another fold.

    Args:
        fold: of each training row, none without folds.
    """
    counts: dict[str, dict[str, int]] = {}
    hashed = zip(*(hash_rows(split / name, schema) for name in ("train", "test")), strict=True)
    for key, (train, test) in zip(("equal_with_target", "equal"), hashed, strict=True):
        equal = {"test": np.isin(test, train)}
        if len(fold):
            equal["cross_validation"] = _in_other_folds(train[: len(fold)], fold)
        for rows, mask in equal.items():
            counts.setdefault(rows, {})[key] = int(mask.sum())
    return EqualRows(counts, {rows: ~mask for rows, mask in equal.items()})


def hash_rows(folder: Path, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of a table with its target, and without: texts take long and are hashed once."""
    whole, without = [], []
    for part in read_parts(folder, [*schema.features, schema.target]):
        *columns, target = part.columns
        without.append(row_hashes(columns))
        whole.append(row_hashes([pa.chunked_array([without[-1].view(np.int64)]), target]))
    return np.concatenate(whole), np.concatenate(without)


def _in_other_folds(hashed: np.ndarray, fold: np.ndarray) -> np.ndarray:
    _, group = np.unique(hashed, return_inverse=True)
    pairs = np.unique(np.column_stack([group, fold]), axis=0)
    return (np.bincount(pairs[:, 0]) > 1)[group]
