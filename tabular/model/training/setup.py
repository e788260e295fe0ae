"""What the training rows decide before a network learns from them, and what it will take."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from tabular.config.schema import Schema
from tabular.config.sections import Resolved, Train
from tabular.core.errors import UserError
from tabular.model.backend import keras
from tabular.model.network import Columns
from tabular.model.preprocessing import target_statistics, texts
from tabular.model.preprocessing.layers import Preprocessed, build
from tabular.model.preprocessing.statistics import Statistics, adapt
from tabular.model.training.architecture import Architecture
from tabular.model.training.dataset import TableDataset, all_labels, all_weights, class_weights
from tabular.model.training.folds import count_subfolds, draw_subfolds, fold_keys, possible_folds
from tabular.table.arrays import row_losses
from tabular.table.parquet import count_rows, read_parts

SAMPLE = 100_000  # training rows, which lie shuffled in their parts, for medians and quantiles


@dataclass
class Setup:
    """What the training rows decide before a network learns from them.

    Attributes:
        folder: of the training rows.
        train: the parameters, every `auto` replaced.
        preprocessed: the inputs of the model to be, and what the preprocessing makes of them.
        statistics: what the preprocessing took from the rows.
        y: the labels of the training rows, float64, shape (rows, 1).
        weight: Weights of the training rows, 1 on average, (rows,).
        class_weights: Weights of the classes, (classes,).
        training_weight: Product of both weights of each training row, (rows,).
        dataset: the training rows, preprocessed.
        subfolds: for each part, of each row, int32, for cross-fitting; rows of fold f have f,
            f + folds, ...
        keys: for each part, of each row; those of one key are in one subfold; none of a random
            split.
        encoders: of each text column.
    """

    folder: Path
    schema: Schema
    train: Resolved
    preprocessed: Preprocessed
    statistics: Statistics
    y: np.ndarray
    weight: np.ndarray
    class_weights: np.ndarray
    training_weight: np.ndarray
    dataset: TableDataset
    subfolds: list[np.ndarray]
    keys: list[np.ndarray]
    encoders: dict[str, texts.Encoder] = field(default_factory=dict)

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
        model = keras.Model(self.preprocessed.inputs, self.preprocessed.read)
        y, weight = all_labels(folder, self.schema), all_weights(folder, self.schema)
        weight = multiply_weights(y, weight, self.class_weights)
        dataset = TableDataset(folder, self.schema, model, self.statistics.target, weight)
        if self.train.folds == 1:
            dataset.texts = self.text_values(folder, None)
        return dataset

    def text_values(self, folder: Path, folds: list[np.ndarray] | None) -> list[np.ndarray]:
        """Return the values of the texts of the rows of each part, float32, (rows, folds, width).

        Args:
            folds: of the rows of each part; None of rows that are not the training rows.
        """
        of_columns = [
            [
                encoder.values(part, folds[number] if folds else None, self.train.folds)
                for number, part in enumerate(read_texts(folder, name, self.train.text_length))
            ]
            for name, encoder in self.encoders.items()
        ]
        return [np.concatenate(columns, axis=2) for columns in zip(*of_columns, strict=True)]

    def folds(self) -> list[np.ndarray]:
        """The fold of each row of each part."""
        return [subfolds % self.train.folds for subfolds in self.subfolds]

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

    def encoded_targets(self) -> np.ndarray:
        """What categories and texts say something of, see `target_statistics.targets`."""
        y = self.standardised(np.arange(len(self.y)))  # near 0, for the sums of squares
        return target_statistics.targets(y, len(self.schema.classes))

    @cached_property
    def _sums(self) -> list[target_statistics.Sums]:
        """Sums of the targets by category, for each column with target statistics."""
        y = np.split(self.encoded_targets(), np.cumsum(self.dataset.sizes)[:-1])
        codes = (np.asarray(self.dataset[part].codes) for part in range(len(self.dataset)))
        return target_statistics.sums(
            zip(codes, y, self.subfolds, strict=True),
            count_subfolds(self.train.folds),
            [2 + len(categories) for categories in self.statistics.encoded.values()],
        )

    def target_statistics(self, fold: int | None) -> list[np.ndarray]:
        """Compute the statistics of each encoded column for the rows of each subfold, then others.

        Args:
            fold: that is left out; None where none is.
        """
        if not self.statistics.encoded:
            return []
        subfolds = count_subfolds(self.train.folds)
        without = np.eye(subfolds + 1, subfolds)
        if fold is not None:
            without[:, fold :: self.train.folds] = 1
        return [target_statistics.table(sums, without) for sums in self._sums]

    @cached_property
    def columns(self) -> Columns:
        """What networks read: target statistics, numbers, and columns of 0 and 1."""
        x = self.dataset[0].x
        encoded = sum(table.shape[-1] for table in self.target_statistics(None))
        encoded += sum(len(encoder.weights) for encoder in self.encoders.values())
        return Columns(np.asarray(x[:SAMPLE]), encoded, len(self.statistics.scalings))

    @cached_property
    def architectures(self) -> dict[str, Architecture]:
        """The architectures of `train.members` by name, built once."""
        rows = sum(self.dataset.sizes)
        return {
            members.network: Architecture(members, self.train, self.schema, self.columns, rows)
            for members in self.train.members
        }


def set_up(folder: Path, schema: Schema, train: Train) -> Setup:
    """Adapt the preprocessing to the training rows in `folder`.

    Raises:
        UserError: there are none, fewer than folds, or a column cannot be preprocessed.
    """
    rows, possible = sum(count_rows(folder)), possible_folds(folder)
    resolved = train.resolved(rows, schema.task, len(schema.features), possible)
    statistics = adapt(partial(read_parts, folder), schema, resolved)
    preprocessed = build(statistics, schema, resolved)
    y, weight = all_labels(folder, schema), all_weights(folder, schema)
    by_class = class_weights(y, weight, train, schema)
    training_weight = multiply_weights(y, weight, by_class)
    model = keras.Model(preprocessed.inputs, preprocessed.read)
    dataset = TableDataset(folder, schema, model, statistics.target, training_weight)
    keys, of_rows = fold_keys(folder), np.zeros(rows) if schema.task == "regression" else y[:, 0]
    classes = np.split(of_rows, np.cumsum(dataset.sizes)[:-1])
    subfolds = draw_subfolds(classes, keys, resolved.folds, resolved.seed)
    setup = Setup(
        *(folder, schema, resolved, preprocessed, statistics, y, weight, by_class),
        training_weight=training_weight,
        dataset=dataset,
        subfolds=subfolds,
        keys=keys,
    )
    folds = setup.folds() if resolved.folds > 1 else subfolds
    if schema.weight is not None and not np.bincount(np.concatenate(setup.folds()), weight).all():
        raise UserError(f"column {schema.weight}: every row of a fold has a weight of 0")
    targets, row_folds = setup.encoded_targets(), np.concatenate(folds)
    for name, tokens in preprocessed.texts.items():
        cells, buckets = read_texts(folder, name, resolved.text_length), resolved.text_buckets
        encoder = texts.fit(tokens, cells, targets, row_folds, resolved.folds, buckets)
        setup.encoders[name] = encoder
    dataset.texts = setup.text_values(folder, folds)
    return setup


def multiply_weights(y: np.ndarray, weight: np.ndarray, by_class: np.ndarray) -> np.ndarray:
    """Multiply the weight of each row by that of its class: float64, shape (rows,).

    Args:
        y: Labels, shape (rows, 1).
        weight: Weights of the rows, shape (rows,).
        by_class: The result of `class_weights`; empty for regression.
    """
    return weight * by_class[y[:, 0].astype(np.int64)] if len(by_class) else weight


def read_texts(folder: Path, name: str, length: int) -> Iterator[np.ndarray]:
    """The first characters of each text of each part that has rows; object, (rows,)."""
    for part in read_parts(folder, [name]):
        if len(part):
            texts = pc.utf8_slice_codeunits(part[0], 0, length)  # before characters are parted
            yield pc.fill_null(texts, "").to_numpy(zero_copy_only=False)
