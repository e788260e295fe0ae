"""The training rows as the networks read them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tabular.config.schema import Schema
from tabular.config.sections import Train
from tabular.core.errors import UserError
from tabular.model.backend import keras, tf
from tabular.model.training.trainer import Dataset, Rows
from tabular.table.arrays import feature_arrays, labels, row_weights
from tabular.table.parquet import count_rows, part_paths, read_parts

KEPT_BYTES = 2**28  # of preprocessed rows that stay in memory; a larger table is read each epoch


def all_labels(folder: Path, schema: Schema) -> np.ndarray:
    """The labels of a whole table: float64, shape (rows, 1)."""
    return np.concatenate([labels(part, schema) for part in read_parts(folder, [schema.target])])


def all_weights(folder: Path, schema: Schema) -> np.ndarray:
    """Read the weights of the rows of a table, 1 on average: float64, shape (rows,).

    Raises:
        UserError: A weight is missing, or below 0, or all are 0.
    """
    rows = sum(count_rows(folder))
    if schema.weight is None or not rows:
        return np.ones(rows)
    parts = read_parts(folder, [schema.weight])
    weights = np.concatenate([row_weights(part, schema) for part in parts])
    if not weights.any():
        raise UserError(f"column {schema.weight}: every {folder.name} row has a weight of 0")
    return weights / weights.mean()


def class_weights(y: np.ndarray, weight: np.ndarray, train: Train, schema: Schema) -> np.ndarray:
    """Compute the weight of each class by `train.class_weight`: float64, shape (classes,).

    `balanced` is scikit-learn's: rows / (classes * rows of the class).

    Args:
        y: Labels of the training rows, shape (rows, 1).
        weight: The result of `all_weights` for these rows.
    """
    if train.class_weight == "balanced":
        rows = np.bincount(y[:, 0].astype(np.int64), weight, len(schema.classes))
        return rows.sum() / (len(rows) * np.where(rows > 0, rows, 1))
    by_class = train.class_weight or {}
    return np.array([by_class.get(value, 1.0) for value in schema.classes])


class TableDataset:
    """Item `i` is part `i` of a table, read and preprocessed when it is asked for.

    Parts without rows are left out. A table whose preprocessed rows take up to `KEPT_BYTES` is
    read once.

    Args:
        folder: Folder of the Parquet parts.
        preprocessing: Model from the columns that the saved model reads to the preprocessed ones.
        y: Labels of all rows as the networks learn them, float64, shape (rows, 1).
        weight: Weight of each row in training, float64, shape (rows,).
        texts: For each part the columns that encode its texts, float32, (rows, width), which come
            after the preprocessed columns; empty if there are no texts.
    """

    def __init__(
        self,
        folder: Path,
        schema: Schema,
        preprocessing: keras.Model,
        y: np.ndarray,
        weight: np.ndarray,
        texts: Sequence[np.ndarray] = (),
    ) -> None:
        counts = count_rows(folder)
        parts = zip(part_paths(folder), counts, np.cumsum(counts), strict=True)
        self._parts = [(path, slice(end - count, end)) for path, count, end in parts if count]
        # One pass instead of one for each operation; to compile it takes as long as three parts.
        # XLA knows no texts.
        compiles = len(self._parts) > 2 and all(i.dtype != "string" for i in preprocessing.inputs)
        self._preprocess = preprocessing
        if compiles:
            self._preprocess = tf.function(preprocessing, jit_compile=True)
        self.y, self.weight = y, weight
        self._schema, self._texts = schema, texts
        row_bytes = preprocessing.outputs[0].shape[-1] * 4
        self._keep = len(y) * row_bytes <= KEPT_BYTES
        self._kept: dict[int, Rows] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Rows:
        if index in self._kept:
            return self._kept[index]
        path, place = self._parts[index]
        part = pq.read_table(path)
        x = self._preprocess(feature_arrays(part, self._schema))
        if self._texts:
            x = tf.concat([x, self._texts[index]], axis=1)
        y, weight = (tf.constant(each[place], tf.float32) for each in (self.y, self.weight))
        rows = Rows(x, y, weight, np.arange(len(part), dtype=np.int32))
        if self._keep:
            self._kept[index] = rows
        return rows


class Subset:
    """A dataset of some rows of another one, without the parts of which it has none.

    Args:
        dataset: Dataset of all rows.
        indices: Rows to take of each part, int32.
    """

    def __init__(self, dataset: Dataset, indices: list[np.ndarray]) -> None:
        self._dataset = dataset
        self._indices = [(part, rows) for part, rows in enumerate(indices) if len(rows)]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Rows:
        part, indices = self._indices[index]
        return self._dataset[part]._replace(indices=indices)
