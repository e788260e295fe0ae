"""What the training rows decide before a network learns from them."""

from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np

from tabular.config.schema import Schema
from tabular.config.sections import Resolved, Train
from tabular.core.errors import UserError
from tabular.model.backend import keras
from tabular.model.network import Columns
from tabular.model.preprocessing import texts
from tabular.model.preprocessing.layers import build
from tabular.model.preprocessing.statistics import Statistics, adapt
from tabular.model.training.architecture import Architecture
from tabular.model.training.dataset import TableDataset, all_labels, all_weights, class_weights
from tabular.model.training.folds import draw_folds, fold_keys, possible_folds
from tabular.table.arrays import row_losses
from tabular.table.parquet import count_rows, read_parts

SAMPLE = 100_000  # training rows, which lie shuffled in their parts, for medians and quantiles


@dataclass
class Setup:
    """The training rows, their folds, and the preprocessing that was fitted to them.

    Attributes:
        folder: Folder of the training rows.
        train: The parameters, every `auto` replaced.
        statistics: What the preprocessing took from the rows.
        preprocessing: The model from raw columns to what networks read of them, see `build`.
        text_encoders: The encoder of each text column.
        class_weights: Weights of the classes, (classes,).
        y: Labels of the training rows, float64, (rows, 1).
        weight: Weights of the training rows, 1 on average, (rows,). Those of `dataset` are
            multiplied by the weights of the classes.
        dataset: The training rows, preprocessed.
        folds: Fold of the rows of each part, int32.
        is_grouped: Whether rows are in one fold by their group or time.
        architectures: The architectures of `train.members` by name.
    """

    folder: Path
    schema: Schema
    train: Resolved
    statistics: Statistics
    preprocessing: keras.Model
    text_encoders: dict[str, texts.TextEncoder]
    class_weights: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    dataset: TableDataset
    folds: list[np.ndarray]
    is_grouped: bool
    architectures: dict[str, Architecture]

    def prepare(self, folder: Path) -> TableDataset:
        """Preprocess and weigh the rows of another table as the training rows are."""
        y, target = all_labels(folder, self.schema), self.statistics.target
        weight = multiply_weights(y, all_weights(folder, self.schema), self.class_weights)
        encoded = encode_texts(self.text_encoders, folder, self.train.text_length)
        y = (y - target.shift) / target.scale
        return TableDataset(folder, self.schema, self.preprocessing, y, weight, encoded)

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
        target = self.statistics.target
        return np.clip(outputs * target.scale + target.shift, *self.statistics.target_range)


def set_up(folder: Path, schema: Schema, train: Train) -> Setup:
    """Fit the preprocessing to the training rows in `folder`, and draw their folds.

    Raises:
        UserError: There are no rows, or fewer than folds, or a column cannot be preprocessed, or
            the networks do not fit into memory.
    """
    sizes, possible, keys = count_rows(folder), possible_folds(folder), fold_keys(folder)
    resolved = train.resolved(sum(sizes), schema.task, len(schema.features), possible)
    statistics = adapt(partial(read_parts, folder), schema, resolved)
    preprocessing = build(statistics, schema, resolved)
    y, weight = all_labels(folder, schema), all_weights(folder, schema)
    by_class = class_weights(y, weight, train, schema)
    classes = np.zeros(len(y)) if schema.task == "regression" else y[:, 0]
    parts = np.split(classes, np.cumsum([size for size in sizes if size])[:-1])
    folds = draw_folds(parts, keys, resolved.folds, resolved.seed)
    if schema.weight is not None and not np.bincount(np.concatenate(folds), weight).all():
        raise UserError(f"column {schema.weight}: every row of a fold has a weight of 0")

    text_folds = folds
    if resolved.folds == 1:  # a row's own target takes no part in what encodes its texts
        text_folds = draw_folds(parts, keys, max(possible, default=1), resolved.seed)
    standardised = (y - statistics.target.shift) / statistics.target.scale
    targets = texts.regression_targets(standardised, len(schema.classes))
    encoders = {
        name: texts.fit(
            vocabulary,
            texts.read_texts(read_parts(folder, [name]), name, resolved.text_length),
            targets,
            np.concatenate(text_folds),
        )
        for name, vocabulary in statistics.texts.items()
    }
    encoded = encode_texts(encoders, folder, resolved.text_length, text_folds)
    training_weight = multiply_weights(y, weight, by_class)
    dataset = TableDataset(folder, schema, preprocessing, standardised, training_weight, encoded)
    columns = Columns(np.asarray(dataset[0].x[:SAMPLE]), len(statistics.scalings))
    architectures = {
        members.network: Architecture(members, resolved, schema, columns, len(y))
        for members in resolved.members
    }
    return Setup(
        *(folder, schema, resolved, statistics, preprocessing, encoders, by_class),
        *(y, weight, dataset, folds, bool(keys), architectures),
    )


def encode_texts(
    encoders: dict[str, texts.TextEncoder],
    folder: Path,
    length: int,
    folds: list[np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Encode the texts of the rows of each part: float32, (rows, width); empty without texts.

    Args:
        length: Number of characters of a text that are read.
        folds: Fold of the rows of each part, if they are the training rows.
    """
    by_column = []
    for name, encoder in encoders.items():
        cells = texts.read_texts(read_parts(folder, [name]), name, length)
        parts = zip(cells, folds or repeat(None), strict=False)
        by_column.append([encoder.predict(*part) for part in parts])
    return [np.concatenate(columns, axis=1) for columns in zip(*by_column, strict=True)]


def multiply_weights(y: np.ndarray, weight: np.ndarray, by_class: np.ndarray) -> np.ndarray:
    """Multiply the weight of each row by that of its class: float64, shape (rows,).

    Args:
        y: Labels, shape (rows, 1).
        weight: Weights of the rows, shape (rows,).
        by_class: The result of `class_weights`; empty for regression.
    """
    return weight * by_class[y[:, 0].astype(np.int64)] if len(by_class) else weight
