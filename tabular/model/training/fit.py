"""The training of all members, as many at a time as there are workers."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.config.sections import Resolved
from tabular.core.engine import ordered_map, report_progress, workers
from tabular.model.backend import keras
from tabular.model.cycles import cycle_steps
from tabular.model.network import copy_trained_weights
from tabular.model.training.checkpoint import Checkpoint
from tabular.model.training.dataset import Subset, equal_sizes
from tabular.model.training.selection import Member, held_out_scores, members_by, out_of_fold
from tabular.model.training.setup import Setup, set_up
from tabular.model.training.trainer import TRACING, Dataset, Trainer, variables

MIN_GAIN = 0.01  # a share of the loss; less is not worth twice as many steps


class Job(NamedTuple):
    """A member to train, or one more cycle of it.

    Attributes:
        architecture: Name of its network in `train.networks`.
        fold: The fold that it leaves out.
        number: Its number among the members of its architecture.
        cycle: Number of the cycle, of an architecture that trains in cycles.
        before: The same member after the cycle before.
    """

    architecture: str
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
        n_folds, self._folds = setup.train.folds, setup.folds()
        self._validation: Dataset = []
        if validation and n_folds == 1:
            self._validation = setup.other_dataset(validation)
        self._trainers: dict[str, Trainer] = {}
        # Models that no member uses at the moment: to make one takes as long as 100 steps.
        self._idle: dict[str, list[tuple[keras.Model, keras.Model]]] = {}
        for name, architecture in setup.architectures.items():
            _, compiled = architecture.untrained(setup.train.seed)
            self._trainers[name] = Trainer(compiled, architecture.params.batch_size)
            self._idle[name] = []
        self._own, self._others = [], []
        for n in range(n_folds):
            self._own.append([np.flatnonzero(f == n).astype(np.int32) for f in self._folds])
            self._others.append([np.flatnonzero(f != n).astype(np.int32) for f in self._folds])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what another process sets up again, once, for all of its members."""
        setup = self.setup
        return _same_training, (setup.folder, self._validation_folder, setup.schema, setup.train)

    def cancel(self) -> None:
        """Let each member that trains in another thread end after its epoch."""
        for trainer in self._trainers.values():
            trainer.cancel()

    def member(self, job: Job, state: Path | None = None, key: str = "") -> Member:
        """Train a member, or one more cycle of it; see `fit`."""
        setup, trainer = self.setup, self._trainers[job.architecture]
        architecture, idle = setup.architectures[job.architecture], self._idle[job.architecture]
        learnt, scored, predicted = self._datasets(job.fold)
        with TRACING:  # Keras's seed is global too
            seed = setup.train.seed + job.number
            reused = idle.pop() if job.before and idle else None
            model, compiled = reused or architecture.untrained(seed, learnt)
        name = f"{job.architecture}-{job.number}-{job.cycle}.npz"
        checkpoint = Checkpoint(state / name, key) if state else None
        if architecture.max_cycles:
            history = self._cycle(job, compiled, learnt, checkpoint)
        else:
            stop = architecture.params.early_stopping
            early_stopping = [keras.callbacks.EarlyStopping(**stop.model_dump())] if stop else []
            history = trainer.fit(
                *(compiled, learnt, scored),
                epochs=architecture.params.epochs,
                seed=seed,
                callbacks=[*early_stopping, progress(job, architecture.params.epochs)],
                checkpoint=checkpoint,
            )
        rows, oof = np.empty(0, np.int32), np.empty((0, setup.schema.outputs), np.float32)
        if setup.train.folds > 1:
            rows = np.flatnonzero(np.concatenate(self._folds) == job.fold).astype(np.int32)
            oof = np.concatenate(trainer.predict(compiled, predicted))[: len(rows)]
        copy_trained_weights(model, compiled)
        member = Member(job.architecture, job.fold, model.get_weights(), history, rows, oof)
        if not architecture.max_cycles:
            return member
        member = self._snapshot(job, member, compiled, scored)
        if len(idle) < workers():
            idle.append((model, compiled))
        return member

    def _datasets(self, fold: int) -> tuple[Dataset, Dataset, Dataset]:
        """Return the rows that the members of a fold learn from, are scored on, and predict."""
        rows = self.setup.dataset
        if self.setup.train.folds == 1:
            return rows, self._validation, []
        if self.setup.is_grouped:
            held_out = Subset(rows, self._own[fold])
            return Subset(rows, self._others[fold]), held_out, held_out
        learnt, scored, predicted = (
            Subset(rows, equal_sizes(indices, size)[fold])
            for indices, size in ((self._others, min), (self._own, min), (self._own, max))
        )
        return learnt, scored, predicted

    def _cycle(
        self, job: Job, compiled: keras.Model, rows: Dataset, checkpoint: Checkpoint | None
    ) -> list[dict[str, float]]:
        """Train for a cycle, and return the logs of all cycles until then."""
        trainer, before = self._trainers[job.architecture], job.before
        history = checkpoint.restore(variables(compiled)) if checkpoint else []
        if not history:
            if before:
                for variable, value in zip(variables(compiled), before.state, strict=True):
                    variable.assign(value)
                history = before.history
            seed = [self.setup.train.seed + job.number, job.cycle]
            history = [*history, trainer.fit_steps(compiled, rows, cycle_steps(job.cycle), seed)]
            if checkpoint:
                checkpoint.save(variables(compiled), history, ended=True)
        architecture = self.setup.architectures[job.architecture]
        share = min(cycle_steps(job.cycle) / architecture.max_steps, 1)
        name = f"{job.architecture} {job.number + 1}, cycle {job.cycle + 1}"
        report_progress(architecture.params.epochs * share, name)
        return history

    def _snapshot(
        self, job: Job, member: Member, compiled: keras.Model, validation: Dataset
    ) -> Member:
        """Add to a member after a cycle its scores, and the state from which the next goes on."""
        setup, architecture = self.setup, self.setup.architectures[job.architecture]
        y, weight = setup.standardised(member.rows), setup.training_weight[member.rows]
        outputs = member.oof
        if not len(y) and len(validation):
            outputs = np.concatenate(self._trainers[job.architecture].predict(compiled, validation))
            parts = [validation[part] for part in range(len(validation))]
            y, weight = (np.concatenate([part[place] for part in parts]) for place in (1, 2))
        steps = cycle_steps(job.cycle + 1) - cycle_steps(0)  # of all cycles until now
        history = [logs.copy() for logs in member.history]
        history[-1] |= {"epoch": steps * architecture.params.epochs / architecture.max_steps}
        history[-1] |= held_out_scores(setup, y[:, 0], outputs, weight)
        state = tuple(np.array(variable) for variable in variables(compiled))
        return member._replace(history=history, state=state, steps=steps)


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


def progress(job: Job, epochs: int) -> keras.callbacks.Callback:
    """Report each epoch of a member."""

    def report(epoch: int, logs: dict[str, float]) -> None:
        name = f"{job.architecture} {job.number + 1}, epoch {epoch + 1} of {epochs}"
        report_progress(1, f"{name}, loss {logs['loss']:.4f}")

    return keras.callbacks.LambdaCallback(on_epoch_end=report)


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
    takes no part in its weights, except that it stops them early. The members of an architecture
    that trains in cycles end with the first cycle that is not `promising`.

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
    architectures = setup.architectures
    training = Training(setup, validation)
    work = partial(training.member, state=state, key=key)
    jobs = [
        Job(members.network, fold, fold * members.count + number)
        for fold in range(setup.train.folds)
        for members in setup.train.members
        for number in range(members.count)
    ]
    lowest: dict[str, float] = {}
    while jobs:
        trained = []
        for member in ordered_map(work, jobs, most=len(jobs), report=report, stop=training.cancel):
            trained.append(member)
            yield member._replace(state=())
        losses = cycle_losses(setup, trained)
        going_on = promising(losses, lowest)
        lowest |= {name: min(loss, lowest.get(name, loss)) for name, loss in losses.items()}
        jobs = [
            job._replace(cycle=job.cycle + 1, before=member)
            for job, member in zip(jobs, trained, strict=True)
            if job.architecture in going_on
            and job.cycle + 1 < architectures[job.architecture].max_cycles
        ]


def cycle_losses(setup: Setup, members: list[Member]) -> dict[str, float]:
    """Compute the mean loss of rows that the members of an architecture have not seen.

    Those are the rows of all folds or, without folds, of the validation set; NaN without both.
    Architectures that train in epochs are left out.
    """
    losses = {}
    for name, same in members_by(members, "architecture").items():
        if setup.architectures[name].max_cycles:
            rows, oof = out_of_fold(same)
            validation_losses = [member.history[-1].get("val_loss", math.nan) for member in same]
            losses[name] = float(np.mean(validation_losses))
            if len(rows):
                losses[name] = setup.mean_loss(rows, setup.in_units(oof))
    return losses


def promising(losses: dict[str, float], lowest: dict[str, float]) -> set[str]:
    """Choose the architectures whose next cycle may help: it gains twice the last one at most.

    It does not if the last one did not lower the loss by `MIN_GAIN`, or if even then another
    architecture would be better.

    Args:
        losses: Loss of each architecture after this cycle.
        lowest: The lowest loss of each architecture so far.
    """
    best = min([*lowest.values(), *losses.values()], default=math.nan)
    chosen = set()
    for name, loss in losses.items():
        last = lowest.get(name, math.inf)
        if not (loss > (1 - MIN_GAIN) * last or loss - 2 * (last - loss) > best):
            chosen.add(name)
    return chosen
