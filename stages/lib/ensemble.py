"""Several networks that one model averages: trained on folds of the rows or from other seeds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.lib.backend import keras
from stages.lib.blocks import ChosenRows, TableBlocks
from stages.lib.checkpoint import Checkpoint
from stages.lib.loop import Blocks, Loop
from stages.lib.params import Train
from stages.lib.progress import Progress
from stages.lib.stage import UserError


class Member(NamedTuple):
    """A trained network: its weights as `get_weights` gives them, and the logs of its epochs."""

    weights: list[np.ndarray]
    history: list[dict[str, float]]


def fold_of_rows(sizes: list[int], folds: int, seed: int) -> list[np.ndarray]:
    """The fold of each row of each block, int32; in a block, folds differ by one row at most.

    Raises:
        UserError: there are more folds than rows.
    """
    if folds > sum(sizes):
        raise UserError(
            f"train.ensemble is {folds}, but there are {sum(sizes)} training rows and each fold "
            "needs one; set it lower, or train.members to seeds"
        )
    rng = np.random.default_rng([seed, folds])
    return [(rng.permutation(size) % folds).astype(np.int32) for size in sizes]


def fit(
    make: Callable[[int], keras.Model],
    rows: TableBlocks,
    validation: Blocks,
    train: Train,
    *,
    xla: bool,
    checkpoint: Callable[[int], Checkpoint],
) -> tuple[list[Member], list[np.ndarray]]:
    """Train `train.ensemble` networks one after the other, in graphs that are compiled once.

    With folds, each one learns from all folds but its own and watches its own in place of the
    validation rows; that fold takes no part in its weights, except that it stops them early.

    Args:
        make: the compiled, untrained network of a member, by its number from 0.
        rows: the training rows.
        validation: the rows to watch where members differ by seed, or there is one.
        train: the parameters; member `m` shuffles with `train.seed + m`.
        xla: as in `Loop`.
        checkpoint: of a member, by its number.

    Returns:
        The members, and with folds for each block the output for every row of the one member that
        has not learnt from it: float32, (rows, outputs); without folds no block.
    """
    loop = Loop(make(0), batch_size=train.batch_size, xla=xla)
    fold = fold_of_rows(rows.sizes, train.folds, train.seed)
    fold_of_row = np.concatenate(fold)
    held_out = np.empty((len(fold_of_row), *loop.model.output_shape[1:]), np.float32)
    progress = Progress(train.epochs, train.ensemble)
    stop = train.early_stopping
    members = []
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
                progress,
            ],
            checkpoint=checkpoint(number),
        )
        if train.folds > 1:
            held_out[fold_of_row == number] = np.concatenate(loop.predict(watched))
        members.append(Member(loop.model.get_weights(), history))
    return members, np.split(held_out, np.cumsum(rows.sizes)[:-1]) if train.folds > 1 else []


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
