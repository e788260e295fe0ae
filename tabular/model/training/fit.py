"""The training of all members, as many at a time as there are workers."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.config.train import Resolved
from tabular.core.engine import ordered_map, report_progress
from tabular.model import network
from tabular.model.backend import keras
from tabular.model.saved_model import check_saving
from tabular.model.training.checkpoint import Checkpoint
from tabular.model.training.dataset import Encoded, Subset
from tabular.model.training.folds import equal_sizes
from tabular.model.training.member import Member, NetworkKind
from tabular.model.training.setup import Setup, set_up
from tabular.model.training.trainer import TRACING, Dataset, Trainer
from tabular.model.training.workload import check_workload

SECONDS = 0.2  # between two words about a member


class Job(NamedTuple):
    """A member to train: its kind, the fold that it leaves out, its number in its kind."""

    kind: str
    fold: int
    number: int


class Training:
    """What all members share, in each process that trains some of them.

    Args:
        validation: folder of the validation rows, where there are no folds.
    """

    def __init__(self, setup: Setup, validation: Path | None) -> None:
        self.setup, self._validation_folder = setup, validation
        self._validation: Dataset = setup.other_dataset(validation) if validation else []
        train = setup.train
        self.kinds = {
            members.network: NetworkKind(members.network, setup) for members in train.members
        }
        widths = {
            name: sum(math.prod(tensor.shape[1:]) for tensor in kind.features.outputs)
            for name, kind in self.kinds.items()
        }
        check_workload(train, widths, len(setup.y), setup.schema.outputs)
        self._trainers = {
            name: Trainer(kind.untrained(train.seed)[1], kind.network.batch_size)
            for name, kind in self.kinds.items()
        }
        self._folds = folds = setup.folds()
        own = [[np.flatnonzero(f == n).astype(np.int32) for f in folds] for n in range(train.folds)]
        others = [
            [np.flatnonzero(f != n).astype(np.int32) for f in folds] for n in range(train.folds)
        ]
        self._own, self._learnt, self._scored, self._predicted = own, others, own, own
        if not setup.keys:
            self._learnt, self._scored = equal_sizes(others, np.min), equal_sizes(own, np.min)
            self._predicted = equal_sizes(own, np.max)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is set up again, once, for all of its members."""
        setup = self.setup
        return _same_training, (setup.folder, self._validation_folder, setup.schema, setup.train)

    def cancel(self) -> None:
        """Let each member that trains in another thread end after its epoch."""
        for trainer in self._trainers.values():
            trainer.cancel()

    def member(
        self,
        job: Job,
        state: Path | None = None,
        key: str = "",
    ) -> Member:
        """Train one; see `fit`."""
        setup, train = self.setup, self.setup.train
        kind, fold, number = job
        with TRACING:  # Keras's seed is global too
            model, whole = self.kinds[kind].untrained(train.seed + number)
        statistics = setup.target_statistics(fold if train.folds > 1 else None)
        train_rows: Dataset = Encoded(setup.dataset, statistics, fold, setup.subfolds)
        validation_rows: Dataset = Encoded(self._validation, statistics, fold)
        own_rows = Subset(train_rows, self._predicted[fold])
        if train.folds > 1:
            validation_rows = Subset(train_rows, self._scored[fold])
            train_rows = Subset(train_rows, self._learnt[fold])
        stop = self.kinds[kind].network.early_stopping
        trainer = self._trainers[kind]
        history = trainer.fit(
            whole,
            train_rows,
            validation_rows,
            epochs=self.kinds[kind].network.epochs,
            seed=train.seed + number,
            callbacks=[
                *([keras.callbacks.EarlyStopping(**stop.model_dump())] if stop else []),
                progress(job, train),
            ],
            checkpoint=Checkpoint(state / f"{kind}-{number}.npz", key) if state else None,
        )
        rows, oof = np.empty(0, np.int32), np.empty((0, *whole.output_shape[1:]), np.float32)
        if train.folds > 1:
            rows = np.flatnonzero(np.concatenate(self._folds) == fold).astype(np.int32)
            outputs = trainer.predict(whole, own_rows)
            counts = [len(indices) for indices in self._own[fold] if len(indices)]
            oof = np.concatenate([o[:count] for o, count in zip(outputs, counts, strict=True)])
        network.copy_trained_weights(model, whole)
        return Member(kind, fold, model.get_weights(), history, rows, oof)


_TRAININGS: dict[str, Training] = {}  # of this process, which is not the one that began: the last


def _same_training(
    folder: Path, validation: Path | None, schema: Schema, train: Resolved
) -> Training:
    key = f"{folder} {validation} {schema.model_dump_json()} {train.model_dump_json()}"
    if key not in _TRAININGS:
        _TRAININGS.clear()
        keras.utils.clear_session()
        _TRAININGS[key] = Training(set_up(folder, schema, train), validation)
    return _TRAININGS[key]


def progress(job: Job, train: Resolved) -> keras.callbacks.Callback:
    """What says how many epochs of a member have ended, now and then, and how its losses are."""
    epochs = train.networks[job.kind].epochs
    count = next(m.count for m in train.members if m.network == job.kind) * train.folds
    name, done, said = f"{job.kind} {job.number + 1} of {count}", 0, time.monotonic()

    def epoch_end(epoch: int, logs: dict[str, float]) -> None:
        nonlocal done, said
        if time.monotonic() - said > SECONDS:
            losses = ", ".join(f"{k} {value:.4f}" for k, value in logs.items() if "loss" in k)
            report_progress(epoch + 1 - done, f"{name}, epoch {epoch + 1} of {epochs}, {losses}")
            done, said = epoch + 1, time.monotonic()

    def train_end(_: dict[str, float]) -> None:
        report_progress(epochs - done, f"{name} ended")

    return keras.callbacks.LambdaCallback(on_epoch_end=epoch_end, on_train_end=train_end)


def fit(
    setup: Setup,
    validation: Path | None = None,
    *,
    state: Path | None = None,
    key: str = "",
    report: Callable[..., None] | None = None,
) -> Iterator[Member]:
    """Train the networks of `train.members`, as many at the same time as there are workers.

    With folds, each one learns from all folds but its own, which is its validation set; that fold
    takes no part in its weights, except that it stops them early.

    Args:
        validation: folder of the validation rows where there are no folds.
        state: folder of the members' checkpoints; without it they have none.
        key: the `checkpoint.identity` of the training.
        report: is called with how many more epochs have ended, and what was last.

    Yields:
        The members of the first fold, of the second, and so on.

    Raises:
        UserError: a loss is not finite, this machine has not the memory or the time, or a layer
            cannot be saved.
    """
    train = setup.train
    for members in train.members:
        if not setup.stacks(members.network):
            check_saving(setup.network(members.network), members.network)
    training = Training(setup, validation)
    jobs = [
        Job(members.network, fold, fold * members.count + number)
        for fold in range(train.folds)
        for members in train.members
        for number in range(members.count)
    ]
    work = partial(training.member, state=state, key=key)
    yield from ordered_map(work, jobs, most=len(jobs), report=report, stop=training.cancel)
