"""The training rows as networks read them: preprocessed, weighted, and divided into folds."""

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedTrain, Train
from keras_tabular.core.errors import UserError
from keras_tabular.networks.backend import keras, tf
from keras_tabular.networks.network import Build, ColumnSample
from keras_tabular.preprocessing import texts
from keras_tabular.preprocessing.layers import build_preprocessing
from keras_tabular.preprocessing.statistics import Statistics, adapt
from keras_tabular.table.arrays import feature_arrays, labels, row_losses, row_weights
from keras_tabular.table.parquet import count_rows, part_paths, read_parts
from keras_tabular.training.architecture import Architecture, check_memory
from keras_tabular.training.folds import draw_folds, possible_folds, read_fold_keys
from keras_tabular.training.trainer import Dataset, Rows

MAX_ROWS_FOR_QUANTILES = 100_000  # training rows, which lie shuffled in their parts
KEPT_BYTES = 2**28  # of preprocessed rows that stay in memory; a larger table is read each epoch


@dataclass
class Setup:
    """The training rows, their folds, and the preprocessing that was fitted to them.

    Attributes:
        folder: Folder of the training rows.
        validation: Folder of the validation rows, which are held out if there are no folds.
        train: The parameters, every `auto` replaced.
        build: Builds the layers of a network. It is pickled by its name.
        preprocessor: The fitted preprocessing.
        y: Labels of the training rows, float64, (rows, 1).
        weight: Weights of the training rows, 1 on average, (rows,). Those of `dataset` are
            multiplied by the weights of the classes.
        dataset: The training rows, preprocessed.
        held_out: The validation rows, preprocessed, if there are no folds.
        folds: Fold of the rows of each part, int32.
        is_grouped: Whether rows are in one fold by their group or time.
        architectures: The architectures of `train.members` by name.
    """

    folder: Path
    validation: Path | None
    schema: Schema
    train: ResolvedTrain
    build: Build
    preprocessor: "Preprocessor"
    y: np.ndarray
    weight: np.ndarray
    dataset: "TableDataset"
    held_out: "TableDataset | None"
    folds: list[np.ndarray]
    is_grouped: bool
    architectures: dict[str, Architecture]

    def losses(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Compute the loss of each row by which networks are chosen: see `row_losses`."""
        return row_losses(y, y_pred, self.schema, self.train.loss)

    def mean_loss(self, rows: np.ndarray, y_pred: np.ndarray) -> float:
        """Average the losses of predictions, in units of the target, for some training rows."""
        losses = self.losses(self.y[rows, 0], y_pred)
        return float(np.average(losses, weights=self.dataset.weight[rows]))

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Convert outputs of networks to predictions of the saved model.

        Those of a regression are in units of the target, within the range of the training rows.
        """
        if self.schema.task != "regression":
            return outputs
        statistics = self.preprocessor.statistics
        values = outputs * statistics.target.scale + statistics.target.shift
        return np.clip(values, *statistics.target_range)

    @cached_property
    def rows_of_folds(self) -> list["Fold"]:
        """The rows that the networks of each fold learn from, and those that they predict.

        Without folds, networks learn from all training rows, and the validation rows are held out.
        """
        return [self._rows_of_fold(fold) for fold in range(self.train.folds)]

    def _rows_of_fold(self, fold: int) -> "Fold":
        table, empty = self.dataset, np.empty(0, np.int32)
        if self.train.folds == 1:
            if self.held_out is None:
                return Fold(table, [], empty, empty, empty)
            y = self.held_out.y[:, 0].astype(np.float32)
            weight = self.held_out.weight.astype(np.float32)
            return Fold(table, self.held_out, empty, y, weight)
        learnt = [np.flatnonzero(part != fold).astype(np.int32) for part in self.folds]
        held_out = [np.flatnonzero(part == fold).astype(np.int32) for part in self.folds]
        if len(self.folds) == 1 and not self.is_grouped:
            # A graph is compiled for a number of rows. With two of them, the default table would
            # train in 6.2 seconds instead of 5. So a row may be left out, or come twice. In a table
            # of several parts, compiling takes the smallest part of the time.
            most = np.bincount(self.folds[0]).max()
            learnt = [np.resize(learnt[0], len(self.folds[0]) - most)]
            held_out = [np.resize(held_out[0], most)]
        numbers = np.flatnonzero(np.concatenate(self.folds) == fold).astype(np.int32)
        y, weight = table.y[numbers, 0], table.weight[numbers]
        return Fold(Subset(table, learnt), Subset(table, held_out), numbers, y, weight)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what another process sets up again, once, for all of its networks."""
        return _set_up_once, (self.folder, self.schema, self.train, self.build, self.validation)


def set_up(
    folder: Path, schema: Schema, train: Train, build: Build, validation: Path | None = None
) -> Setup:
    """Fit the preprocessing to the training rows in `folder`, and draw their folds.

    Args:
        build: Builds the layers of a network.
        validation: Folder of the validation rows, which are held out if there are no folds.

    Raises:
        UserError: There are no rows, or fewer than folds, or a column cannot be preprocessed, or
            the networks do not fit into memory.
    """
    sizes, possible, keys = count_rows(folder), possible_folds(folder), read_fold_keys(folder)
    resolved = train.resolve_auto(sum(sizes), schema.task, len(schema.features), possible)
    statistics = adapt(partial(read_parts, folder), schema, resolved)
    layers = build_preprocessing(statistics, schema, resolved)
    y, weight = read_labels(folder, schema), read_weights(folder, schema)
    classes = np.zeros(len(y)) if schema.task == "regression" else y[:, 0]
    parts = np.split(classes, np.cumsum([size for size in sizes if size])[:-1])
    folds = draw_folds(parts, keys, resolved.folds, resolved.seed)
    if schema.weight is not None and not np.bincount(np.concatenate(folds), weight).all():
        raise UserError(f"column {schema.weight}: every row of a fold has a weight of 0")

    text_folds = folds
    if resolved.folds == 1:  # a row's own target takes no part in what encodes its texts
        text_folds = draw_folds(parts, keys, max(possible, default=1), resolved.seed)
    target, n_classes, length = statistics.target, len(schema.classes), resolved.text_length
    targets = texts.regression_targets((y - target.shift) / target.scale, n_classes)
    encoders = {}
    for name, vocabulary in statistics.texts.items():
        cells = texts.read_texts(read_parts(folder, [name]), name, length)
        encoders[name] = texts.fit_encoder(vocabulary, cells, targets, np.concatenate(text_folds))
    by_class = class_weights(y, weight, resolved, schema)
    preprocessor = Preprocessor(schema, statistics, layers, encoders, length, by_class)
    dataset = TableDataset(folder, preprocessor, text_folds)
    held_out = None
    if validation and resolved.folds == 1:
        held_out = TableDataset(validation, preprocessor)
    columns = ColumnSample(
        np.asarray(dataset[0].x[:MAX_ROWS_FOR_QUANTILES]), len(statistics.scalings)
    )
    architectures = {}
    for members in resolved.members:
        name = members.network
        check_memory(resolved, members, columns, schema.outputs)
        architectures[name] = Architecture(name, resolved, schema, build, columns, len(y))
    return Setup(
        *(folder, validation, schema, resolved, build, preprocessor, y, weight, dataset, held_out),
        *(folds, bool(keys), architectures),
    )


_SETUPS: dict[str, Setup] = {}  # the last one of a process that another one has started


def _set_up_once(*arguments: Any) -> Setup:
    key = repr(arguments)
    if key not in _SETUPS:
        _SETUPS.clear()
        keras.utils.clear_session()
        _SETUPS[key] = set_up(*arguments)
    return _SETUPS[key]


def class_weights(y: np.ndarray, weight: np.ndarray, train: Train, schema: Schema) -> np.ndarray:
    """Compute the weight of each class by `train.class_weight`: float64, shape (classes,).

    `balanced` is scikit-learn's: rows / (classes * rows of the class).

    Args:
        y: Labels of the training rows, shape (rows, 1).
        weight: The result of `read_weights` for these rows.
    """
    if train.class_weight == "balanced":
        rows = np.bincount(y[:, 0].astype(np.int64), weight, len(schema.classes))
        return rows.sum() / (len(rows) * np.where(rows > 0, rows, 1))
    by_class = train.class_weight or {}
    return np.array([by_class.get(value, 1.0) for value in schema.classes])


class Preprocessor(NamedTuple):
    """The preprocessing of raw rows for the networks, fitted to the training rows.

    Attributes:
        statistics: What the preprocessing took from the rows.
        layers: The model from raw columns to what networks read of them, see `build_preprocessing`.
        text_encoders: The encoder of each text column.
        text_length: Number of characters of a text that are read.
        class_weights: Weights of the classes, (classes,); empty for regression.
    """

    schema: Schema
    statistics: Statistics
    layers: keras.Model
    text_encoders: dict[str, texts.TextEncoder]
    text_length: int
    class_weights: np.ndarray

    def encode_texts(self, folder: Path, folds: list[np.ndarray] | None) -> list[np.ndarray]:
        """Encode the texts of a table: for each part float32, (rows, width).

        Args:
            folds: Fold of the rows of each part, if they are the training rows.

        Returns:
            A list of the parts; an empty list if no column has texts.
        """
        by_column = []
        for name, encoder in self.text_encoders.items():
            cells = texts.read_texts(read_parts(folder, [name]), name, self.text_length)
            parts = zip(cells, folds or repeat(None), strict=False)
            by_column.append([encoder.predict(*part) for part in parts])
        return [np.concatenate(columns, axis=1) for columns in zip(*by_column, strict=True)]


def read_labels(folder: Path, schema: Schema) -> np.ndarray:
    """Read the labels of a whole table: float64, shape (rows, 1)."""
    return np.concatenate([labels(part, schema) for part in read_parts(folder, [schema.target])])


def read_weights(folder: Path, schema: Schema) -> np.ndarray:
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


class TableDataset:
    """A table whose item `i` is part `i`, read and preprocessed when it is asked for.

    Parts without rows are left out. A table whose preprocessed rows take up to `KEPT_BYTES` is
    read once.

    Args:
        folder: Folder of the Parquet parts.
        folds: Fold of the rows of each part, if they are the training rows.

    Attributes:
        y: Labels of all rows as the networks learn them, float64, shape (rows, 1).
        weight: Weight of each row in training, float64, shape (rows,).
    """

    def __init__(
        self, folder: Path, preprocessor: Preprocessor, folds: list[np.ndarray] | None = None
    ) -> None:
        counts = count_rows(folder)
        parts = zip(part_paths(folder), counts, np.cumsum(counts), strict=True)
        self._parts = [(path, slice(end - count, end)) for path, count, end in parts if count]
        layers = self._preprocess = preprocessor.layers
        # One pass instead of one for each operation; to compile it takes as long as three parts.
        # XLA knows no texts.
        if len(self._parts) > 2 and all(tensor.dtype != "string" for tensor in layers.inputs):
            self._preprocess = tf.function(layers, jit_compile=True)
        self._schema, target = preprocessor.schema, preprocessor.statistics.target
        y, self.weight = read_labels(folder, self._schema), read_weights(folder, self._schema)
        if len(preprocessor.class_weights):
            self.weight = self.weight * preprocessor.class_weights[y[:, 0].astype(np.int64)]
        self.y = (y - target.shift) / target.scale
        self._texts = preprocessor.encode_texts(folder, folds)
        self._keep = len(y) * layers.outputs[0].shape[-1] * 4 <= KEPT_BYTES
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


class Fold(NamedTuple):
    """The rows that the networks of a fold learn from, and those that they predict.

    Attributes:
        learnt: The rows to learn from.
        held_out: The other rows, predicted after each round. More rows may follow them, which fill
            up their number.
        numbers: Numbers of the held-out rows among the training rows, int32; none without folds.
        y: Labels of the held-out rows as networks learn them, shape (rows,).
        weight: Weights of the held-out rows in training, shape (rows,).
    """

    learnt: Dataset
    held_out: Dataset
    numbers: np.ndarray
    y: np.ndarray
    weight: np.ndarray


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
