"""Networks of several kinds that one model averages, trained on folds of the rows."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabular.engine import ordered_map
from tabular.errors import UserError
from tabular.model import network, preprocessing, target_statistics, texts
from tabular.model.backend import keras
from tabular.model.checkpoint import Checkpoint
from tabular.model.dataset import (
    Encoded,
    Subset,
    TableDataset,
    all_labels,
    all_weights,
    sample_weights,
)
from tabular.model.trainer import TRACING, Dataset, Trainer
from tabular.model.workload import check_workload
from tabular.params.train import Resolved, Train
from tabular.schema import Schema
from tabular.table.arrays import row_losses
from tabular.table.parquet import count_rows, part_paths, read_parts
from tabular.table.shares import FOLD_KEY

BAGS, PICKS, BAG_ROWS = 20, 20, 20_000  # see `selected`
SAMPLE = 100_000  # training rows, which lie shuffled in their parts, for medians and quantiles
CELLS = 10  # at least, in which target statistics are cross-fitted


@dataclass
class Setup:
    """What the training rows decide before a network learns from them.

    Attributes:
        folder: of the training rows.
        train: the parameters, every `auto` replaced.
        preprocessed: the inputs of the model to be, and what the preprocessing makes of them.
        statistics: what the preprocessing took from the rows.
        y: the labels of the training rows, float64, shape (rows, 1).
        weight: how much each of them counts, float64, (rows,); None where all count alike.
        dataset: the training rows, preprocessed.
        cells: for each part, of each row, int32; row of fold f lie in the cells f, f + folds, ...
        keys: for each part, of each row; those of one key are in one cell; none of a random split.
        encoders: of each text column.
    """

    folder: Path
    schema: Schema
    train: Resolved
    preprocessed: preprocessing.Preprocessed
    statistics: preprocessing.Statistics
    y: np.ndarray
    weight: np.ndarray | None
    dataset: TableDataset
    cells: list[np.ndarray]
    keys: list[np.ndarray] = field(default_factory=list)
    encoders: dict[str, texts.Encoder] = field(default_factory=dict)
    _features: dict[str, keras.Model] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        return self.train.folds * -(-CELLS // self.train.folds)

    def other_dataset(self, folder: Path) -> TableDataset:
        """The rows of another table, preprocessed as the training rows are."""
        model = keras.Model(self.preprocessed.inputs, self.preprocessed.read)
        dataset = TableDataset(folder, self.schema, model, self.statistics.target)
        if self.train.folds == 1:
            dataset.texts = self.text_values(folder, None)
        return dataset

    def text_values(self, folder: Path, folds: list[np.ndarray] | None) -> list[np.ndarray]:
        """For each part what its rows get of their texts, float32, (rows, folds, width).

        Args:
            folds: of the rows of each part; None of rows that are not the training rows.
        """
        of_columns = [
            [
                encoder.values(part, folds[number] if folds else None, self.train.folds)
                for number, part in enumerate(read_texts(folder, name, self.train.text_length))
            ]
            for name, encoder in self.encoders.items()
        ]
        return [np.concatenate(columns, axis=2) for columns in zip(*of_columns, strict=True)]

    def folds(self) -> list[np.ndarray]:
        """The fold of each row of each part."""
        return [cells % self.train.folds for cells in self.cells]

    def mean_loss(self, rows: np.ndarray, outputs: np.ndarray) -> float:
        """Of outputs for some of the training rows, weighted."""
        losses = row_losses(self.y[rows, 0], outputs, self.schema)
        return float(np.average(losses, weights=self.row_weights(rows)))

    def row_weights(self, rows: np.ndarray) -> np.ndarray | None:
        """How much some of the training rows count; None where all count alike."""
        return None if self.weight is None else self.weight[rows]

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs of networks as the saved model gives them.

        A regression's are in their units and within the range of the training rows.
        """
        if self.schema.task != "regression":
            return outputs
        target = self.statistics.target
        return np.clip(outputs * target.scale + target.shift, *self.statistics.target_range)

    def encoded_targets(self) -> np.ndarray:
        """What categories and texts say something of, see `target_statistics.targets`."""
        target = self.statistics.target  # a regression's values near 0, for the sums of squares
        return target_statistics.targets(
            (self.y - target.shift) / target.scale, len(self.schema.classes)
        )

    @cached_property
    def _sums(self) -> list[target_statistics.Sums]:
        """Of each column with target statistics."""
        y = self.encoded_targets()
        by_part = np.split(y, np.cumsum(self.dataset.sizes)[:-1])
        rows = (self.dataset[part] for part in range(len(self.dataset)))
        return target_statistics.sums(
            (
                (of_part.codes, y, cells)
                for of_part, y, cells in zip(rows, by_part, self.cells, strict=True)
                if of_part.codes is not None
            ),
            self.n_cells,
            list(self.statistics.codes.values()),
        )

    def target_statistics(self, fold: int | None) -> list[np.ndarray]:
        """For each encoded column the statistics that rows of each cell get, and last all others.

        Args:
            fold: that is left out; None where none is.
        """
        if not self.statistics.encoded:
            return []
        without = np.eye(self.n_cells + 1, self.n_cells)
        if fold is not None:
            without[:, fold :: self.train.folds] = 1
        return [target_statistics.table(sums, without) for sums in self._sums]

    @cached_property
    def columns(self) -> network.Columns:
        """What networks read: target statistics, numbers, and columns of 0 and 1."""
        x = self.dataset[0].x
        encoded = sum(table.shape[-1] for table in self.target_statistics(None))
        encoded += sum(len(encoder.weights) for encoder in self.encoders.values())
        return network.Columns(np.asarray(x[:SAMPLE]), encoded, len(self.statistics.scalings))

    def features(self, name: str) -> keras.Model:
        """What the layers of a network read, made once: all its members share it."""
        if name not in self._features:
            found = network.features(self.columns, self.train.networks[name])
            found.name = f"{name}-features"
            self._features[name] = found
        return self._features[name]


def set_up(folder: Path, schema: Schema, train: Train) -> Setup:
    """Adapt the preprocessing to the training rows in `folder`.

    Raises:
        UserError: there are none, fewer than folds, or a column cannot be preprocessed.
    """
    resolved = train.resolved(sum(count_rows(folder)), schema.task)
    statistics = preprocessing.adapt(partial(read_parts, folder), schema, resolved)
    preprocessed = preprocessing.build(statistics, schema, resolved)
    y = all_labels(folder, schema)
    weight = all_weights(folder, schema)
    model = keras.Model(preprocessed.inputs, preprocessed.read)
    in_loss = sample_weights(y, weight, train, schema)
    dataset = TableDataset(folder, schema, model, statistics.target, in_loss)
    setup = Setup(folder, schema, resolved, preprocessed, statistics, y, weight, dataset, [])
    setup.keys = fold_keys(folder)
    setup.cells = (
        cells_of_keys(setup.keys, resolved.folds, setup.n_cells)
        if setup.keys
        else cells_of_rows(dataset.sizes, resolved.folds, setup.n_cells, resolved.seed)
    )
    folds = setup.folds() if resolved.folds > 1 else setup.cells
    if weight is not None and not np.bincount(np.concatenate(setup.folds()), weight).all():
        raise UserError(f"column {schema.weight}: every row of a fold has a weight of 0")
    for name, of_text in preprocessed.texts.items():
        setup.encoders[name] = texts.fit(
            of_text,
            read_texts(folder, name, resolved.text_length),
            setup.encoded_targets(),
            np.concatenate(folds),
            resolved.folds,
            resolved.text_buckets,
        )
    dataset.texts = setup.text_values(folder, folds)
    return setup


def read_texts(folder: Path, name: str, length: int) -> Iterator[np.ndarray]:
    """The first characters of each text of each part that has rows; object, (rows,)."""
    for part in read_parts(folder, [name]):
        if len(part):
            cells = pc.utf8_slice_codeunits(part[0], 0, length)  # before characters are parted
            yield pc.fill_null(cells, "").to_numpy(zero_copy_only=False)


def cells_of_rows(sizes: list[int], folds: int, cells: int, seed: int) -> list[np.ndarray]:
    """The cell of each row of each part, int32; cells differ by one row at most.

    Raises:
        UserError: there are more folds than rows.
    """
    if folds > sum(sizes):
        raise UserError(
            f"train.folds is {folds}, but there are {sum(sizes)} training rows and each fold "
            "needs one; set it lower"
        )
    rng = np.random.default_rng([seed, folds])
    before = np.cumsum([0, *sizes[:-1]])  # rows; the cells take turns from part to part
    return [
        ((rng.permutation(size) + first) % cells).astype(np.int32)
        for size, first in zip(sizes, before, strict=True)
    ]


def fold_keys(folder: Path) -> list[np.ndarray]:
    """What the split says of the rows that stay together, for each part; of none it is empty."""
    if FOLD_KEY not in pq.read_schema(part_paths(folder)[0]).names:
        return []
    return [part[0].to_numpy() for part in read_parts(folder, [FOLD_KEY])]


def cells_of_keys(keys: list[np.ndarray], folds: int, cells: int) -> list[np.ndarray]:
    """The cell of each row of each part, int32: an equal range of keys is a cell.

    Raises:
        UserError: a fold would have no row.
    """
    found = [np.minimum(of_part * cells, cells - 1).astype(np.int32) for of_part in keys]
    with_rows = len(np.unique(np.concatenate(found) % folds))
    if with_rows < folds:
        raise UserError(
            f"train.folds is {folds}, but the training rows have groups or times for {with_rows} "
            "folds alone; set it lower, or add rows"
        )
    return found


class Member(NamedTuple):
    """A trained network, and its predictions for the rows of its own fold.

    `kind` the name of its network; `model` from the features to the output; `history` the logs of
    its epochs; `rows` (n,), int32, the numbers of its fold's rows over all parts, none without
    folds; `oof` (n, outputs), float32, its predictions for these rows, which it has not seen.
    """

    kind: str
    fold: int
    model: keras.Model
    history: list[dict[str, float]]
    rows: np.ndarray
    oof: np.ndarray

    def __reduce__(self) -> tuple[Any, ...]:
        """From another process it comes with its weights in place of its model."""
        return Member, (*self[:2], self.model.get_weights(), *self[3:])


class Kind:
    """What the members of one kind of network share."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.network = setup.train.networks[name]
        self.features = setup.features(name)
        self._setup = setup
        rows = sum(setup.dataset.sizes) * max(setup.train.folds - 1, 1) / setup.train.folds
        self._steps = int(-(-rows // self.network.batch_size) * self.network.epochs)

    def untrained(self, seed: int) -> tuple[keras.Model, keras.Model]:
        """A network, and the compiled model that trains its weights.

        In a thread of its own: Keras numbers the names of layers in each thread from 0.
        """
        with ThreadPoolExecutor(1) as fresh:
            return fresh.submit(self._untrained, seed).result()

    def _untrained(self, seed: int) -> tuple[keras.Model, keras.Model]:
        keras.utils.set_random_seed(seed)
        read = [keras.Input(tensor.shape[1:]) for tensor in self.features.outputs]
        output = network.build(read, self.network, self._setup.schema)
        model = keras.Model(read, output)
        return model, network.trainable(
            model, self.features, self.network, self._setup.train, self._setup.schema, self._steps
        )


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
        self.kinds = {members.network: Kind(members.network, setup) for members in train.members}
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
            self._learnt, self._scored = alike(others, np.min), alike(own, np.min)
            self._predicted = alike(own, np.max)

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process it is set up again, once."""
        setup = self.setup
        return _same_training, (setup.folder, self._validation_folder, setup.schema, setup.train)

    def cancel(self) -> None:
        """Let each member that trains in another thread end after its epoch."""
        for trainer in self._trainers.values():
            trainer.cancel()

    def member(
        self,
        job: Job,
        callbacks: Callable[[Job], Sequence[keras.callbacks.Callback]],
        checkpoint: Callable[[Job], Checkpoint | None],
    ) -> Member:
        """Train one; see `fit`."""
        setup, train = self.setup, self.setup.train
        kind, fold, number = job
        with TRACING:  # Keras's seed is global too
            model, whole = self.kinds[kind].untrained(train.seed + number)
        statistics = setup.target_statistics(fold if train.folds > 1 else None)
        train_rows: Dataset = Encoded(setup.dataset, statistics, fold, setup.cells)
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
                *callbacks(job),
            ],
            checkpoint=checkpoint(job),
        )
        rows, oof = np.empty(0, np.int32), np.empty((0, *whole.output_shape[1:]), np.float32)
        if train.folds > 1:
            rows = np.flatnonzero(np.concatenate(self._folds) == fold).astype(np.int32)
            outputs = trainer.predict(whole, own_rows)
            counts = [len(indices) for indices in self._own[fold] if len(indices)]
            oof = np.concatenate([o[:count] for o, count in zip(outputs, counts, strict=True)])
        network.take_weights(model, whole)
        return Member(kind, fold, model, history, rows, oof)


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


def fit(
    setup: Setup,
    validation: Path | None = None,
    *,
    callbacks: Callable[[Job], Sequence[keras.callbacks.Callback]] = lambda job: [],
    checkpoint: Callable[[Job], Checkpoint | None] = lambda job: None,
    report: Callable[..., None] | None = None,
) -> Iterator[Member]:
    """Train the networks of `train.members`, as many at the same time as there are workers.

    With folds, each one learns from all folds but its own, which is its validation set; that fold
    takes no part in its weights, except that it stops them early.

    Args:
        validation: folder of the validation rows where there are no folds.
        callbacks: of a member, beside its early stopping.
        checkpoint: of a member.
        report: is called with what callbacks `say`, see `engine`.

    Yields:
        The members of the first fold, of the second, and so on.

    Raises:
        UserError: a loss is not finite, or this machine has not the memory or the time.
    """
    training = Training(setup, validation)
    train = setup.train
    jobs = [
        Job(members.network, fold, fold * members.count + number)
        for fold in range(train.folds)
        for members in train.members
        for number in range(members.count)
    ]
    work = partial(training.member, callbacks=callbacks, checkpoint=checkpoint)
    found = ordered_map(work, jobs, most=len(jobs), report=report, stop=training.cancel)
    for job, member in zip(jobs, found, strict=True):
        if isinstance(member.model, list):
            model = training.kinds[job.kind].untrained(train.seed + job.number)[0]
            model.set_weights(member.model)
            member = member._replace(model=model)
        yield member


def alike(
    indices: list[list[np.ndarray]], size: Callable[[list[int]], Any]
) -> list[list[np.ndarray]]:
    """The indices of each fold, as many for each: a graph is compiled for a number of rows.

    That is the least number of them all, so that a row may be left out, or the largest, so that
    one may come twice. Of a table in several parts, where compiling takes the least of the time,
    they stay as they are.

    Args:
        indices: of each fold, of each part.
        size: of the numbers of the folds' rows.
    """
    if len(indices[0]) > 1:
        return indices
    count = int(size([len(part) for (part,) in indices]))
    return [[np.resize(part, count)] for (part,) in indices]


class Blend(NamedTuple):
    """How the kinds of networks are weighted, and what decided it.

    `weights` by kind, they add up to 1; `losses` the mean loss of each kind's out-of-fold
    predictions, in the units of the target, none without folds; `rows` (n,) those that were
    predicted, sorted, and `oof` (n, outputs), float32, the weighted predictions.
    """

    weights: dict[str, float]
    losses: dict[str, float]
    rows: np.ndarray
    oof: np.ndarray


def blend(setup: Setup, members: list[Member]) -> Blend:
    """Weigh the kinds of networks by their out-of-fold predictions; without folds all alike."""
    kinds = list(dict.fromkeys(member.kind for member in members))
    found = {kind: out_of_fold([m for m in members if m.kind == kind]) for kind in kinds}
    rows = found[kinds[0]][0]
    oof = {kind: setup.in_units(outputs) for kind, (_, outputs) in found.items()}
    if not len(rows):
        return Blend(dict.fromkeys(kinds, 1 / len(kinds)), {}, rows, oof[kinds[0]])
    weights = selected(setup.y[rows], setup.row_weights(rows), oof, setup.schema, setup.train.seed)
    return Blend(
        weights,
        {kind: setup.mean_loss(rows, oof[kind]) for kind in kinds},
        rows,
        np.sum([np.float32(weights[kind]) * oof[kind] for kind in kinds], axis=0),
    )


def of_folds(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """How a fold's answer is made of the members': see `saved_model.fold_answers`."""
    used = {kind: weight for kind, weight in blend.weights.items() if weight}
    return {
        "weights": used,
        "folds": {kind: [m.fold for m in members if m.kind == kind] for kind in used},
        "target_range": list(setup.statistics.target_range),
    }


def of_members(
    setup: Setup, members: list[Member], kind: str
) -> dict[str, list[float] | list[int]]:
    """What the members of a kind came to.

    Returns:
        `losses`, of each for its own fold, none without folds; `epochs`, how many its weights have
        learnt in.
    """
    of_kind = [member for member in members if member.kind == kind]
    stop = setup.train.networks[kind].early_stopping
    epochs = []
    for member in of_kind:
        kept = len(member.history)
        if stop and stop.restore_best_weights:
            monitored = [logs[stop.monitor] for logs in member.history]
            best = max(monitored) if stop.monitor == "val_accuracy" else min(monitored)
            kept = monitored.index(best) + 1
        epochs.append(kept)
    losses = [
        setup.mean_loss(member.rows, setup.in_units(member.oof))
        for member in of_kind
        if len(member.rows)
    ]
    return {"losses": losses, "epochs": epochs}


def warnings(setup: Setup, members: list[Member], blend: Blend) -> list[str]:
    """A line for each kind of networks that learnt nothing, with what to try."""
    found, constant = {}, constant_loss(setup)
    for kind in blend.weights:
        ends = [[m.history[n]["loss"] for m in members if m.kind == kind] for n in (0, -1)]
        first, last = map(np.mean, ends)
        if last > first:
            found[kind] = f"the loss rose from {first:.4g} in the first epoch to {last:.4g}"
        elif setup.train.class_weight is None and blend.losses.get(kind, 0) >= constant:
            found[kind] = (
                f"the cross-validated loss {blend.losses[kind]:.4g} is not below that of a "
                f"constant, {constant:.4g}"
            )
    return [
        f"{kind}: {what}; try a smaller learning_rate, other epochs or more dropout in "
        f"train.networks.{kind}, or fewer columns"
        for kind, what in found.items()
    ]


def constant_loss(setup: Setup) -> float:
    """The mean loss of the best constant: the entropy of the classes, or the target's variance."""
    weight = np.ones(len(setup.y)) if setup.weight is None else setup.weight
    if setup.schema.task == "regression":
        mean = np.average(setup.y[:, 0], weights=weight)
        return float(np.average((setup.y[:, 0] - mean) ** 2, weights=weight))
    counts = np.bincount(setup.y[:, 0].astype(int), weight)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def selected(
    y: np.ndarray,
    weight: np.ndarray | None,
    oof: dict[str, np.ndarray],
    schema: Schema,
    seed: int,
) -> dict[str, float]:
    """The weights of kinds of networks by bagged ensemble selection.

    For each of `BAGS` samples of the rows the kinds are chosen one after the other, `PICKS` times,
    each time the one with which the mean of those chosen has the least loss; their shares are
    averaged over the samples, so that few rows, which cannot tell the kinds apart, weigh them
    alike: Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models"
    (2004).

    Args:
        y: labels, shape (rows, 1).
        weight: how much each row counts, shape (rows,); None where all count alike.
        oof: of each kind the out-of-fold predictions, shape (rows, outputs).
    """
    if len(oof) == 1:
        return dict.fromkeys(oof, 1.0)
    rng = np.random.default_rng(seed)
    picked = dict.fromkeys(oof, 0)
    for _ in range(BAGS):
        rows = rng.integers(0, len(y), min(len(y), BAG_ROWS))
        if weight is not None and not weight[rows].any():
            rows = np.arange(len(y))
        of_rows = {kind: outputs[rows].astype(np.float64) for kind, outputs in oof.items()}
        total = np.zeros(())
        for number in range(1, PICKS + 1):
            losses = {
                kind: np.average(
                    row_losses(y[rows, 0], (total + outputs) / number, schema),
                    weights=None if weight is None else weight[rows],
                )
                for kind, outputs in of_rows.items()
            }
            best = min(losses, key=lambda kind: losses[kind])
            total = total + of_rows[best]
            picked[best] += 1
    return {kind: count / (BAGS * PICKS) for kind, count in picked.items()}


def out_of_fold(members: list[Member]) -> tuple[np.ndarray, np.ndarray]:
    """The mean predictions of members of one kind for the rows of their folds.

    Returns:
        The rows, sorted, (n,), and float32, (n, outputs).
    """
    by_fold: dict[int, list[Member]] = {}
    for member in members:
        by_fold.setdefault(member.fold, []).append(member)
    rows = np.concatenate([of_fold[0].rows for of_fold in by_fold.values()])
    means = [
        np.mean([member.oof for member in of_fold], axis=0, dtype=np.float64).astype(np.float32)
        for of_fold in by_fold.values()
    ]
    order = np.argsort(rows)
    return rows[order], np.concatenate(means)[order]


def weighted(setup: Setup, members: list[Member], weights: dict[str, float]) -> keras.Model:
    """The model to save: from raw rows to the mean of the members, weighted by their kind."""
    columns = {fold: _encoded(setup, fold) for fold in sorted({m.fold for m in members})}
    outputs = []
    for kind, weight in weights.items():
        if not weight:
            continue
        features = setup.features(kind)
        of_kind = [member for member in members if member.kind == kind]
        each = []
        for number, member in enumerate(of_kind, start=1):
            member.model.name = f"{kind}-{number}"
            each.append(member.model(features(columns[member.fold])))
        mean = keras.layers.Average(name=f"{kind}-mean")(each) if len(each) > 1 else each[0]
        outputs.append(
            keras.layers.Rescaling(weight, name=f"{kind}-weight")(mean) if weight != 1 else mean
        )
    output = keras.layers.Add(name="weighted-mean")(outputs) if len(outputs) > 1 else outputs[0]
    if setup.schema.task == "regression":
        target = setup.statistics.target
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
        output = keras.ops.clip(output, *setup.statistics.target_range)
    return keras.Model(setup.preprocessed.inputs, output, name="model")


def _encoded(setup: Setup, fold: int) -> keras.KerasTensor:
    """The columns that the members of a fold read, as layers of the model to save."""
    prepared, *codes = setup.preprocessed.read
    left_out = fold if setup.train.folds > 1 else None
    encoded = [
        keras.layers.Embedding(*table.shape[1:], weights=[table[-1]])(codes[0][:, column])
        for column, table in enumerate(setup.target_statistics(left_out))
    ]
    encoded += [
        texts.encoded(setup.preprocessed.tokens[name], encoder.table(left_out))
        for name, encoder in setup.encoders.items()
    ]
    return keras.layers.Concatenate()([*encoded, prepared]) if encoded else prepared
