"""A table as what a training takes: preprocessed rows, part by part, or some of them."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tabular.model.backend import keras, tf
from tabular.model.preprocessing import Scaling
from tabular.model.trainer import Dataset, Rows
from tabular.params.train import Train
from tabular.schema import Schema
from tabular.table.arrays import feature_arrays, labels
from tabular.table.parquet import count_rows, part_paths, read_parts

KEPT_BYTES = 2**28  # of preprocessed rows that stay in memory; a larger table is read each epoch


def all_labels(folder: Path, schema: Schema) -> np.ndarray:
    """The labels of a whole table: float64, shape (rows, 1)."""
    return np.concatenate([labels(part, schema) for part in read_parts(folder, [schema.target])])


def sample_weights(y: np.ndarray, train: Train, schema: Schema) -> np.ndarray:
    """`train.class_weight` as a weight for each row: float32, shape (rows,).

    `balanced` is scikit-learn's: rows / (classes * rows of the class).

    Args:
        y: the labels, shape (rows, 1).
    """
    if train.class_weight is None:
        return np.ones(len(y), dtype=np.float32)
    classes = y[:, 0].astype(np.int64)
    if train.class_weight == "balanced":
        rows = np.bincount(classes, minlength=len(schema.classes))
        weights = len(y) / (len(rows) * np.maximum(rows, 1))
    else:
        weights = np.array([train.class_weight.get(value, 1.0) for value in schema.classes])
    return weights[classes].astype(np.float32)


class TableDataset:
    """Item `i` is part `i` of a table, read and preprocessed when it is asked for.

    Parts without rows are left out. A table whose preprocessed rows take up to `KEPT_BYTES` is
    read once.

    Args:
        folder: the Parquet parts.
        preprocessing: from the columns that the model reads to the preprocessed columns.
        target: what is taken from the labels and what they are divided by.
        weight: of each row, float32, shape (rows,); 1 where it is not given.
    """

    def __init__(
        self,
        folder: Path,
        schema: Schema,
        preprocessing: keras.Model,
        target: Scaling,
        weight: np.ndarray | None = None,
    ) -> None:
        counts = dict(zip(part_paths(folder), count_rows(folder), strict=True))
        self.paths = [path for path, count in counts.items() if count]
        self.sizes = [count for count in counts.values() if count]
        # One pass instead of one for each operation; to compile it takes as long as three parts.
        # XLA knows no texts.
        compiles = len(self.paths) > 2 and all(i.dtype != "string" for i in preprocessing.inputs)
        self._preprocess = (
            tf.function(preprocessing, jit_compile=True) if compiles else preprocessing
        )
        self._schema, self._target = schema, target
        rows = sum(self.sizes)
        weight = np.ones(rows, np.float32) if weight is None else weight
        self._weights = np.split(weight, np.cumsum(self.sizes)[:-1])
        self._keep = rows * preprocessing.outputs[0].shape[-1] * 4 <= KEPT_BYTES
        self._kept: dict[int, Rows] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Rows:
        if index in self._kept:
            return self._kept[index]
        part = pq.read_table(self.paths[index])
        x, *codes = keras.tree.flatten(self._preprocess(feature_arrays(part, self._schema)))
        y = (labels(part, self._schema) - self._target.shift) / self._target.scale
        rows = Rows(
            x,
            tf.constant(y, tf.float32),
            tf.constant(self._weights[index]),
            codes=codes[0].numpy() if codes else None,
        )
        if self._keep:
            self._kept[index] = rows
        return rows


class Encoded:
    """A dataset whose categories became target statistics, in front of the other columns.

    Args:
        dataset: with `codes`.
        statistics: for each column, float32, (kinds of rows, categories, outputs).
        kinds: of the rows of each part; None where all are of the last kind.
    """

    def __init__(
        self,
        dataset: Dataset,
        statistics: list[np.ndarray],
        kinds: list[np.ndarray] | None = None,
    ) -> None:
        self._dataset, self._statistics, self._kinds = dataset, statistics, kinds

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Rows:
        rows = self._dataset[index]
        if rows.codes is None:
            return rows
        kinds = -1 if self._kinds is None else self._kinds[index]
        encoded = [
            table[kinds, codes] for table, codes in zip(self._statistics, rows.codes.T, strict=True)
        ]
        return rows._replace(x=tf.concat([*encoded, rows.x], axis=1))


class Subset:
    """Some rows of a dataset; a part of which none is taken is left out.

    Args:
        dataset: of all rows.
        indices: for each part those of its rows to take, int32.
    """

    def __init__(self, dataset: Dataset, indices: list[np.ndarray]) -> None:
        self._dataset = dataset
        self._indices = [(part, rows) for part, rows in enumerate(indices) if len(rows)]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Rows:
        part, indices = self._indices[index]
        return self._dataset[part]._replace(indices=indices)
