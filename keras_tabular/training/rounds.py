"""Train the networks of all folds, cycle by cycle, until another cycle does not help.

A cycle is one wave of the learning rate, from 0 to its maximum and back to 0. It takes
30 steps at first, and each cycle takes twice as many as the one before. This is what
happens in a cycle:

1. `fit` gives each network to a worker, which calls `train_to_snapshot`.
2. `train_round` trains the network for the steps of the cycle on all folds but one,
   predicts the rows of that held-out fold, and computes their loss.
3. `train_to_snapshot` returns a snapshot: the weights of the network after the cycle,
   the predictions for its held-out fold, and the state from which the training can
   continue. A checkpoint keeps the snapshot on disk, in case the training is killed.
4. When all networks have ended the cycle, `ensemble_loss` computes the loss of an
   ensemble of all snapshots, and `finished_architectures` decides for which
   architectures another cycle would not help. Without held-out rows, all losses are 0,
   and it finds none.
5. The networks of the other architectures train for another cycle, unless they have
   trained for `Architecture.max_cycles` cycles, the number that fits into their epochs
   (at least one).

In the end, `ensemble.weigh_snapshots` decides which snapshots of which cycles are
saved.

With another learning rate schedule than `cosine_restarts` there are no cycles. Then a
network trains for all its epochs, or until early stopping ends it, and has a single
snapshot. A round is a cycle or an epoch.

No loss is NaN or infinite where losses are compared: `train_round` refuses such a loss.
"""

import math
import threading
from contextlib import nullcontext
from functools import partial

import numpy as np

from keras_tabular.config.sections import EarlyStopping
from keras_tabular.core import process
from keras_tabular.core.errors import UserError
from keras_tabular.core.parallel import Progress, ordered_map
from keras_tabular.core.workers import report_progress
from keras_tabular.network.backend import keras
from keras_tabular.table.arrays import round_for_comparison
from keras_tabular.training import ensemble
from keras_tabular.training.architecture import learnt_weights
from keras_tabular.training.checkpoint import Checkpoints, Logs, Snapshot
from keras_tabular.training.setup import FoldRows, Setup
from keras_tabular.training.trainer import TRACING, get_state, set_state

# Gain of the last cycle, relative to the loss of the ensemble, and to the loss of an
# architecture alone. Another cycle takes twice as many steps as the last one, which is
# not worth it if that gained less than both.
MIN_GAIN = 0.02
MIN_OWN_GAIN = 0.05


def fit(
    setup: Setup,
    *,
    checkpoints: Checkpoints | None = None,
    show_progress: bool = False,
) -> list[Snapshot]:
    """Train the networks of `train.members`, as many at a time as there are workers.

    With folds, each network learns from all folds but its own. No gradient is computed
    from the rows of its own fold. They decide when the training stops and which
    snapshots are saved.

    Args:
        setup: The training rows, their folds and the architectures.
        checkpoints: Files for the snapshots, from which a killed training continues.
        show_progress: Whether to show the progress on stderr.

    Returns:
        The snapshots of the first cycle, fold by fold, then those of the second cycle,
        and so on.

    Raises:
        UserError: A loss is NaN or infinite.
    """
    if checkpoints:
        process.kept_work = (
            f"The same command continues from the files in {checkpoints.folder}."
        )
    networks = []
    for fold in range(setup.train.folds):
        for members in setup.train.members:
            start = fold * members.count
            for number in range(start, start + members.count):
                networks.append(Snapshot(members.network, fold, number))
    cancelled = threading.Event()
    for architecture in setup.architectures.values():
        architecture.trainer.cancelled = cancelled
    train = partial(train_to_snapshot, setup, checkpoints)
    trained = []
    ensemble_losses = list[float]()
    progress = Progress()
    with progress if show_progress else nullcontext():
        while networks:
            start_round(progress, setup, networks)
            snapshots = list(
                ordered_map(
                    train,
                    networks,
                    max_concurrent=len(networks),
                    cancelled=cancelled,
                ),
            )
            # Only the next cycle needs the states.
            trained += [snapshot._replace(state=()) for snapshot in snapshots]
            networks = unfinished_networks(setup, snapshots, trained, ensemble_losses)
    return trained


def start_round(
    progress: Progress,
    setup: Setup,
    networks: list[Snapshot],
) -> None:
    """Begin to show the progress of a cycle or, without cycles, of the whole training.

    The remaining time is not shown for cycles or early stopping, whose number is not
    known, or for several architectures, whose epochs take different times.
    """
    epochs = 0.0
    title = "training"
    for network in networks:
        architecture = setup.architectures[network.architecture]
        rounds = len(network.history)
        if architecture.max_cycles:
            epochs += architecture.epochs_after(rounds + 1) - network.epochs
            title = (
                f"cycle {rounds + 1} of at most {architecture.max_cycles},"
                f" {architecture.steps_in(rounds)} steps"
            )
        else:
            epochs += architecture.params.epochs
    has_fixed_end = not (architecture.max_cycles or architecture.params.early_stopping)
    is_steady = len(setup.architectures) == 1 and has_fixed_end
    progress.start_round(title, epochs, is_steady=is_steady)


def train_to_snapshot(
    setup: Setup,
    checkpoints: Checkpoints | None,
    network: Snapshot,
) -> Snapshot:
    """Train a network until its next snapshot, or load that from its checkpoint.

    It trains for a cycle. Without cycles, it trains for all its epochs or until early
    stopping.

    Args:
        network: The network's last snapshot, or a `Snapshot` without any rounds.
    """
    architecture = setup.architectures[network.architecture]
    file = f"{network.architecture}-{network.number}-{len(network.history)}"
    snapshot = checkpoints.load(file) if checkpoints else None
    if snapshot:
        epochs = snapshot.epochs - network.epochs
        report_progress(epochs, f"{file}, from its checkpoint")
        return snapshot
    fold = setup.rows_of_fold(network.fold)
    with TRACING:  # Keras's seed is global too
        seed = setup.train.seed + network.number
        state = network.state or architecture.first_state(seed, fold.learnt)
        idle = architecture.trainer.idle
        compiled = idle.pop() if idle else architecture.build_compiled()
    set_state(compiled, state)
    train = train_round if architecture.max_cycles else train_epochs
    network = train(setup, network, compiled, fold)
    snapshot = network._replace(
        weights=learnt_weights(compiled),
        rows=fold.numbers,
        outputs=network.outputs[: len(fold.numbers)],
        steps=architecture.steps_after(len(network.history)),
        state=get_state(compiled),
    )
    idle.append(compiled)
    if checkpoints:
        checkpoints.save(file, snapshot)
    return snapshot


def train_epochs(
    setup: Setup,
    network: Snapshot,
    compiled: keras.Model,
    fold: FoldRows,
) -> Snapshot:
    """Train a network for all its epochs, or until early stopping.

    Returns:
        The same as `train_round`.
    """
    architecture = setup.architectures[network.architecture]
    stopping = architecture.params.early_stopping if len(fold.y) else None
    best = 0
    for epoch in range(architecture.params.epochs):
        network = train_round(setup, network, compiled, fold)
        if not stopping:
            continue
        logs = network.history
        if epoch == 0 or has_improved(logs[best], logs[-1], stopping):
            best = epoch
            best_state = get_state(compiled)
        if epoch - best >= stopping.patience:
            break
    if stopping and stopping.restore_best_weights:
        set_state(compiled, best_state)
        outputs = architecture.trainer.predict(compiled, fold.held_out)
        network = network._replace(epochs=best + 1, outputs=outputs)
    return network


def train_round(
    setup: Setup,
    network: Snapshot,
    compiled: keras.Model,
    fold: FoldRows,
) -> Snapshot:
    """Train a network for a cycle or an epoch.

    Returns:
        The network with the logs of the round in its history, and with its outputs for
        all held-out rows, also for those of the table validation.
    """
    architecture = setup.architectures[network.architecture]
    trainer = architecture.trainer
    number = len(network.history)
    seed = [setup.train.seed + network.number, number]
    steps = architecture.steps_in(number)
    loss = trainer.train(compiled, fold.learnt, seed, steps)
    outputs = trainer.predict(compiled, fold.held_out)
    logs = {"loss": loss} | score_held_out(setup, fold, outputs)
    epoch = architecture.epochs_after(number + 1)
    if not all(map(math.isfinite, logs.values())):
        values = ", ".join(f"{name} {value}" for name, value in logs.items())
        raise UserError(
            f"training diverged in epoch {math.ceil(epoch)}: {values}. Try a smaller"
            " learning_rate, another activation, or normalization: standard.",
        )
    report_progress(
        epoch - network.epochs,
        f"{network.architecture} {network.number + 1}, epoch {math.ceil(epoch)} of"
        f" {architecture.params.epochs}, loss {loss:.4f}",
    )
    logs["epoch"] = epoch
    history = [*network.history, logs]
    return network._replace(history=history, epochs=epoch, outputs=outputs)


def score_held_out(
    setup: Setup,
    fold: FoldRows,
    outputs: np.ndarray,
) -> Logs:
    """Compute the scores of the held-out rows, if there are any, by Keras's names."""
    if not len(fold.y):
        return {}
    predictions = outputs[: len(fold.y)]
    losses = setup.losses(fold.y, predictions)
    logs = {"val_loss": float((fold.weight * losses).mean())}
    if setup.task.classes:  # for early stopping
        is_right = setup.task.row_scores(fold.y, predictions, threshold=0.5)
        logs["val_accuracy"] = float(np.average(is_right, weights=fold.weight))
    return logs


def has_improved(best: Logs, last: Logs, stopping: EarlyStopping) -> bool:
    """Return whether the last epoch improves the best one by more than `min_delta`."""
    before = round_for_comparison(best[stopping.monitor])
    after = round_for_comparison(last[stopping.monitor])
    gain = after - before if stopping.monitor == "val_accuracy" else before - after
    return round_for_comparison(gain) > stopping.min_delta


def unfinished_networks(
    setup: Setup,
    last: list[Snapshot],
    trained: list[Snapshot],
    ensemble_losses: list[float],
) -> list[Snapshot]:
    """Return the snapshots from which the training continues with another cycle.

    Args:
        last: The snapshots of the last cycle.
        trained: All snapshots.
        ensemble_losses: The `ensemble_loss` after each cycle, to which the last one is
            added.
    """
    candidates = ensemble.find_candidates(setup, trained)
    ensemble_losses.append(ensemble.ensemble_loss(setup, candidates))
    losses = {
        architecture: list(by_name.values())
        for architecture, by_name in candidates.losses.items()
    }
    finished = finished_architectures(losses, ensemble_losses)
    unfinished = []
    for snapshot in last:
        max_cycles = setup.architectures[snapshot.architecture].max_cycles
        has_cycles_left = len(snapshot.history) < max_cycles
        if has_cycles_left and snapshot.architecture not in finished:
            unfinished.append(snapshot)
    return unfinished


def finished_architectures(
    losses: dict[str, list[float]],
    ensemble_losses: list[float],
) -> set[str]:
    """Choose the architectures for which another cycle does not help.

    No architecture is chosen after its first cycle. Later it has finished in one of two
    cases:

    - The last cycle lowered the loss of the ensemble by less than `MIN_GAIN`, and its
      own loss by less than `MIN_OWN_GAIN`.
    - Another cycle would not make it the best: even if the next cycle gained twice as
      much as the last one, the lowest loss of another architecture would still be
      lower.

    Args:
        losses: Loss of each architecture after each of its cycles, finite numbers.
        ensemble_losses: Loss of the ensemble after each cycle.
    """
    if len(ensemble_losses) == 1:  # after the first cycle
        return set()
    before, after = ensemble_losses[-2:]
    gained_too_little = is_small_gain(before, after, MIN_GAIN)
    lowest_losses = [min(by_cycle) for by_cycle in losses.values()]
    best_loss = round_for_comparison(min(lowest_losses))
    finished = set()
    for architecture, by_cycle in losses.items():
        lowest = min(by_cycle[:-1], default=math.inf)
        last = by_cycle[-1]
        lowest_possible_loss = last - 2 * (lowest - last)
        is_behind = round_for_comparison(lowest_possible_loss) > best_loss
        has_stalled = gained_too_little and is_small_gain(lowest, last, MIN_OWN_GAIN)
        if is_behind or has_stalled:
            finished.add(architecture)
    return finished


def is_small_gain(before: float, after: float, gain: float) -> bool:
    """Return whether a loss has become lower by less than a share of it."""
    return round_for_comparison(after) > round_for_comparison((1 - gain) * before)
