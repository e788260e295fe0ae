"""The training of all members, as many at a time as there are workers."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.config.sections import Resolved
from tabular.core.engine import ordered_map, report_progress, workers
from tabular.model.backend import keras
from tabular.model.cycles import cycle_steps, steps_until
from tabular.model.network import copy_trained_weights
from tabular.model.training.checkpoint import Checkpoint
from tabular.model.training.dataset import Encoded, Subset, equal_sizes
from tabular.model.training.selection import Member, NetworkKind, held_out_scores, out_of_fold
from tabular.model.training.setup import Setup, check_memory, set_up
from tabular.model.training.trainer import TRACING, Dataset, Trainer, variables

LEAST_GAIN = 0.01  # a share of the loss; less is not worth twice as many steps
SECONDS = 0.2  # between two words about a member


class Job(NamedTuple):
    """A member to train: its kind, the fold that it leaves out, its number in its kind.

    Of a kind that learns in cycles also the number of the cycle, and the member `before` it.
    """

    kind: str
    fold: int
    number: int
    cycle: int = 0
    before: Member | None = None


class Training:
    """What all members share, in each process that trains some of them.

    Args:
        validation: folder of the validation rows, where there are no folds.
    """

    def __init__(self, setup: Setup, validation: Path | None) -> None:
        self.setup, self._validation_folder = setup, validation
        train = setup.train
        needed = validation if train.folds == 1 else None
        self._validation: Dataset = setup.other_dataset(needed) if needed else []
        self.kinds = {
            members.network: NetworkKind(members.network, setup) for members in train.members
        }
        self._trainers = {
            name: Trainer(kind.untrained(train.seed)[1], kind.network.batch_size)
            for name, kind in self.kinds.items()
        }
        # Models that no member uses at the moment: to make one takes as long as 100 steps.
        self._idle: dict[str, list[tuple[keras.Model, keras.Model]]] = {n: [] for n in self.kinds}
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

    def member(self, job: Job, state: Path | None = None, key: str = "") -> Member:
        """Train one, or one cycle of it; see `fit`."""
        kind, trainer = self.kinds[job.kind], self._trainers[job.kind]
        rows, held_out, own = self._datasets(job.fold)
        with TRACING:  # Keras's seed is global too
            idle = self._idle[job.kind] if job.before else []
            seed = self.setup.train.seed + job.number
            model, whole = idle.pop() if idle else kind.untrained(seed, rows)
        file = f"{job.kind}-{job.number}" + (f"-{job.cycle}" if kind.cycles else "")
        checkpoint = Checkpoint(state / f"{file}.npz", key) if state else None
        if kind.cycles:
            history = self._cycle(job, whole, rows, checkpoint)
        else:
            stop = kind.network.early_stopping
            history = trainer.fit(
                whole,
                rows,
                held_out,
                epochs=kind.network.epochs,
                seed=seed,
                callbacks=[
                    *([keras.callbacks.EarlyStopping(**stop.model_dump())] if stop else []),
                    progress(job, self.setup.train),
                ],
                checkpoint=checkpoint,
            )
        numbers, oof = np.empty(0, np.int32), np.empty((0, *whole.output_shape[1:]), np.float32)
        if self.setup.train.folds > 1:
            numbers = np.flatnonzero(np.concatenate(self._folds) == job.fold).astype(np.int32)
            outputs = trainer.predict(whole, own)
            counts = [len(indices) for indices in self._own[job.fold] if len(indices)]
            oof = np.concatenate([o[:count] for o, count in zip(outputs, counts, strict=True)])
        copy_trained_weights(model, whole)
        found = Member(job.kind, job.fold, model.get_weights(), history, numbers, oof)
        return self._snapshot(job, found, model, whole, held_out) if kind.cycles else found

    def _datasets(self, fold: int) -> tuple[Dataset, Dataset, Dataset]:
        """The rows that the members of a fold learn from, are scored on, and predict."""
        setup = self.setup
        several = setup.train.folds > 1
        statistics = setup.target_statistics(fold if several else None)
        rows = Encoded(setup.dataset, statistics, fold, setup.subfolds)
        if not several:
            return rows, Encoded(self._validation, statistics, fold), []
        subsets = (self._learnt[fold], self._scored[fold], self._predicted[fold])
        learnt, scored, own = (Subset(rows, indices) for indices in subsets)
        return learnt, scored, own

    def _cycle(
        self, job: Job, whole: keras.Model, rows: Dataset, checkpoint: Checkpoint | None
    ) -> list[dict[str, float]]:
        """Train for a cycle; the logs of all until then."""
        trainer, before = self._trainers[job.kind], job.before
        trainer.use(whole)
        history = checkpoint.restore(whole, variables(whole), []) if checkpoint else []
        if not history:
            if before:
                for variable, value in zip(variables(whole), before.state, strict=True):
                    variable.assign(value)
            seed = [self.setup.train.seed + job.number, job.cycle]
            logs = trainer.fit_steps(whole, rows, cycle_steps(job.cycle), seed)
            history = [*(before.history if before else []), logs]
            if checkpoint:
                checkpoint.save(whole, variables(whole), [], history)
        kind = self.kinds[job.kind]
        done = kind.network.epochs * min(cycle_steps(job.cycle) / kind.most_steps, 1)
        report_progress(done, f"{job.kind} {job.number + 1}, cycle {job.cycle + 1}")
        return history

    def _snapshot(
        self, job: Job, found: Member, model: keras.Model, whole: keras.Model, held_out: Dataset
    ) -> Member:
        """A member after a cycle, with what the next one goes on from."""
        setup, state = self.setup, tuple(np.array(variable) for variable in variables(whole))
        y, weight = setup.standardised(found.rows), setup.training_weights(found.rows)
        outputs = found.oof
        if not len(y) and len(held_out):
            outputs = np.concatenate(self._trainers[job.kind].predict(whole, held_out))
            parts = [held_out[part] for part in range(len(held_out))]
            y, weight = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
        history = [logs.copy() for logs in found.history]
        kind, steps = self.kinds[job.kind], steps_until(job.cycle)
        history[-1] |= {"epoch": steps * kind.network.epochs / kind.most_steps}
        history[-1] |= held_out_scores(setup, y[:, 0], outputs, weight)
        if len(self._idle[job.kind]) < workers():
            self._idle[job.kind].append((model, whole))
        return found._replace(history=history, state=state, steps=steps)


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
    takes no part in its weights, except that it stops them early. All members of a kind that learns
    in cycles end after the first cycle that did not lower the loss of all rows by `LEAST_GAIN`, or
    when they are too far behind another kind, see `promising`.

    Args:
        validation: folder of the validation rows where there are no folds.
        state: folder of the members' checkpoints; without it they have none.
        key: the `checkpoint.identity` of the training.
        report: is called with how many more epochs have ended, and what was last.

    Yields:
        The members of the first fold, of the second, and so on; then those of the next cycle.

    Raises:
        UserError: A loss is not finite, or the networks do not fit into memory.
    """
    train = setup.train
    for members in train.members:
        name, outputs = members.network, setup.schema.outputs
        check_memory(train, members, setup.input_width(name), outputs)
        setup.stacks(name)  # builds the network first, which decides the names of all layers
    training = Training(setup, validation)
    jobs = first_jobs(train)
    work = partial(training.member, state=state, key=key)
    best: dict[str, float] = {}
    while jobs:
        found = []
        for member in ordered_map(work, jobs, most=len(jobs), report=report, stop=training.cancel):
            found.append(member)
            yield member._replace(state=())
        losses = cycle_losses(training, found)
        going_on = promising(losses, best)
        best |= {kind: min(loss, best.get(kind, loss)) for kind, loss in losses.items()}
        jobs = [
            job._replace(cycle=job.cycle + 1, before=member)
            for job, member in zip(jobs, found, strict=True)
            if job.kind in going_on and job.cycle + 1 < training.kinds[job.kind].cycles
        ]


def promising(losses: dict[str, float], before: dict[str, float]) -> set[str]:
    """The kinds whose next cycle may help, if it gains twice as much as the last one at most.

    Args:
        losses: of each kind after this cycle.
        before: the lowest so far, of all kinds.
    """
    best = min([*before.values(), *losses.values()], default=math.nan)
    found = set()
    for kind, loss in losses.items():
        last = before.get(kind, math.inf)
        if not (loss > (1 - LEAST_GAIN) * last or loss - 2 * (last - loss) > best):
            found.add(kind)
    return found


def first_jobs(train: Resolved) -> list[Job]:
    """A job for each member, those of the first fold first."""
    return [
        Job(members.network, fold, fold * members.count + number)
        for fold in range(train.folds)
        for members in train.members
        for number in range(members.count)
    ]


def cycle_losses(training: Training, members: list[Member]) -> dict[str, float]:
    """Of each kind that learns in cycles the mean loss of rows that its members have not seen.

    Those are the rows of all folds or, without folds, of the validation set; NaN without both.
    """
    found, setup = {}, training.setup
    for name, kind in training.kinds.items():
        of_kind = [member for member in members if member.kind == name]
        if not of_kind or not kind.cycles:
            continue
        rows, oof = out_of_fold(of_kind)
        last = [member.history[-1].get("val_loss", math.nan) for member in of_kind]
        found[name] = (
            setup.mean_loss(rows, setup.in_units(oof)) if len(rows) else float(np.mean(last))
        )
    return found
