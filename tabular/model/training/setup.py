"""What the training rows decide before a network learns from them, and what it will take."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from tabular.config.schema import Schema
from tabular.config.sections import Members, Resolved, Train
from tabular.core.engine import workers
from tabular.core.errors import UserError
from tabular.model import network
from tabular.model.backend import keras
from tabular.model.preprocessing import target_statistics, texts
from tabular.model.preprocessing.layers import Preprocessed, build
from tabular.model.preprocessing.statistics import Statistics, adapt
from tabular.model.stacking import is_stackable
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
    dataset: TableDataset
    subfolds: list[np.ndarray]
    keys: list[np.ndarray] = field(default_factory=list)
    encoders: dict[str, texts.Encoder] = field(default_factory=dict)
    _models: dict[str, keras.Model] = field(default_factory=dict)
    _stacks: dict[str, bool] = field(default_factory=dict)

    @property
    def n_subfolds(self) -> int:
        return count_subfolds(self.train.folds)

    @property
    def planned(self) -> str:
        """How many networks of each kind are to be trained, and for how long, in words."""
        return "; ".join(
            f"{members.count * self.train.folds} of {members.network}, {of.epochs} epochs"
            f"{' at most' if of.learning_rate_schedule == 'cycles' else ''}"
            for members in self.train.members
            for of in [self.train.networks[members.network]]
        )

    @property
    def epochs(self) -> int:
        """Of all networks together."""
        of_kind = {name: network.epochs for name, network in self.train.networks.items()}
        return sum(m.count * self.train.folds * of_kind[m.network] for m in self.train.members)

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
        """For each part what its rows get of their texts, float32, (rows, folds, width).

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
        weight = self.training_weights(rows) if by_class else self.weight[rows]
        return float(np.average(self.losses(self.y[rows, 0], outputs), weights=weight))

    def training_weights(self, rows: np.ndarray) -> np.ndarray:
        """Return the weights by which some of the training rows are learnt, (rows,)."""
        return multiply_weights(self.y[rows], self.weight[rows], self.class_weights)

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
        """Of each column with target statistics."""
        y = self.encoded_targets()
        by_part = np.split(y, np.cumsum(self.dataset.sizes)[:-1])
        rows = (self.dataset[part] for part in range(len(self.dataset)))
        return target_statistics.sums(
            (
                (of_part.codes, y, subfolds)
                for of_part, y, subfolds in zip(rows, by_part, self.subfolds, strict=True)
                if of_part.codes is not None
            ),
            self.n_subfolds,
            list(self.statistics.codes.values()),
        )

    def target_statistics(self, fold: int | None) -> list[np.ndarray]:
        """For each encoded column the statistics that rows of each subfold get, last all others.

        Args:
            fold: that is left out; None where none is.
        """
        if not self.statistics.encoded:
            return []
        without = np.eye(self.n_subfolds + 1, self.n_subfolds)
        if fold is not None:
            without[:, fold :: self.train.folds] = 1
        return [target_statistics.table(sums, without) for sums in self._sums]

    @cached_property
    def columns(self) -> network.Columns:
        """What networks read: target statistics, numbers, and columns of 0 and 1."""
        x = self.dataset[0].x
        encoded = sum(table.shape[-1] for table in self.target_statistics(None))
        encoded += sum(len(encoder.weights) for encoder in self.encoders.values())
        return network.Columns(np.asarray(x[:SAMPLE]), encoded, len(self.statistics.scalings))

    def features(self, name: str, members: int | None = None) -> keras.Model:
        """What the layers of a network read, made once: see `network.features`."""
        key = f"features of {name}, {members}"
        if key not in self._models:
            found = network.features(self.columns, self.train.networks[name], members)
            found.name = f"{name}-features"
            self._models[key] = found
        return self._models[key]

    def input_width(self, name: str) -> int:
        """Return the number of values that the first hidden layer of a network reads."""
        embedding = self.train.networks[name].embedding
        units = embedding.units if embedding else 1
        return self.columns.width + self.columns.numbers * (units - 1)

    def network(self, name: str) -> keras.Model:
        """A network without a training, made once."""
        if name not in self._models:
            read = [keras.Input(tensor.shape[1:]) for tensor in self.features(name).outputs]
            output = network.build(read, self.train.networks[name], self.schema)
            self._models[name] = keras.Model(read, output)
        return self._models[name]

    def stacks(self, name: str) -> bool:
        """Whether the members of a kind are saved as one network."""
        if name not in self._stacks:
            self._stacks[name] = is_stackable(self.network(name))
        return self._stacks[name]


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
    model = keras.Model(preprocessed.inputs, preprocessed.read)
    by_class = class_weights(y, weight, train, schema)
    training_weights = multiply_weights(y, weight, by_class)
    dataset = TableDataset(folder, schema, model, statistics.target, training_weights)
    setup = Setup(
        folder, schema, resolved, preprocessed, statistics, y, weight, by_class, dataset, []
    )
    setup.keys = fold_keys(folder)
    of_rows = np.zeros(len(y)) if schema.task == "regression" else y[:, 0]
    classes = np.split(of_rows, np.cumsum(dataset.sizes)[:-1])
    setup.subfolds = draw_subfolds(classes, setup.keys, resolved.folds, resolved.seed)
    folds = setup.folds() if resolved.folds > 1 else setup.subfolds
    if schema.weight is not None and not np.bincount(np.concatenate(setup.folds()), weight).all():
        raise UserError(f"column {schema.weight}: every row of a fold has a weight of 0")
    for name, of_text in preprocessed.texts.items():
        setup.encoders[name] = texts.fit(
            of_text,
            read_texts(folder, name, resolved.text_length),
            setup.encoded_targets(),
            np.concatenate(folds),
            resolved.folds,
            resolved.text_buckets,
        )
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


# Copies of its weights that a network in training takes: itself, the gradient, two slots of Adam,
# and what the compiled step moves.
COPIES = 6
SNAPSHOTS = 10  # copies of each network that cycles leave: a snapshot of each, and the last state


def check_memory(train: Resolved, members: Members, width: int, outputs: int) -> None:
    """Refuse networks whose weights do not fit into the memory of this machine.

    Args:
        members: An element of `train.members`, which are networks of one kind.
        width: Number of values that the first layer reads.
        outputs: Number of outputs of each network.

    Raises:
        UserError: The message names the units of the network.
    """
    network, count = train.networks[members.network], members.count * train.folds
    snapshots = SNAPSHOTS if network.learning_rate_schedule == "cycles" else 1
    copies = count * snapshots + COPIES * min(workers(), count)
    weights = sum((n + 1) * units for n, units in pairwise([width, *network.units, outputs]))
    needed, memory = 4 * weights * copies, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    if needed > memory:
        raise UserError(
            f"train.networks.{members.network}.units is {list(network.units)}: {count} networks of "
            f"{weights:,} weights would take {needed / 1e9:,.1f} GB of memory, and this machine "
            f"has {memory / 1e9:,.1f}. Lower the units, or the members and folds"
        )
