"""The training rows made ready for the networks: what train and search have in common."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.lib import network, preparation
from stages.lib.backend import keras
from stages.lib.blocks import TableBlocks, all_labels
from stages.lib.params import Data, Train
from stages.lib.table import read_parts


class Training(NamedTuple):
    """What a training takes.

    Args:
        inputs: of the model to be, by `input_name` of the column.
        prepared: the columns that the networks read, shape (rows, width).
        target: what was taken from the labels and what they were divided by.
        rows: the training rows, prepared.
        untrained: a compiled network by its number from 0; it is seeded with `train.seed` + number.
        any_cpu: whether the training repeats on any CPU, see `network.OneVector`.
    """

    inputs: dict[str, keras.KerasTensor]
    prepared: keras.KerasTensor
    target: preparation.Scaling
    rows: TableBlocks
    untrained: Callable[[int], keras.Model]
    any_cpu: bool

    def table(self, folder: Path, data: Data) -> TableBlocks:
        """The rows of another table, prepared as the training rows are."""
        return TableBlocks(folder, data, keras.Model(self.inputs, self.prepared), self.target)

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """What networks say, as the saved model says it: a regression's values in their units."""
        return outputs * self.target.scale + self.target.shift


def ready(folder: Path, data: Data, train: Train) -> Training:
    """Learn the preparation from the training rows in `folder`.

    Raises:
        UserError: there are none, or a column cannot be prepared.
    """
    statistics = preparation.learn(partial(read_parts, folder), data, train)
    inputs, prepared = preparation.prepare(statistics, data, train)
    preparing, target = keras.Model(inputs, prepared), statistics.target
    weights = sample_weights(all_labels(folder, data), train, data)
    width = prepared.shape[-1]
    outputs = len(data.classes) if data.task == "multiclass" else 1
    any_cpu = network.small_steps(train.batch_size, (width, *train.units, outputs))
    any_cpu &= train.optimizer != "adafactor"  # its factors are of a matrix, not of a vector

    def untrained(number: int) -> keras.Model:
        member = train.model_copy(update={"seed": train.seed + number})
        keras.utils.set_random_seed(member.seed)
        stack = network.layers(member, data)
        return network.compiled(stack, width, member, data, one_vector=any_cpu)

    rows = TableBlocks(folder, data, preparing, target, weights)
    return Training(inputs, prepared, target, rows, untrained, any_cpu)


def sample_weights(y: np.ndarray, train: Train, data: Data) -> np.ndarray:
    """`train.class_weight` as a weight for each row: float32, shape (rows,).

    `balanced` is scikit-learn's: rows / (classes * rows of the class).
    """
    if train.class_weight is None:
        return np.ones(len(y), dtype=np.float32)
    places = y[:, 0].astype(np.int64)
    if train.class_weight == "balanced":
        rows = np.bincount(places, minlength=len(data.classes))
        weights = len(y) / (len(rows) * np.maximum(rows, 1))
    else:
        weights = np.array([train.class_weight.get(value, 1.0) for value in data.classes])
    return weights[places].astype(np.float32)
