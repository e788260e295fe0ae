"""The rows of a table as networks learn from them: preprocessed and weighted, part by part."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedTrain
from keras_tabular.core.errors import UserError
from keras_tabular.network import texts
from keras_tabular.network.backend import keras, tf
from keras_tabular.network.layers import build_preprocessing
from keras_tabular.network.statistics import Statistics, adapt
from keras_tabular.table import arrays
from keras_tabular.table.parquet import count_rows, part_paths, read_parts
from keras_tabular.training.folds import Folds

MAX_CACHED_BYTES = (
    2**28
)  # of preprocessed rows; a larger table is read again in each epoch
MIN_PARTS_TO_COMPILE = (
    3  # to compile the preprocessing takes as long as to run it on three parts
)


class Rows(NamedTuple):
    """The preprocessed rows of a part, as arrays or tensors.

    Attributes:
        x: Columns that networks read, float32, shape (rows, width).
        y: Labels as networks learn them, float32, shape (rows, 1).
        weight: Weights in training, float32, shape (rows,).
        indices: The rows to use, int32, shape (n,).
    """

    x: tf.Tensor
    y: tf.Tensor
    weight: tf.Tensor
    indices: np.ndarray


Dataset = Sequence[
    Callable[[], Rows]
]  # for each part of a table a function that reads it


class Labels(NamedTuple):
    """The labels and the weights of all rows of a table.

    Attributes:
        y: Index of the class, or the value, of each row, float64, shape (rows, 1).
        weight: Weight of each row, 1 on average, float64, shape (rows,).
    """

    y: np.ndarray
    weight: np.ndarray


def read_labels(folder: Path, schema: Schema) -> Labels:
    """Read the labels and the weights of all rows of a table.

    Raises:
        UserError: A row has no label, or no weight, or one below 0, or all weights are
            0.
    """
    columns = [name for name in (schema.target, schema.weight) if name is not None]
    parts = list(read_parts(folder, columns))
    y = np.concatenate([arrays.labels(part, schema) for part in parts])
    weight = np.concatenate([arrays.row_weights(part, schema) for part in parts])
    if len(weight) and not weight.any():
        raise UserError(
            f"column {schema.weight}: every {folder.name} row has a weight of 0",
        )
    return Labels(y, weight / weight.mean() if len(weight) else weight)


class Preprocessor(NamedTuple):
    """The preprocessing of raw rows for the networks, fitted to the training rows.

    Attributes:
        statistics: Statistics of the training rows.
        layers: The model from raw columns to the columns that networks read, without
            texts; see `build_preprocessing`.
        text_encoders: The encoder of each text column.
        text_length: Number of n-grams of a text that are read.
        class_weights: Weights of the classes, shape (classes,); empty for regression.
    """

    schema: Schema
    statistics: Statistics
    layers: keras.Model
    text_encoders: dict[str, texts.TextEncoder]
    text_length: int
    class_weights: np.ndarray

    def encode_texts(self, folder: Path, folds: Folds | None) -> list[np.ndarray]:
        """Encode the texts of a table.

        Args:
            folder: Folder of the Parquet parts.
            folds: For training rows, the fold of each row of each part.

        Returns:
            For each part float32, shape (rows, width); an empty list if there are no
            text columns.
        """
        columns = []
        for name, encoder in self.text_encoders.items():
            cells = texts.read_texts(read_parts(folder, [name]), name, self.text_length)
            parts = zip(cells, folds or repeat(None), strict=False)
            columns.append([encoder.predict(*part) for part in parts])
        return [
            np.concatenate(part_columns, axis=1)
            for part_columns in zip(*columns, strict=True)
        ]


def fit_preprocessor(
    folder: Path,
    schema: Schema,
    train: ResolvedTrain,
    labels: Labels,
    folds: Folds,
) -> Preprocessor:
    """Fit the preprocessing to the training rows.

    Args:
        folder: Folder of the training rows.
        schema: The table.
        train: The parameters.
        labels: Labels of the training rows.
        folds: Fold of each row of each part. A text is encoded without the rows of its
            own fold.

    Raises:
        UserError: A column cannot be preprocessed.
    """
    statistics = adapt(partial(read_parts, folder), schema, train)
    layers = build_preprocessing(statistics, schema, train)
    standardised = (labels.y - statistics.target.shift) / statistics.target.scale
    targets = schema.learning_task.indicators(standardised)
    encoders = {}
    for name, vocabulary in statistics.texts.items():
        cells = texts.read_texts(read_parts(folder, [name]), name, train.text_length)
        encoders[name] = texts.fit_encoder(
            vocabulary,
            cells,
            targets,
            np.concatenate(folds),
        )
    by_class = class_weights(labels, train, schema)
    return Preprocessor(
        schema,
        statistics,
        layers,
        encoders,
        train.text_length,
        by_class,
    )


def class_weights(labels: Labels, train: ResolvedTrain, schema: Schema) -> np.ndarray:
    """Compute the weight of each class by `train.class_weight`: float64, shape (classes,).

    `balanced` is scikit-learn's: rows / (classes * rows of the class).
    """
    if train.class_weight == "balanced":
        rows = np.bincount(
            labels.y[:, 0].astype(np.int64),
            labels.weight,
            len(schema.classes),
        )
        return rows.sum() / (len(rows) * np.where(rows > 0, rows, 1))
    by_class = train.class_weight or {}
    return np.array([by_class.get(value, 1.0) for value in schema.classes])


class TableDataset:
    """A table whose parts are read and preprocessed when they are asked for.

    A table whose preprocessed rows take up to `MAX_CACHED_BYTES` is read only once.

    Args:
        folder: Folder of the Parquet parts.
        preprocessor: The fitted preprocessing.
        labels: Labels of all rows.
        folds: For training rows, the fold of each row of each part.

    Attributes:
        parts: The parts that have rows.
        y: Labels of all rows as the networks learn them, float64, shape (rows, 1).
        weight: Weights of all rows times the weights of their classes, float64, shape
            (rows,).
    """

    def __init__(
        self,
        folder: Path,
        preprocessor: Preprocessor,
        labels: Labels,
        folds: Folds | None = None,
    ) -> None:
        counts = count_rows(folder)
        places = zip(part_paths(folder), counts, np.cumsum(counts), strict=True)
        self._places = [
            (path, slice(end - count, end)) for path, count, end in places if count
        ]
        self._schema = preprocessor.schema
        target = preprocessor.statistics.target
        layers = self._preprocess = preprocessor.layers
        has_texts = any(
            tensor.dtype == "string" for tensor in layers.inputs
        )  # not for XLA
        if len(self._places) >= MIN_PARTS_TO_COMPILE and not has_texts:
            # One pass over the rows instead of one for each operation.
            self._preprocess = tf.function(layers, jit_compile=True)
        self.y = (labels.y - target.shift) / target.scale
        self.weight = labels.weight
        if len(preprocessor.class_weights):
            self.weight = (
                self.weight
                * preprocessor.class_weights[labels.y[:, 0].astype(np.int64)]
            )
        self._texts = preprocessor.encode_texts(folder, folds)
        is_small = len(self.y) * layers.outputs[0].shape[-1] * 4 <= MAX_CACHED_BYTES
        read = cache(self._read_part) if is_small else self._read_part
        self.parts: Dataset = [
            partial(read, index) for index in range(len(self._places))
        ]

    def _read_part(self, index: int) -> Rows:
        path, place = self._places[index]
        part = pq.read_table(path)
        x = self._preprocess(arrays.feature_arrays(part, self._schema))
        if self._texts:
            x = tf.concat([x, self._texts[index]], axis=1)
        y = tf.constant(self.y[place], tf.float32)
        weight = tf.constant(self.weight[place], tf.float32)
        return Rows(x, y, weight, np.arange(len(part), dtype=np.int32))


def select_rows(parts: Dataset, indices: list[np.ndarray]) -> Dataset:
    """Return the parts with some of their rows, without parts that have no such rows.

    Args:
        indices: Rows to select from each part, int32.
    """

    def read(part: Callable[[], Rows], rows: np.ndarray) -> Rows:
        return part()._replace(indices=rows)

    pairs = zip(parts, indices, strict=True)
    return [partial(read, part, rows) for part, rows in pairs if len(rows)]
