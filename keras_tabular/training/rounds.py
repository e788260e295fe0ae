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
4. When all networks have ended the cycle, `ensemble_losses` computes the losses of an
   ensemble of all snapshots, and `why_finished` decides for which architectures another
   cycle would not help. Without held-out rows, all losses are 0, and it finds none.
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
from typing import NamedTuple, Self

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
from keras_tabular.training.setup import MAX_ROWS_OF_SMALL_TABLE, FoldRows, Setup
from keras_tabular.training.trainer import TRACING, get_state, set_state


class Gain(NamedTuple):
    """How much a cycle lowered a loss.

    Attributes:
        of_loss: Share of the loss before the cycle.
        of_explained: Share of what is explained after it: the loss of the best constant
            prediction minus this loss. 0 if nothing is explained.
    """

    of_loss: float
    of_explained: float

    @classmethod
    def measure(
        cls,
        before: np.ndarray,
        after: np.ndarray,
        constant: np.ndarray,
    ) -> Self:
        """Measure the gain of a cycle; a gain that may be noise is 0.

        Args:
            before, after, constant: Losses of the held-out rows before and after the
                cycle, and by the best constant prediction, shape (rows,).
        """
        gained = before - after
        if not is_above_noise(gained):
            return cls(0.0, 0.0)
        gain = gained.mean()
        of_loss = round_for_comparison(gain / before.mean())
        explained = constant - after
        if not is_above_noise(explained):
            return cls(of_loss, 0.0)
        return cls(of_loss, round_for_comparison(gain / explained.mean()))

    def reaches(self, least: Self) -> bool:
        """Return whether one of the shares is at least as large."""
        return self.of_loss >= least.of_loss or self.of_explained >= least.of_explained

    def describe_lack(self, least: Self) -> str:
        """Say that both shares are less than the least ones."""
        return (
            f"gained {self.of_loss:.1%} of the loss, less than {least.of_loss:.0%}, and"
            f" {self.of_explained:.1%} of what is explained, less than"
            f" {least.of_explained:.0%}"
        )


def is_above_noise(values: np.ndarray) -> bool:
    """Return whether the mean is larger than 0, and than its standard error."""
    mean = values.mean()
    standard_error = values.std() / math.sqrt(len(values))
    return round_for_comparison(mean) > round_for_comparison(standard_error)


# The least gain of a cycle, of the ensemble or of an architecture alone, that makes
# another cycle worth its steps, which are twice as many as in the last one: see
# benchmarks/RESULTS.md.
MIN_GAIN = Gain(of_loss=0.02, of_explained=0.03)
MIN_OWN_GAIN = Gain(of_loss=0.05, of_explained=0.06)


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
    trained = list[Snapshot]()
    ensemble_losses = list[np.ndarray]()
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
            candidates = ensemble.find_candidates(setup, [*trained, *snapshots])
            losses = ensemble.ensemble_losses(setup, candidates)
            ensemble_losses = [*ensemble_losses[-1:], losses]
            endings = find_endings(setup, snapshots, candidates, ensemble_losses)
            networks = []
            for snapshot in snapshots:
                ended = endings.get(snapshot.architecture, "")
                # Only the next cycle needs the state.
                trained.append(snapshot._replace(state=(), ended=ended))
                if not ended:
                    networks.append(snapshot)
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
        report_progress(
            snapshot.epochs - network.epochs,
            f"{file}, from its checkpoint",
        )
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
        The network with its outputs for all held-out rows, also for those of the table
        validation; and with the logs of the round in its history: the loss and, of the
        held-out rows, the scores by Keras's names.
    """
    architecture = setup.architectures[network.architecture]
    trainer = architecture.trainer
    number = len(network.history)
    seed = [setup.train.seed + network.number, number]
    steps = architecture.steps_in(number)
    loss = trainer.train(compiled, fold.learnt, seed, steps)
    outputs = trainer.predict(compiled, fold.held_out)
    logs = {"loss": loss}
    if len(fold.y):
        predictions = outputs[: len(fold.y)]
        losses = setup.losses(fold.y, predictions)
        logs["val_loss"] = float((fold.weight * losses).mean())
        if setup.task.classes:  # for early stopping
            is_right = setup.task.row_scores(fold.y, predictions, threshold=0.5)
            logs["val_accuracy"] = float(np.average(is_right, weights=fold.weight))
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


def has_improved(best: Logs, last: Logs, stopping: EarlyStopping) -> bool:
    """Return whether the last epoch improves the best one by more than `min_delta`."""
    before = round_for_comparison(best[stopping.monitor])
    after = round_for_comparison(last[stopping.monitor])
    gain = after - before if stopping.monitor == "val_accuracy" else before - after
    return round_for_comparison(gain) > stopping.min_delta


def find_endings(
    setup: Setup,
    last: list[Snapshot],
    candidates: ensemble.EnsembleCandidates,
    ensemble_losses: list[np.ndarray],
) -> dict[str, str]:
    """Find the architectures that train no longer, and say why.

    Args:
        last: The snapshots of the last round.
        candidates: All snapshots.
        ensemble_losses: The result of `ensemble.ensemble_losses` after the cycle before
            and after the last one; after the first cycle, one alone.
    """
    rows = candidates.rows
    # Without folds, nothing counts as explained.
    constant = ensemble.constant_losses(setup, rows) if len(rows) else np.zeros(1)
    endings = why_finished(
        {name: [*by_name.values()] for name, by_name in candidates.losses.items()},
        ensemble_losses,
        constant,
        may_be_behind=len(setup.y) <= MAX_ROWS_OF_SMALL_TABLE,
    )
    for snapshot in last:
        architecture = setup.architectures[snapshot.architecture]
        rounds = len(snapshot.history)
        if rounds >= (architecture.max_cycles or architecture.params.epochs):
            endings[architecture.name] = "reached its limit of epochs"
        elif not architecture.max_cycles:
            endings[architecture.name] = "stopped early"
    return endings


def why_finished(
    losses: dict[str, list[np.ndarray]],
    ensemble_losses: list[np.ndarray],
    constant: np.ndarray,
    *,
    may_be_behind: bool,
) -> dict[str, str]:
    """Choose the architectures for which another cycle does not help, and say why.

    No architecture is chosen after its first cycle. Later it has finished in one of two
    cases:

    - The last cycle gained less than `MIN_GAIN` for the ensemble, and less than
      `MIN_OWN_GAIN` for the architecture, compared with its best cycle before.
    - On a small table, another cycle would not make it the best: even if the next cycle
      gained twice as much as the last one, the lowest loss of another architecture
      would still be lower. There, more snapshots to choose from are more luck to
      choose; see benchmarks/RESULTS.md.

    Args:
        losses: Losses of the held-out rows by each architecture after each of its
            cycles, arrays of finite numbers.
        ensemble_losses: The same by the ensemble after the last two cycles.
        constant: The same by the best constant prediction.
        may_be_behind: Whether the second case counts.
    """
    # After the first cycle, or without held-out rows.
    if len(ensemble_losses) == 1 or not ensemble_losses[-1].any():
        return {}
    before, after = ensemble_losses
    gain = Gain.measure(before, after, constant)
    means = [each.mean() for by_cycle in losses.values() for each in by_cycle]
    best_loss = round_for_comparison(min(means))
    endings = {}
    for name, by_cycle in losses.items():
        *earlier, last = by_cycle
        best = min(earlier, key=np.mean, default=last)
        own_gain = Gain.measure(best, last, constant)
        lowest_possible_loss = last.mean() - 2 * (best.mean() - last.mean())
        if may_be_behind and round_for_comparison(lowest_possible_loss) > best_loss:
            endings[name] = "fell behind another architecture"
        elif not (gain.reaches(MIN_GAIN) or own_gain.reaches(MIN_OWN_GAIN)):
            endings[name] = (
                f"{own_gain.describe_lack(MIN_OWN_GAIN)};"
                f" all networks together {gain.describe_lack(MIN_GAIN)}"
            )
    return endings
