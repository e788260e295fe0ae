"""The training of all networks: every fold, round by round, until another round does not help.

A round is an epoch or, with `learning_rate_schedule: cosine_restarts`, a cycle of the learning
rate. After each round, a network predicts the rows that it has not learnt from. Epochs lead to one
snapshot, the network after the last or the best of them. Each cycle leads to a snapshot, and the
losses of all folds together decide about another cycle.
"""

import math
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from keras_tabular.config.sections import EarlyStopping
from keras_tabular.core.errors import UserError
from keras_tabular.core.numbers import round_for_comparison
from keras_tabular.core.parallel import ProgressBar, ordered_map, report_progress
from keras_tabular.networks.backend import keras
from keras_tabular.networks.network import learnt_weights
from keras_tabular.table.arrays import predicted_classes
from keras_tabular.training.checkpoint import Checkpoints, Logs, Snapshot
from keras_tabular.training.setup import FoldRows, Setup
from keras_tabular.training.trainer import TRACING, get_state, set_state

MIN_GAIN = 0.01  # a share of the loss; less is not worth twice as many steps


def fit(
    setup: Setup, *, checkpoints: Checkpoints | None = None, show_progress: bool = False
) -> Iterator[Snapshot]:
    """Train the networks of `train.members`, as many at the same time as there are workers.

    With folds, each network learns from all folds but its own. That fold takes no part in its
    weights, except that it stops the training.

    Args:
        checkpoints: The snapshots of a training that was killed.
        show_progress: Whether a bar on stderr shows the number of epochs that have ended.

    Yields:
        The first snapshots of the first fold, of the second, and so on; then the second ones.

    Raises:
        UserError: A loss is not finite.
    """
    networks = [
        Snapshot(members.network, fold, fold * members.count + number)
        for fold in range(setup.train.folds)
        for members in setup.train.members
        for number in range(members.count)
    ]
    cancelled = threading.Event()
    for architecture in setup.architectures.values():
        architecture.trainer.cancelled = cancelled
    lowest_losses: dict[str, float] = {}
    epochs = sum(setup.train.networks[network.architecture].epochs for network in networks)
    with closing(ProgressBar(epochs)) as bar:
        report = bar.advance if show_progress else None
        while networks:
            train, snapshots = partial(train_to_snapshot, setup, checkpoints), []
            for snapshot in ordered_map(
                train, networks, max_concurrent=len(networks), report=report, stop=cancelled.set
            ):
                snapshots.append(snapshot)
                yield replace(snapshot, state=[])
            networks = networks_to_continue(setup, snapshots, lowest_losses)


def train_to_snapshot(
    setup: Setup, checkpoints: Checkpoints | None, previous: Snapshot
) -> Snapshot:
    """Train a network until its next snapshot, or load that if it was saved.

    Args:
        previous: Its previous snapshot, or a `Snapshot` without any rounds.
    """
    file = f"{previous.architecture}-{previous.number}-{len(previous.history)}"
    if checkpoints and (saved := checkpoints.load(file)):
        report_rounds(setup, saved, len(previous.history))
        return saved
    snapshot = train_rounds(setup, previous)
    if checkpoints:
        checkpoints.save(file, snapshot)
    return snapshot


def train_rounds(setup: Setup, network: Snapshot) -> Snapshot:
    """Train a network for a cycle, or for all its epochs until it is stopped early."""
    architecture = setup.architectures[network.architecture]
    fold = setup.rows_of_fold(network.fold)
    compiled = compiled_model(setup, network, fold)
    stop = architecture.params.early_stopping if len(fold.y) else None
    best, first = 0, len(network.history)
    rounds = 1 if architecture.max_cycles else architecture.params.epochs
    for number in range(first, first + rounds):
        logs, predictions = train_round(setup, network, compiled, fold)
        network = replace(network, history=[*network.history, logs], epochs=logs["epoch"])
        report_rounds(setup, network, number)
        if stop:
            best = best_round(network.history, stop, best)
            if number == best:
                best_state = get_state(compiled)
            if number - best >= stop.patience:
                break
    if stop and stop.restore_best_weights:
        set_state(compiled, best_state)
        predictions = architecture.trainer.predict(compiled, fold.held_out)
        network = replace(network, epochs=best + 1)
    snapshot = replace(
        network,
        weights=learnt_weights(compiled),
        rows=fold.numbers,
        oof=predictions[: len(fold.numbers)],
        steps=architecture.steps_after(len(network.history)),
        state=get_state(compiled),
    )
    architecture.trainer.idle.append(compiled)
    return snapshot


def compiled_model(setup: Setup, network: Snapshot, fold: FoldRows) -> keras.Model:
    """Build the compiled model that trains a network, or let an idle one continue its training."""
    architecture = setup.architectures[network.architecture]
    with TRACING:  # Keras's seed is global too
        if network.state and architecture.trainer.idle:
            compiled = architecture.trainer.idle.pop()
        else:
            compiled = architecture.untrained(setup.train.seed + network.number, fold.learnt)
    if network.state:
        set_state(compiled, network.state)
    return compiled


def train_round(
    setup: Setup, network: Snapshot, compiled: keras.Model, fold: FoldRows
) -> tuple[Logs, np.ndarray]:
    """Train for one more round; return its logs and the predictions of the held-out rows."""
    architecture, number = setup.architectures[network.architecture], len(network.history)
    seed, steps = [setup.train.seed + network.number, number], architecture.steps_of(number)
    logs = architecture.trainer.train(compiled, fold.learnt, seed, steps)
    predictions = architecture.trainer.predict(compiled, fold.held_out)
    logs |= held_out_scores(setup, fold, predictions)
    epoch = architecture.epochs_after(number + 1)
    if not all(map(math.isfinite, logs.values())):
        scores = ", ".join(f"{name} {value}" for name, value in logs.items())
        raise UserError(
            f"training diverged in epoch {math.ceil(epoch)}, NaN or infinite: {scores}; try a "
            "smaller learning_rate or another activation in train.networks, or normalization: "
            "standard"
        )
    return logs | {"epoch": epoch}, predictions


def best_round(history: list[Logs], stop: EarlyStopping, best: int = 0) -> int:
    """Return the number of the round that no later one improves by more than `min_delta`.

    Args:
        history: Logs of the rounds.
        best: Number of a round that no earlier one equals, so that the search starts there.
    """
    sign = -1 if stop.monitor == "val_accuracy" else 1
    for number in range(best + 1, len(history)):
        before, after = (round_for_comparison(history[n][stop.monitor]) for n in (best, number))
        if round_for_comparison(sign * (before - after)) > stop.min_delta:
            best = number
    return best


def held_out_scores(setup: Setup, fold: FoldRows, predictions: np.ndarray) -> Logs:
    """Compute the scores of held-out rows by Keras's names for them; none without rows."""
    if not len(fold.y):
        return {}
    predictions = predictions[: len(fold.y)]
    losses = setup.losses(fold.y, predictions)
    if setup.schema.task == "regression":
        name, scores = "val_mean_absolute_error", np.abs(predictions[:, 0] - fold.y)
    else:
        name, scores = "val_accuracy", predicted_classes(predictions, setup.schema, 0.5) == fold.y
    mean_score = float(np.average(scores, weights=fold.weight))
    return {"val_loss": float((fold.weight * losses).mean()), name: mean_score}


def report_rounds(setup: Setup, network: Snapshot, first: int) -> None:
    """Report the rounds of a network from number `first` on."""
    architecture = setup.architectures[network.architecture]
    before, after = map(architecture.epochs_after, (first, len(network.history)))
    epochs, loss = architecture.params.epochs, network.history[-1]["loss"]
    name = f"{network.architecture} {network.number + 1}, epoch {math.ceil(after)} of {epochs}"
    report_progress(min(after - before, epochs), f"{name}, loss {loss:.4f}")


def networks_to_continue(
    setup: Setup, snapshots: list[Snapshot], lowest_losses: dict[str, float]
) -> list[Snapshot]:
    """Choose the networks that train for another cycle: all of an architecture, or none.

    Args:
        snapshots: All networks that have just trained.
        lowest_losses: Lowest loss of each architecture in the cycles before. It is updated.
    """
    limits = {name: each.max_cycles for name, each in setup.architectures.items()}
    networks = [snapshot for snapshot in snapshots if limits[snapshot.architecture]]
    losses = {}
    for name, same in group_by(networks, "architecture").items():
        if (loss := held_out_loss(setup, same)) is not None:
            losses[name] = loss
    finished = finished_architectures(losses, lowest_losses)
    for name, loss in losses.items():
        lowest_losses[name] = min(loss, lowest_losses.get(name, loss))
    return [
        network
        for network in networks
        if network.architecture not in finished
        and len(network.history) < limits[network.architecture]
    ]


def group_by(members: list[Snapshot], attribute: str) -> dict[Any, list[Snapshot]]:
    """Group members by an attribute; groups and members stay in their order."""
    groups: dict[Any, list[Snapshot]] = {}
    for member in members:
        groups.setdefault(getattr(member, attribute), []).append(member)
    return groups


def held_out_loss(setup: Setup, members: list[Snapshot]) -> float | None:
    """Compute the mean loss of snapshots of one name for the rows that are held out.

    Returns:
        The loss of all out-of-fold predictions; without folds the mean loss of the validation rows;
        None if there are no such rows.
    """
    rows, oof = out_of_fold(setup, members)
    if len(rows):
        return setup.mean_loss(rows, oof)
    losses = [m.history[-1]["val_loss"] for m in members if "val_loss" in m.history[-1]]
    return float(np.mean(losses)) if losses else None


def out_of_fold(setup: Setup, members: list[Snapshot]) -> tuple[np.ndarray, np.ndarray]:
    """Average the predictions of members of one architecture for the rows of their folds.

    Returns:
        The rows, sorted, (n,), and the predictions in units of the target, float32, (n, outputs).
    """
    folds = group_by(members, "fold").values()
    rows = np.concatenate([fold[0].rows for fold in folds])
    means = [np.mean([member.oof for member in fold], axis=0, dtype=np.float64) for fold in folds]
    order = np.argsort(rows)
    return rows[order], setup.in_units(np.concatenate(means).astype(np.float32)[order])


def finished_architectures(losses: dict[str, float], lowest_losses: dict[str, float]) -> set[str]:
    """Choose the architectures for which another cycle does not help.

    The first cycle decides nothing. Each later one has to lower the loss by `MIN_GAIN`. The next
    cycle is expected to lower it by at most twice as much, after which no other architecture may
    be better.

    Args:
        losses: Loss of each architecture after its last cycle.
        lowest_losses: Lowest loss of each architecture after the cycles before.
    """
    losses, lowest_losses = (
        {name: round_for_comparison(loss) for name, loss in by_name.items()}
        for by_name in (losses, lowest_losses)
    )
    best = min([*losses.values(), *lowest_losses.values()], default=0.0)
    finished = set()
    for name in losses.keys() & lowest_losses.keys():
        loss, before = losses[name], lowest_losses[name]
        has_gained = loss <= round_for_comparison((1 - MIN_GAIN) * before)
        expected_loss = round_for_comparison(loss - 2 * (before - loss))
        if not has_gained or expected_loss > best:
            finished.add(name)
    return finished
