"""The training of all networks: every fold, round by round, until another round does not help.

A round is an epoch or, with `learning_rate_schedule: cosine_restarts`, a cycle of the learning
rate. After each round, a network predicts the rows that it has not learnt from. Epochs lead to one
snapshot, the network after the last or the best of them. Each cycle leads to a snapshot, and the
losses of all folds together decide about another cycle.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.config.sections import Resolved
from tabular.core.engine import ordered_map, report_progress, workers
from tabular.core.errors import UserError
from tabular.core.numbers import round_for_comparison
from tabular.model.backend import keras
from tabular.model.cosine_restarts import cycle_steps, steps_of_cycles
from tabular.model.network import copy_trained_weights
from tabular.model.training.architecture import Architecture
from tabular.model.training.checkpoint import NO_CHECKPOINTS, Checkpoints
from tabular.model.training.dataset import Subset, equal_sizes
from tabular.model.training.selection import (
    Logs,
    Member,
    best_round,
    members_by,
    out_of_fold,
)
from tabular.model.training.setup import Setup, set_up
from tabular.model.training.trainer import TRACING, Dataset, Trainer, get_state, set_state
from tabular.table.arrays import predicted_classes

MIN_GAIN = 0.01  # a share of the loss; less is not worth twice as many steps
SECONDS = 1.0  # between two checkpoints of a network that trains in epochs


def fit(
    setup: Setup,
    validation: Path | None = None,
    *,
    checkpoints: Checkpoints = NO_CHECKPOINTS,
    report: Callable[..., None] | None = None,
) -> Iterator[Member]:
    """Train the networks of `train.members`, as many at the same time as there are workers.

    With folds, each network learns from all folds but its own. That fold takes no part in its
    weights, except that it stops the training.

    Args:
        validation: Folder of the validation rows if there are no folds.
        checkpoints: The finished rounds of a training that was killed.
        report: Is called with the number of epochs that have ended, and a line about the last one.

    Yields:
        The first snapshots of the first fold, of the second, and so on; then the second ones.

    Raises:
        UserError: A loss is not finite, or the networks do not fit into memory.
    """
    training = Training(setup, validation, checkpoints)
    networks = [
        Member(members.network, fold, fold * members.count + number)
        for fold in range(setup.train.folds)
        for members in setup.train.members
        for number in range(members.count)
    ]
    lowest_losses: dict[str, float] = {}
    while networks:
        snapshots = []
        for snapshot in ordered_map(
            training.train, networks, most=len(networks), report=report, stop=training.cancel
        ):
            snapshots.append(snapshot)
            yield replace(snapshot, state=[])
        networks = [s for s in snapshots if setup.architectures[s.architecture].max_cycles]
        losses = held_out_losses(setup, networks)
        finished = finished_architectures(losses, lowest_losses)
        for name, loss in losses.items():
            lowest_losses[name] = min(loss, lowest_losses.get(name, loss))
        networks = [
            network
            for network in networks
            if network.architecture not in finished
            and len(network.history) < setup.architectures[network.architecture].max_cycles
        ]


def held_out_losses(setup: Setup, snapshots: list[Member]) -> dict[str, float]:
    """Compute the mean loss of the held-out rows of all folds, for each architecture.

    Without folds, the rows are those of the validation set. An architecture without such rows is
    left out.
    """
    losses = {}
    for name, same in members_by(snapshots, "architecture").items():
        rows, oof = out_of_fold(same)
        if len(rows):
            losses[name] = setup.mean_loss(rows, setup.in_units(oof))
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
        y: Labels as networks learn them, shape (rows,).
        weight: Weights in training, shape (rows,).
        numbers: Numbers of the rows among the training rows, int32; none without folds.
    """

    dataset: Dataset
    y: np.ndarray
    weight: np.ndarray
    numbers: np.ndarray


class Training:
    """What all networks share, in each process that trains some of them."""

    def __init__(self, setup: Setup, validation: Path | None, checkpoints: Checkpoints) -> None:
        self.setup, self._checkpoints = setup, checkpoints
        self._arguments = (setup.folder, setup.schema, setup.train), validation, checkpoints
        n_folds, self._folds = setup.train.folds, setup.folds()
        self._validation: Dataset = []
        if validation and n_folds == 1:
            self._validation = setup.other_dataset(validation)
        self._trainers: dict[str, Trainer] = {}
        # Models that no network uses at the moment: to build one takes as long as 100 steps.
        self._idle: dict[str, deque[tuple[keras.Model, keras.Model]]] = {}
        for name, architecture in setup.architectures.items():
            _, compiled = architecture.untrained(setup.train.seed)
            self._trainers[name] = Trainer(compiled, architecture.params.batch_size)
            self._idle[name] = deque(maxlen=workers())
        self._own, self._others = [], []
        for n in range(n_folds):
            self._own.append([np.flatnonzero(f == n).astype(np.int32) for f in self._folds])
            self._others.append([np.flatnonzero(f != n).astype(np.int32) for f in self._folds])
        if not setup.is_grouped:
            self._own = equal_sizes(self._own, max)
            self._others = equal_sizes(self._others, min)

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
        architecture = self.setup.architectures[previous.architecture]
        file = f"{previous.architecture}-{previous.number}-{len(previous.history)}"
        network = self._checkpoints.load(file) or previous
        if len(network.history) > len(previous.history):
            report_rounds(architecture, network, len(previous.history))
            if network.weights:  # the snapshot, and not an epoch before it
                return network
        learnt, held_out = self._rows(network.fold)
        model, compiled = self._model(network, learnt)
        network = replace(network, history=[*network.history])
        stop = architecture.params.early_stopping if len(held_out.y) else None
        best, saved = 0, time.monotonic()
        end = len(network.history) + 1 if architecture.max_cycles else architecture.params.epochs
        for number in range(len(network.history), end):
            if time.monotonic() - saved > SECONDS:
                self._checkpoints.save(file, replace(network, state=get_state(compiled)))
                saved = time.monotonic()
            predictions = self._train_round(network, compiled, learnt, held_out)
            if stop:
                best = best_round(network.history, stop, best)
                if number == best:
                    network = replace(network, best_state=get_state(compiled))
                if number - best >= stop.patience:
                    break
        if stop and stop.restore_best_weights:
            set_state(compiled, network.best_state)
            predictions = self._trainers[network.architecture].predict(compiled, held_out.dataset)
        copy_trained_weights(model, compiled)
        snapshot = replace(
            network,
            weights=model.get_weights(),
            rows=held_out.numbers,
            oof=predictions[: len(held_out.numbers)],
            steps=steps_of_cycles(len(network.history)) if architecture.max_cycles else 0,
            state=get_state(compiled),
            best_state=[],
        )
        self._checkpoints.save(file, snapshot)
        self._idle[network.architecture].append((model, compiled))
        return snapshot

    def _train_round(
        self, network: Member, compiled: keras.Model, learnt: Dataset, held_out: HeldOut
    ) -> np.ndarray:
        """Train for one more round, add its logs to the history, and predict the held-out rows."""
        architecture, number = self.setup.architectures[network.architecture], len(network.history)
        trainer = self._trainers[network.architecture]
        steps = cycle_steps(number) if architecture.max_cycles else None
        seed = [self.setup.train.seed + network.number, number]
        logs = trainer.train(compiled, learnt, seed, steps)
        predictions = trainer.predict(compiled, held_out.dataset)
        logs |= held_out_scores(self.setup, held_out, predictions)
        epochs = epochs_after(architecture, number + 1)
        if not all(map(math.isfinite, logs.values())):
            scores = ", ".join(f"{name} {value}" for name, value in logs.items())
            raise UserError(
                f"training diverged in epoch {math.ceil(epochs)}, NaN or infinite: {scores}; try a "
                "smaller learning_rate or another activation in train.networks, or normalization: "
                "standard"
            )
        if architecture.max_cycles:
            logs["epoch"] = epochs
        network.history.append(logs)
        report_rounds(architecture, network, number)
        return predictions

    def _model(self, network: Member, learnt: Dataset) -> tuple[keras.Model, keras.Model]:
        """Build a network and the compiled model that trains it, or take idle ones."""
        architecture = self.setup.architectures[network.architecture]
        idle = self._idle[network.architecture]
        with TRACING:  # Keras's seed is global too
            if network.state and idle:
                model, compiled = idle.pop()
            else:
                seed = self.setup.train.seed + network.number
                model, compiled = architecture.untrained(seed, learnt)
        if network.state:
            set_state(compiled, network.state)
        return model, compiled

    def _rows(self, fold: int) -> tuple[Dataset, HeldOut]:
        """Return the rows that the networks of a fold learn from, and those that they do not."""
        setup = self.setup
        if setup.train.folds > 1:
            numbers = np.flatnonzero(np.concatenate(self._folds) == fold).astype(np.int32)
            y, weight = setup.standardised(numbers)[:, 0], setup.training_weight[numbers]
            held_out = HeldOut(Subset(setup.dataset, self._own[fold]), y, weight, numbers)
            return Subset(setup.dataset, self._others[fold]), held_out
        parts = [self._validation[part] for part in range(len(self._validation))]
        y = np.concatenate([np.empty(0, np.float32), *(np.asarray(part.y)[:, 0] for part in parts)])
        weight = np.concatenate([np.empty(0, np.float32), *(part.weight for part in parts)])
        return setup.dataset, HeldOut(self._validation, y, weight, np.empty(0, np.int32))


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


def epochs_after(architecture: Architecture, rounds: int) -> float:
    """Return the number of epochs of some rounds together."""
    if not architecture.max_cycles:
        return rounds
    return steps_of_cycles(rounds) * architecture.params.epochs / architecture.max_steps


def report_rounds(architecture: Architecture, network: Member, first: int) -> None:
    """Report the rounds of a network from number `first` on."""
    before, after = (epochs_after(architecture, n) for n in (first, len(network.history)))
    epochs, loss = architecture.params.epochs, network.history[-1]["loss"]
    name = f"{network.architecture} {network.number + 1}, epoch {math.ceil(after)} of {epochs}"
    report_progress(min(after - before, epochs), f"{name}, loss {loss:.4f}")


_TRAININGS: dict[str, Training] = {}  # the last one of a process that another one has started


def _same_training(
    arguments: tuple[Path, Schema, Resolved], validation: Path | None, checkpoints: Checkpoints
) -> Training:
    key = repr((arguments, validation, checkpoints))
    if key not in _TRAININGS:
        _TRAININGS.clear()
        keras.utils.clear_session()
        _TRAININGS[key] = Training(set_up(*arguments), validation, checkpoints)
    return _TRAININGS[key]
