"""The training of all networks: every fold, round by round, until another round does not help.

A round is an epoch or, with `learning_rate_schedule: cosine_restarts`, a cycle of the learning
rate. After each round, a network predicts the rows that it has not learnt from. Epochs lead to one
snapshot, the network after the last or the best of them. Each cycle leads to a snapshot, and the
losses of all folds together decide about another cycle.
"""

import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.config.sections import Resolved
from tabular.core.engine import Bar, ordered_map, report_progress, workers
from tabular.core.errors import UserError
from tabular.core.numbers import round_for_comparison
from tabular.model.backend import keras
from tabular.model.network import learnt_weights
from tabular.model.training.architecture import Architecture
from tabular.model.training.checkpoint import Checkpoints
from tabular.model.training.dataset import Subset
from tabular.model.training.selection import Logs, Member, best_round, members_by, out_of_fold
from tabular.model.training.setup import Setup, set_up
from tabular.model.training.trainer import TRACING, Dataset, Trainer, get_state, set_state
from tabular.table.arrays import predicted_classes

MIN_GAIN = 0.01  # a share of the loss; less is not worth twice as many steps
SECONDS = 1.0  # between two checkpoints of a network that trains in epochs


def fit(
    setup: Setup,
    validation: Path | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    show_progress: bool = False,
) -> Iterator[Member]:
    """Train the networks of `train.members`, as many at the same time as there are workers.

    With folds, each network learns from all folds but its own. That fold takes no part in its
    weights, except that it stops the training.

    Args:
        validation: Folder of the validation rows if there are no folds.
        checkpoints: The finished rounds of a training that was killed.
        show_progress: Whether a bar on stderr shows the number of epochs that have ended.

    Yields:
        The first snapshots of the first fold, of the second, and so on; then the second ones.

    Raises:
        UserError: A loss is not finite.
    """
    training = Training(setup, validation, checkpoints)
    networks = [
        Member(members.network, fold, fold * members.count + number)
        for fold in range(setup.train.folds)
        for members in setup.train.members
        for number in range(members.count)
    ]
    limits = {name: each.max_cycles for name, each in setup.architectures.items()}
    lowest_losses: dict[str, float] = {}
    epochs = sum(setup.train.networks[network.architecture].epochs for network in networks)
    with closing(Bar(epochs)) as bar:
        report = bar.advance if show_progress else None
        while networks:
            snapshots = []
            for snapshot in ordered_map(
                training.train, networks, most=len(networks), report=report, stop=training.cancel
            ):
                snapshots.append(snapshot)
                yield replace(snapshot, state=[])
            networks = [snapshot for snapshot in snapshots if limits[snapshot.architecture]]
            losses = held_out_losses(setup, networks)
            finished = finished_architectures(losses, lowest_losses)
            for name, loss in losses.items():
                lowest_losses[name] = min(loss, lowest_losses.get(name, loss))
            last = {n.architecture for n in networks if len(n.history) >= limits[n.architecture]}
            networks = [n for n in networks if n.architecture not in finished | last]


def held_out_losses(setup: Setup, snapshots: list[Member]) -> dict[str, float]:
    """Compute the mean loss of the held-out rows of all folds, for each architecture.

    Without folds, the rows are those of the validation set. An architecture without such rows is
    left out.
    """
    losses = {}
    for name, same in members_by(snapshots, "architecture").items():
        if setup.train.folds > 1:
            losses[name] = setup.mean_loss(*out_of_fold(setup, same))
        elif "val_loss" in same[0].history[-1]:
            losses[name] = float(np.mean([member.history[-1]["val_loss"] for member in same]))
    return losses


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


class HeldOut(NamedTuple):
    """The rows that the networks of a fold have not learnt from, and predict after each round.

    Attributes:
        dataset: The rows. More may follow them, which fill up their number.
        numbers: Numbers of the rows among the training rows, int32; none without folds.
        y: Labels as networks learn them, shape (rows,).
        weight: Weights in training, shape (rows,).
    """

    dataset: Dataset
    numbers: np.ndarray
    y: np.ndarray
    weight: np.ndarray


class Training:
    """What all networks share, in each process that trains some of them."""

    def __init__(
        self, setup: Setup, validation: Path | None, checkpoints: Checkpoints | None
    ) -> None:
        self._setup, self._checkpoints = setup, checkpoints
        self._arguments = (setup.folder, setup.schema, setup.train), validation, checkpoints
        self._rows = rows_of_folds(setup, validation)
        self._trainers = {
            name: Trainer(architecture.untrained(setup.train.seed), architecture.params.batch_size)
            for name, architecture in setup.architectures.items()
        }
        # Models that no network uses at the moment: to build one takes as long as 100 steps.
        self._idle = {name: deque[keras.Model](maxlen=workers()) for name in self._trainers}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what another process sets up again, once, for all of its networks."""
        return _same_training, self._arguments

    def cancel(self) -> None:
        """Let each network that trains in another thread end after its present steps."""
        for trainer in self._trainers.values():
            trainer.cancel()

    def train(self, previous: Member) -> Member:
        """Train a network until its next snapshot, or load that if it was saved.

        Args:
            previous: Its previous snapshot, or a `Member` without any rounds.
        """
        architecture = self._setup.architectures[previous.architecture]
        file = f"{previous.architecture}-{previous.number}-{len(previous.history)}"
        network = (self._checkpoints and self._checkpoints.load(file)) or previous
        if len(network.history) > len(previous.history):
            report_rounds(architecture, network, len(previous.history))
            if network.weights:  # the snapshot, and not an epoch before it
                return network
        compiled, (_, held_out) = self._model(network), self._rows[network.fold]
        network = replace(network, history=[*network.history])
        stop = architecture.params.early_stopping if len(held_out.y) else None
        best, saved = 0, time.monotonic()
        end = len(network.history) + 1 if architecture.max_cycles else architecture.params.epochs
        for number in range(len(network.history), end):
            if self._checkpoints and time.monotonic() - saved > SECONDS:
                self._checkpoints.save(file, replace(network, state=get_state(compiled)))
                saved = time.monotonic()
            predictions = self._train_round(network, compiled)
            if stop:
                best = best_round(network.history, stop, best)
                if number == best:
                    network = replace(network, best_state=get_state(compiled))
                if number - best >= stop.patience:
                    break
        if stop and stop.restore_best_weights:
            set_state(compiled, network.best_state)
            predictions = self._trainers[network.architecture].predict(compiled, held_out.dataset)
        snapshot = replace(
            network,
            weights=learnt_weights(compiled),
            rows=held_out.numbers,
            oof=predictions[: len(held_out.numbers)],
            steps=architecture.steps_after(len(network.history)),
            state=get_state(compiled),
            best_state=[],
        )
        if self._checkpoints:
            self._checkpoints.save(file, snapshot)
        self._idle[network.architecture].append(compiled)
        return snapshot

    def _train_round(self, network: Member, compiled: keras.Model) -> np.ndarray:
        """Train for one more round, add its logs to the history, and predict the held-out rows."""
        architecture, number = self._setup.architectures[network.architecture], len(network.history)
        trainer, (learnt, held_out) = self._trainers[network.architecture], self._rows[network.fold]
        steps = architecture.steps_after(number + 1) - architecture.steps_after(number)
        seed = [self._setup.train.seed + network.number, number]
        logs = trainer.train(compiled, learnt, seed, steps or None)
        predictions = trainer.predict(compiled, held_out.dataset)
        logs |= held_out_scores(self._setup, held_out, predictions)
        epoch = architecture.epochs_after(number + 1)
        if not all(map(math.isfinite, logs.values())):
            scores = ", ".join(f"{name} {value}" for name, value in logs.items())
            raise UserError(
                f"training diverged in epoch {math.ceil(epoch)}, NaN or infinite: {scores}; try a "
                "smaller learning_rate or another activation in train.networks, or normalization: "
                "standard"
            )
        if architecture.max_cycles:
            logs["epoch"] = epoch
        network.history.append(logs)
        report_rounds(architecture, network, number)
        return predictions

    def _model(self, network: Member) -> keras.Model:
        """Build the compiled model that trains a network, or continue with an idle one."""
        idle = self._idle[network.architecture]
        with TRACING:  # Keras's seed is global too
            if network.state and idle:
                compiled = idle.pop()
            else:
                architecture = self._setup.architectures[network.architecture]
                learnt, _ = self._rows[network.fold]
                compiled = architecture.untrained(self._setup.train.seed + network.number, learnt)
        if network.state:
            set_state(compiled, network.state)
        return compiled


def rows_of_folds(setup: Setup, validation: Path | None) -> list[tuple[Dataset, HeldOut]]:
    """Return for each fold the rows that its networks learn from, and those that they do not.

    Without folds, networks learn from all training rows, and the validation rows are held out.
    """
    table, folds = setup.dataset, range(setup.train.folds)
    if len(folds) == 1:
        other = setup.prepare(validation) if validation else None
        labels = (other.y[:, 0], other.weight) if other else np.empty((2, 0))
        y, weight = (values.astype(np.float32) for values in labels)
        return [(table, HeldOut(other or [], np.empty(0, np.int32), y, weight))]
    learnt = [[np.flatnonzero(part != n).astype(np.int32) for part in setup.folds] for n in folds]
    held_out = [[np.flatnonzero(part == n).astype(np.int32) for part in setup.folds] for n in folds]
    if len(setup.folds) == 1 and not setup.is_grouped:
        # A graph is compiled for a number of rows. With two of them, the default table would
        # train in 6.2 seconds instead of 5. So a row may be left out, or come twice. In a table of
        # several parts, compiling takes the smallest part of the time.
        fewest, most = min(len(part) for (part,) in learnt), max(len(part) for (part,) in held_out)
        learnt = [[np.resize(part, fewest)] for (part,) in learnt]
        held_out = [[np.resize(part, most)] for (part,) in held_out]
    rows, fold_of_row = list[tuple[Dataset, HeldOut]](), np.concatenate(setup.folds)
    for fold in folds:
        numbers = np.flatnonzero(fold_of_row == fold).astype(np.int32)
        y, weight = table.y[numbers, 0], table.weight[numbers]
        predicted = HeldOut(Subset(table, held_out[fold]), numbers, y, weight)
        rows.append((Subset(table, learnt[fold]), predicted))
    return rows


def held_out_scores(setup: Setup, rows: HeldOut, predictions: np.ndarray) -> Logs:
    """Compute the scores of held-out rows by Keras's names for them; none without rows."""
    if not len(rows.y):
        return {}
    predictions = predictions[: len(rows.y)]
    losses = setup.losses(rows.y, predictions)
    if setup.schema.task == "regression":
        name, scores = "val_mean_absolute_error", np.abs(predictions[:, 0] - rows.y)
    else:
        name, scores = "val_accuracy", predicted_classes(predictions, setup.schema, 0.5) == rows.y
    mean_score = float(np.average(scores, weights=rows.weight))
    return {"val_loss": float((rows.weight * losses).mean()), name: mean_score}


def report_rounds(architecture: Architecture, network: Member, first: int) -> None:
    """Report the rounds of a network from number `first` on."""
    before, after = map(architecture.epochs_after, (first, len(network.history)))
    epochs, loss = architecture.params.epochs, network.history[-1]["loss"]
    name = f"{network.architecture} {network.number + 1}, epoch {math.ceil(after)} of {epochs}"
    report_progress(min(after - before, epochs), f"{name}, loss {loss:.4f}")


_TRAININGS: dict[str, Training] = {}  # the last one of a process that another one has started


def _same_training(setup_arguments: tuple[Path, Schema, Resolved], *arguments: Any) -> Training:
    key = repr((setup_arguments, arguments))
    if key not in _TRAININGS:
        _TRAININGS.clear()
        keras.utils.clear_session()
        _TRAININGS[key] = Training(set_up(*setup_arguments), *arguments)
    return _TRAININGS[key]
