"""What the training rows decide before a network learns from them."""

from dataclasses import dataclass
from functools import cached_property, partial
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
        y: Labels of the training rows, float64, (rows, 1).
        weight: Weights of the training rows, 1 on average, (rows,).
        class_weights: Weights of the classes, (classes,).
        training_weight: Product of both weights of each training row, (rows,).
        dataset: The training rows, preprocessed.
        row_folds: Fold of the rows of each part, int32.
        is_grouped: Whether rows are in one fold by their group or time.
    """

    folder: Path
    schema: Schema
    train: Resolved
    statistics: Statistics
    preprocessing: keras.Model
    text_encoders: dict[str, texts.TextEncoder]
    y: np.ndarray
    weight: np.ndarray
    class_weights: np.ndarray
    training_weight: np.ndarray
    dataset: TableDataset
    row_folds: list[np.ndarray]
    is_grouped: bool

    @property
    def planned(self) -> str:
        """How many networks of each architecture are to be trained."""
        counts = {m.network: m.count * self.train.folds for m in self.train.members}
        return ", ".join(f"{count} of {name}" for name, count in counts.items())

    @property
    def epochs(self) -> int:
        """Number of epochs of all networks together."""
        train = self.train
        return sum(train.networks[m.network].epochs * m.count * train.folds for m in train.members)

    def other_dataset(self, folder: Path) -> TableDataset:
        """Prepare and weigh the rows of another table as the training rows are."""
        y, weight = all_labels(folder, self.schema), all_weights(folder, self.schema)
        weight = multiply_weights(y, weight, self.class_weights)
        encoded = encode_texts(self.text_encoders, folder, self.train.text_length)
        target = self.statistics.target
        return TableDataset(folder, self.schema, self.preprocessing, target, weight, encoded)

    def folds(self) -> list[np.ndarray]:
        """Return the fold of each row of each part."""
        return self.row_folds

    def losses(self, y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Compute the loss of each row by which networks are chosen: see `row_losses`."""
        return row_losses(y, outputs, self.schema, self.train.loss)

    def mean_loss(self, rows: np.ndarray, outputs: np.ndarray, by_class: bool = True) -> float:
        """Average the losses of outputs for some of the training rows.

        Args:
            by_class: Whether the weights of the classes count, or only those of the rows.
        """
        weight = self.training_weight if by_class else self.weight
        return float(np.average(self.losses(self.y[rows, 0], outputs), weights=weight[rows]))

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs of networks as the saved model gives them.

        A regression's are in their units and within the range of the training rows.
        """
        if self.schema.task != "regression":
            return outputs
        target = self.statistics.target
        return np.clip(outputs * target.scale + target.shift, *self.statistics.target_range)

    def standardised(self, rows: np.ndarray) -> np.ndarray:
        """The labels of some of the training rows as networks learn them: float64, (rows, 1)."""
        return (self.y[rows] - self.statistics.target.shift) / self.statistics.target.scale

    @cached_property
    def columns(self) -> Columns:
        """What networks read: columns of numbers, of 0 and 1, and of texts."""
        sample = np.asarray(self.dataset[0].x[:SAMPLE])
        return Columns(sample, len(self.statistics.scalings))

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        """The architectures of `train.members` by name, built once."""
        rows = sum(self.dataset.sizes)
        return {
            members.network: Architecture(members, self.train, self.schema, self.columns, rows)
            for members in self.train.members
        }


def set_up(folder: Path, schema: Schema, train: Train) -> Setup:
    """Fit the preprocessing to the training rows in `folder`, and draw their folds.

    Raises:
        UserError: There are no rows, or fewer than folds, or a column cannot be preprocessed.
    """
    rows, possible = sum(count_rows(folder)), possible_folds(folder)
    resolved = train.resolved(rows, schema.task, len(schema.features), possible)
    statistics = adapt(partial(read_parts, folder), schema, resolved)
    preprocessing = build(statistics, schema, resolved)
    y, weight = all_labels(folder, schema), all_weights(folder, schema)
    by_class = class_weights(y, weight, train, schema)
    training_weight = multiply_weights(y, weight, by_class)
    ends = np.cumsum([count for count in count_rows(folder) if count])[:-1]
    classes = np.split(np.zeros(rows) if schema.task == "regression" else y[:, 0], ends)
    keys = fold_keys(folder)
    folds = draw_folds(classes, keys, resolved.folds, resolved.seed)
    if schema.weight is not None and not np.bincount(np.concatenate(folds), weight).all():
        raise UserError(f"column {schema.weight}: every row of a fold has a weight of 0")

    text_folds = folds
    if resolved.folds == 1:  # a row's own target takes no part in what encodes its texts
        text_folds = draw_folds(classes, keys, max(possible, default=1), resolved.seed)
    shift, scale = statistics.target.shift, statistics.target.scale
    targets = texts.regression_targets((y - shift) / scale, len(schema.classes))
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
    dataset = TableDataset(
        folder, schema, preprocessing, statistics.target, training_weight, encoded
    )
    return Setup(
        *(folder, schema, resolved, statistics, preprocessing, encoders),
        *(y, weight, by_class, training_weight, dataset, folds),
        is_grouped=bool(keys),
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
    by_column = [
        [
            encoder.predict(cells, folds[part] if folds else None)
            for part, cells in enumerate(texts.read_texts(read_parts(folder, [name]), name, length))
        ]
        for name, encoder in encoders.items()
    ]
    return [np.concatenate(columns, axis=1) for columns in zip(*by_column, strict=True)]


def multiply_weights(y: np.ndarray, weight: np.ndarray, by_class: np.ndarray) -> np.ndarray:
    """Multiply the weight of each row by that of its class: float64, shape (rows,).

    Args:
        y: Labels, shape (rows, 1).
        weight: Weights of the rows, shape (rows,).
        by_class: The result of `class_weights`; empty for regression.
    """
    return weight * by_class[y[:, 0].astype(np.int64)] if len(by_class) else weight
