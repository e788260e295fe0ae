"""Several networks that one model averages: trained on folds of the rows or from other seeds."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tabular.errors import UserError
from tabular.model import network, preprocessing
from tabular.model.backend import keras
from tabular.model.checkpoint import Checkpoint
from tabular.model.dataset import Subset, TableDataset, all_labels, sample_weights
from tabular.model.trainer import Dataset, Trainer
from tabular.params.train import Train
from tabular.schema import Schema
from tabular.table.parquet import read_parts


class Setup(NamedTuple):
    """What the training rows decide before a network learns from them.

    Attributes:
        inputs: of the model to be, by `input_name` of the column.
        preprocessed: the columns that the networks read, shape (rows, width).
        target: what was taken from the labels and what they were divided by.
        dataset: the training rows, preprocessed.
        untrained: a compiled network by its number from 0; it is seeded with `train.seed` + number.
        any_cpu: whether the training repeats on any CPU, see `network.FlatDense`.
    """

    inputs: dict[str, keras.KerasTensor]
    preprocessed: keras.KerasTensor
    target: preprocessing.Scaling
    dataset: TableDataset
    untrained: Callable[[int], keras.Model]
    any_cpu: bool

    def other_dataset(self, folder: Path, schema: Schema) -> TableDataset:
        """The rows of another table, preprocessed as the training rows are."""
        model = keras.Model(self.inputs, self.preprocessed)
        return TableDataset(folder, schema, model, self.target)

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs of networks as the saved model gives them: a regression's in their units."""
        return outputs * self.target.scale + self.target.shift


def set_up(folder: Path, schema: Schema, train: Train) -> Setup:
    """Adapt the preprocessing to the training rows in `folder`.

    Raises:
        UserError: there are none, or a column cannot be preprocessed.
    """
    statistics = preprocessing.adapt(partial(read_parts, folder), schema, train)
    inputs, preprocessed = preprocessing.build(statistics, schema, train)
    weights = sample_weights(all_labels(folder, schema), train, schema)
    width = preprocessed.shape[-1]
    any_cpu = network.small_steps(train.batch_size, (width, *train.units, schema.outputs))
    any_cpu &= train.optimizer != "adafactor"  # its factors are of a matrix, not of a vector

    def untrained(number: int) -> keras.Model:
        member = train.model_copy(update={"seed": train.seed + number})
        keras.utils.set_random_seed(member.seed)
        stack = network.layers(member, schema)
        return network.compiled(stack, width, member, schema, flat=any_cpu)

    model = keras.Model(inputs, preprocessed)
    dataset = TableDataset(folder, schema, model, statistics.target, weights)
    return Setup(inputs, preprocessed, statistics.target, dataset, untrained, any_cpu)


class Member(NamedTuple):
    """A trained network, and its predictions for the rows of its own fold.

    `weights` as `get_weights` gives them; `history` the logs of its epochs; `rows` (n,), int32,
    the numbers of its fold's rows over all parts, none without folds; `oof` (n, outputs), float32,
    its out-of-fold predictions: those for the rows that it has not seen.
    """

    weights: list[np.ndarray]
    history: list[dict[str, float]]
    rows: np.ndarray
    oof: np.ndarray


def fold_of_rows(sizes: list[int], folds: int, seed: int) -> list[np.ndarray]:
    """The fold of each row of each part, int32; folds differ by one row at most.

    Raises:
        UserError: there are more folds than rows.
    """
    if folds > sum(sizes):
        raise UserError(
            f"train.ensemble is {folds}, but there are {sum(sizes)} training rows and each fold "
            "needs one; set it lower, or train.members to seeds"
        )
    rng = np.random.default_rng([seed, folds])
    before = np.cumsum([0, *sizes[:-1]])  # rows; the folds take turns from part to part
    return [
        ((rng.permutation(size) + first) % folds).astype(np.int32)
        for size, first in zip(sizes, before, strict=True)
    ]


def fit(
    untrained: Callable[[int], keras.Model],
    dataset: TableDataset,
    validation: Dataset,
    train: Train,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint: Callable[[int], Checkpoint | None] = lambda number: None,
) -> Iterator[Member]:
    """Train `train.ensemble` networks one after the other, in graphs that are compiled once.

    With folds, each one learns from all folds but its own, which is its validation set; that fold
    takes no part in its weights, except that it stops them early.

    Args:
        untrained: the compiled network of a member, by its number from 0.
        dataset: the training rows.
        validation: the validation rows where members differ by seed, or there is one.
        train: the parameters; member `m` shuffles with `train.seed + m`.
        callbacks: of every member, beside its early stopping.
        checkpoint: of a member, by its number.

    Yields:
        Each member when it is trained.

    Raises:
        UserError: there are more folds than rows, or a loss is not finite.
    """
    trainer = Trainer(untrained(0), train.batch_size)
    fold = fold_of_rows(dataset.sizes, train.folds, train.seed)
    fold_of_row = np.concatenate(fold)
    stop = train.early_stopping
    for number in range(train.ensemble):
        if number:
            trainer.assign(untrained(number))
        train_rows: Dataset = dataset
        validation_rows = validation
        if train.folds > 1:
            train_rows, validation_rows = (
                Subset(dataset, [np.flatnonzero(f).astype(np.int32) for f in masks])
                for masks in ([f != number for f in fold], [f == number for f in fold])
            )
        history = trainer.fit(
            train_rows,
            validation_rows,
            epochs=train.epochs,
            seed=train.seed + number,
            callbacks=[
                *([keras.callbacks.EarlyStopping(**stop.model_dump())] if stop else []),
                *callbacks,
            ],
            checkpoint=checkpoint(number),
        )
        own = np.empty(0, np.int32)
        oof = np.empty((0, *trainer.model.output_shape[1:]), np.float32)
        if train.folds > 1:
            own = np.flatnonzero(fold_of_row == number).astype(np.int32)
            oof = np.concatenate(trainer.predict(validation_rows))
        yield Member(network.weights(trainer.model), history, own, oof)


def out_of_fold(members: list[Member], sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each part the out-of-fold prediction of every row, and the row's fold.

    Args:
        members: of all folds, or without folds.
        sizes: rows of each part.

    Returns:
        float32, (rows, outputs), and int32, (rows,); without folds one part without rows.
    """
    rows = np.concatenate([member.rows for member in members])
    oof = np.concatenate([member.oof for member in members])
    fold = np.repeat(np.arange(len(members), dtype=np.int32), [len(m.rows) for m in members])
    if not len(rows):
        return [(oof, fold)]
    order = np.argsort(rows)
    cuts = np.cumsum(sizes)[:-1]
    return list(zip(np.split(oof[order], cuts), np.split(fold[order], cuts), strict=True))


def average(
    preprocessed: keras.KerasTensor,
    stack: Callable[[], list[keras.layers.Layer]],
    members: list[Member],
) -> keras.KerasTensor:
    """The mean of the members' outputs for the preprocessed columns; of one member, its output.

    Args:
        stack: new layers of a member, without weights.
    """
    outputs = []
    for number, member in enumerate(members, start=1):
        output, layers = preprocessed, stack()
        name = layers[-1].name
        for layer in layers:
            if len(members) > 1:
                layer.name = f"member_{number}_{layer.name}"
            output = layer(output)
        keras.Model(preprocessed, output).set_weights(member.weights)
        outputs.append(output)
    return keras.layers.Average(name=name)(outputs) if len(outputs) > 1 else outputs[0]


def mean_history(members: list[Member]) -> list[dict[str, float]]:
    """The logs of each epoch, averaged over the members that trained in it."""
    longest = max(len(member.history) for member in members)
    epochs = [[m.history[n] for m in members if len(m.history) > n] for n in range(longest)]
    return [
        {name: float(np.mean([logs[name] for logs in epoch])) for name in epoch[0]}
        for epoch in epochs
    ]
