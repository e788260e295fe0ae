"""The rows of a table as networks learn from them: preprocessed and weighted."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedTrain
from keras_tabular.network import texts
from keras_tabular.network.backend import Tensor, keras, tf
from keras_tabular.network.layers import build_preprocessing
from keras_tabular.network.statistics import Statistics, adapt
from keras_tabular.table import arrays
from keras_tabular.table.parquet import count_rows, part_paths, read_parts
from keras_tabular.training.folds import Folds

# Size of the preprocessed rows of a table that are kept in memory. A larger table is
# read again in each epoch.
MAX_CACHED_BYTES = 2**28
# To compile the preprocessing takes as long as to run it on three parts.
MIN_PARTS_TO_COMPILE = 3


class Rows(NamedTuple):
    """The preprocessed rows of a part, as arrays or tensors.

    Attributes:
        x: Columns that networks read, float32, shape (rows, width).
        y: Labels as networks learn them, float32, shape (rows, 1).
        weight: Weights in training, float32, shape (rows,).
        indices: The rows to use, int32, shape (n,).
    """

    x: Tensor
    y: Tensor
    weight: Tensor
    indices: np.ndarray


# For each part of a table, a function that reads it.
Dataset = Sequence[Callable[[], Rows]]


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
        UserError: A row has no label, or no weight, or one below 0.
    """
    columns = [schema.target]
    if schema.weight is not None:
        columns.append(schema.weight)
    parts = list(read_parts(folder, columns))
    labels = [arrays.labels(part, schema) for part in parts]
    weights = [arrays.row_weights(part, schema) for part in parts]
    y = np.concatenate(labels)
    weight = np.concatenate(weights)
    if len(weight):
        weight /= weight.mean()
    return Labels(y, weight)


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

    def encode_texts(
        self,
        folder: Path,
        folds: Folds | None,
    ) -> list[np.ndarray]:
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
            parts = read_parts(folder, [name])
            cells = texts.read_texts(parts, name, self.text_length)
            columns.append(
                [
                    encoder.predict(part, folds[number] if folds else None)
                    for number, part in enumerate(cells)
                ],
            )
        # From the parts of each column to the columns of each part.
        by_part = zip(*columns, strict=True)
        return [np.concatenate(part, axis=1) for part in by_part]


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
        parts = read_parts(folder, [name])
        encoders[name] = texts.fit_encoder(
            vocabulary,
            texts.read_texts(parts, name, train.text_length),
            targets,
            np.concatenate(folds),
        )
    return Preprocessor(
        schema,
        statistics,
        layers,
        encoders,
        train.text_length,
        class_weights(labels, train, schema),
    )


def class_weights(
    labels: Labels,
    train: ResolvedTrain,
    schema: Schema,
) -> np.ndarray:
    """Compute the weight of each class by `train.class_weight`.

    `balanced` is scikit-learn's: rows / (classes * rows of the class).

    Returns:
        Float64, shape (classes,).
    """
    if train.class_weight == "balanced":
        codes = labels.y[:, 0].astype(np.int64)
        rows = np.bincount(codes, labels.weight, len(schema.classes))
        return rows.sum() / (len(rows) * np.where(rows > 0, rows, 1))
    by_class = train.class_weight or {}
    weights = [by_class.get(value, 1.0) for value in schema.classes]
    return np.array(weights)


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
        # The path and the row numbers of each part that has rows.
        self._places = []
        start = 0
        sizes = count_rows(folder)
        for path, size in zip(part_paths(folder), sizes, strict=True):
            if size:
                self._places.append((path, slice(start, start + size)))
            start += size
        self._schema = preprocessor.schema
        layers = preprocessor.layers
        self._preprocess = layers
        # XLA cannot compile operations on texts.
        has_texts = any(tensor.dtype == "string" for tensor in layers.inputs)
        if len(self._places) >= MIN_PARTS_TO_COMPILE and not has_texts:
            # One pass over the rows instead of one for each operation.
            self._preprocess = tf.function(layers, jit_compile=True)
        target = preprocessor.statistics.target
        self.y = (labels.y - target.shift) / target.scale
        self.weight = labels.weight
        if len(preprocessor.class_weights):
            codes = labels.y[:, 0].astype(np.int64)
            self.weight = labels.weight * preprocessor.class_weights[codes]
        self._texts = preprocessor.encode_texts(folder, folds)
        width = layers.outputs[0].shape[-1]
        read: Callable[[int], Rows] = self._read_part
        if 4 * len(self.y) * width <= MAX_CACHED_BYTES:
            read = cache(read)
        numbers = range(len(self._places))
        self.parts = [partial(read, number) for number in numbers]

    def _read_part(self, number: int) -> Rows:
        path, rows = self._places[number]
        part = pq.read_table(path)
        columns = arrays.feature_arrays(part, self._schema)
        x = self._preprocess(columns)
        if self._texts:
            x = tf.concat([x, self._texts[number]], axis=1)
        return Rows(
            x,
            tf.constant(self.y[rows], tf.float32),
            tf.constant(self.weight[rows], tf.float32),
            np.arange(len(part), dtype=np.int32),
        )


def select_rows(parts: Dataset, indices: list[np.ndarray]) -> Dataset:
    """Return the parts with some of their rows, without parts that have no such rows.

    Args:
        indices: Rows to select from each part.
    """

    def read(part: Callable[[], Rows], rows: np.ndarray) -> Rows:
        return part()._replace(indices=rows.astype(np.int32))

    return [
        partial(read, part, rows)
        for part, rows in zip(parts, indices, strict=True)
        if len(rows)
    ]
