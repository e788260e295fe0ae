"""Several networks that one model averages: trained on folds of the rows or from other seeds."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from stages.lib import network
from stages.lib.backend import keras
from stages.lib.blocks import ChosenRows, TableBlocks
from stages.lib.checkpoint import Checkpoint
from stages.lib.loop import Blocks, Loop
from stages.lib.params import Train
from stages.lib.stage import UserError


class Member(NamedTuple):
    """A trained network, and what it says of the rows that it has not learnt.

    `weights` as `get_weights` gives them; `history` the logs of its epochs; `rows` (n,), int32,
    the numbers of its fold's rows over all blocks, none without folds; `outputs` (n, outputs),
    float32, what it says of them.
    """

    weights: list[np.ndarray]
    history: list[dict[str, float]]
    rows: np.ndarray
    outputs: np.ndarray


def fold_of_rows(sizes: list[int], folds: int, seed: int) -> list[np.ndarray]:
    """The fold of each row of each block, int32; folds differ by one row at most.

    Raises:
        UserError: there are more folds than rows.
    """
    if folds > sum(sizes):
        raise UserError(
            f"train.ensemble is {folds}, but there are {sum(sizes)} training rows and each fold "
            "needs one; set it lower, or train.members to seeds"
        )
    rng = np.random.default_rng([seed, folds])
    before = np.cumsum([0, *sizes[:-1]])  # rows; the folds take turns from block to block
    return [
        ((rng.permutation(size) + first) % folds).astype(np.int32)
        for size, first in zip(sizes, before, strict=True)
    ]


def fit(
    make: Callable[[int], keras.Model],
    rows: TableBlocks,
    validation: Blocks,
    train: Train,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint: Callable[[int], Checkpoint | None] = lambda number: None,
) -> Iterator[Member]:
    """Train `train.ensemble` networks one after the other, in graphs that are compiled once.

    With folds, each one learns from all folds but its own and watches its own in place of the
    validation rows; that fold takes no part in its weights, except that it stops them early.

    Args:
        make: the compiled, untrained network of a member, by its number from 0.
        rows: the training rows.
        validation: the rows to watch where members differ by seed, or there is one.
        train: the parameters; member `m` shuffles with `train.seed + m`.
        callbacks: of every member, beside its early stopping.
        checkpoint: of a member, by its number.

    Yields:
        Each member when it is trained.

    Raises:
        UserError: there are more folds than rows, or a loss is not finite.
    """
    loop = Loop(make(0), train.batch_size)
    fold = fold_of_rows(rows.sizes, train.folds, train.seed)
    fold_of_row = np.concatenate(fold)
    stop = train.early_stopping
    for number in range(train.ensemble):
        if number:
            loop.assign(make(number))
        learnt: Blocks = rows
        watched = validation
        if train.folds > 1:
            learnt, watched = (
                ChosenRows(rows, [np.flatnonzero(f).astype(np.int32) for f in masks])
                for masks in ([f != number for f in fold], [f == number for f in fold])
            )
        history = loop.fit(
            learnt,
            watched,
            epochs=train.epochs,
            seed=train.seed + number,
            callbacks=[
                *([keras.callbacks.EarlyStopping(**stop.model_dump())] if stop else []),
                *callbacks,
            ],
            checkpoint=checkpoint(number),
        )
        own = np.empty(0, np.int32)
        outputs = np.empty((0, *loop.model.output_shape[1:]), np.float32)
        if train.folds > 1:
            own = np.flatnonzero(fold_of_row == number).astype(np.int32)
            outputs = np.concatenate(loop.predict(watched))
        yield Member(network.weights(loop.model), history, own, outputs)


def held_out(members: list[Member], sizes: list[int]) -> list[np.ndarray]:
    """For each block the output for every row of the one member that has not learnt from it.

    Args:
        members: of all folds, or without folds.
        sizes: rows of each block.

    Returns:
        float32, (rows, outputs); without folds one block without rows.
    """
    outputs = np.concatenate([member.outputs for member in members])
    if not len(outputs):
        return [outputs]
    outputs[np.concatenate([member.rows for member in members])] = outputs.copy()
    return np.split(outputs, np.cumsum(sizes)[:-1])


def averaged(
    prepared: keras.KerasTensor,
    stack: Callable[[], list[keras.layers.Layer]],
    members: list[Member],
) -> keras.KerasTensor:
    """The mean of the members' outputs for the `prepared` columns; of one member, its output.

    Args:
        stack: new layers of a member, without weights.
    """
    outputs = []
    for number, member in enumerate(members, start=1):
        output, layers = prepared, stack()
        name = layers[-1].name
        for layer in layers:
            if len(members) > 1:
                layer.name = f"member_{number}_{layer.name}"
            output = layer(output)
        keras.Model(prepared, output).set_weights(member.weights)
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
