"""What the training of all networks starts from: preprocessed rows, folds and architectures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train
from keras_tabular.core.errors import UserError
from keras_tabular.network.backend import keras
from keras_tabular.network.features import ColumnSample
from keras_tabular.network.layers import category_positions
from keras_tabular.table.parquet import count_rows
from keras_tabular.training import dataset, folds
from keras_tabular.training.architecture import Architecture, Build

MAX_ROWS_FOR_QUANTILES = (
    100_000  # training rows; each part has its rows in random order
)


class FoldRows(NamedTuple):
    """The rows that the networks of a fold learn from, and the held-out rows that they predict.

    Attributes:
        learnt: The rows to learn from.
        held_out: The rows to predict after each round. The first rows may be repeated
            at the end.
        numbers: Row numbers of the held-out rows in the table train, int32; empty
            without folds.
        y: Labels of the held-out rows as networks learn them, shape (rows,).
        weight: Weights of the held-out rows in training, shape (rows,).
    """

    learnt: dataset.Dataset
    held_out: dataset.Dataset
    numbers: np.ndarray
    y: np.ndarray
    weight: np.ndarray


class Setup:
    """The training rows, their folds, the preprocessing that is fitted to them, and architectures.

    Args:
        tables: Folder of the training rows, and of the validation rows, if there are
            any. They are held out if there are no folds.
        schema: The table.
        train: The parameters.
        build: Builds the layers of a network. It is pickled by its name.

    Attributes:
        folder: Folder of the training rows.
        schema: The table, whose `ignore` also has `train.ignore`.
        train: The parameters, with a value for every `auto`.
        task: What the model predicts.
        y: Labels of the training rows, float64, shape (rows, 1).
        weight: Weights of the training rows, 1 on average, without the weights of the
            classes, float64, shape (rows,).
        folds: Fold of each row of each part, int32.
        preprocessor: The fitted preprocessing.
        dataset: The training rows, preprocessed; their weights include the weights of
            the classes.
        architectures: The architectures of `train.members` by name.

    Raises:
        UserError: There are no rows, or fewer than folds, or a column cannot be
            preprocessed.
    """

    def __init__(
        self,
        tables: Sequence[Path],
        schema: Schema,
        train: Train,
        build: Build,
    ) -> None:
        folder, *validation = tables
        schema = schema.without(train.ignore)
        keys = folds.read_fold_keys(folder)
        sizes = count_rows(folder)
        possible = folds.possible_folds(folder)
        task = schema.learning_task
        params = train.resolve_auto(sum(sizes), task, len(schema.features), possible)
        self.folder = folder
        self.schema = schema
        self.train = params
        self.task = task
        self._arguments = tables, schema, params, build

        labels = dataset.read_labels(folder, schema)
        self.y, self.weight = labels
        classes = task.strata(self.y[:, 0])
        part_classes = np.split(
            classes,
            np.cumsum([size for size in sizes if size])[:-1],
        )
        self._is_grouped = bool(keys)
        self.folds = folds.draw_folds(part_classes, keys, params.folds, params.seed)
        if (
            schema.weight
            and not np.bincount(np.concatenate(self.folds), self.weight).all()
        ):
            raise UserError(
                f"column {schema.weight}: every row of a fold has a weight of 0",
            )

        text_folds = self.folds
        if (
            params.folds == 1
        ):  # else a row's own label would take part in encoding its texts
            text_folds = folds.draw_folds(
                part_classes,
                keys,
                max(possible, default=1),
                params.seed,
            )
        self.preprocessor = dataset.fit_preprocessor(
            folder,
            schema,
            params,
            labels,
            text_folds,
        )
        self.dataset = dataset.TableDataset(
            folder,
            self.preprocessor,
            labels,
            text_folds,
        )
        no_rows = np.empty(0, np.int32)
        self._without_folds = FoldRows(
            self.dataset.parts,
            [],
            no_rows,
            no_rows,
            no_rows,
        )
        if validation and params.folds == 1:
            labels = dataset.read_labels(validation[0], schema)
            held_out = dataset.TableDataset(validation[0], self.preprocessor, labels)
            y = held_out.y[:, 0].astype(np.float32)
            weight = held_out.weight.astype(np.float32)
            self._without_folds = FoldRows(
                self.dataset.parts,
                held_out.parts,
                no_rows,
                y,
                weight,
            )

        sample = np.asarray(self.dataset.parts[0]().x[:MAX_ROWS_FOR_QUANTILES])
        n_numbers = len(self.preprocessor.statistics.scalings)
        positions = category_positions(
            self.preprocessor.statistics,
            self.preprocessor.layers,
        )
        columns = ColumnSample(sample, n_numbers, len(self.y), positions)
        names = [members.network for members in params.members]
        self.architectures = {
            n: Architecture(n, params, schema, build, columns) for n in names
        }

    def rows_of_fold(self, fold: int) -> FoldRows:
        """Find the rows that the networks of a fold learn from, and the rows that they predict.

        Without folds, networks learn from all training rows, and the validation rows
        are held out.
        """
        if self.train.folds == 1:
            return self._without_folds
        learnt = [np.flatnonzero(part != fold).astype(np.int32) for part in self.folds]
        held_out = [
            np.flatnonzero(part == fold).astype(np.int32) for part in self.folds
        ]
        if len(self.folds) == 1 and not self._is_grouped:
            # XLA compiles a graph for each number of rows. If the folds differed by a
            # row, it would compile twice, and the default table would train in 6.2
            # seconds instead of 5. So all folds get the same size: a row may be left
            # out or come twice. In a table of several parts, compiling takes the
            # smallest part of the time.
            most = np.bincount(self.folds[0]).max()
            learnt = [np.resize(learnt[0], len(self.folds[0]) - most)]
            held_out = [np.resize(held_out[0], most)]
        numbers = np.flatnonzero(np.concatenate(self.folds) == fold).astype(np.int32)
        y = self.dataset.y[numbers, 0]
        weight = self.dataset.weight[numbers]
        learnt_parts = dataset.select_rows(self.dataset.parts, learnt)
        held_out_parts = dataset.select_rows(self.dataset.parts, held_out)
        return FoldRows(learnt_parts, held_out_parts, numbers, y, weight)

    def summary(self) -> str:
        """Format the number of rows, and the number of networks of each architecture."""
        counts = [
            f"{m.count * self.train.folds} of {m.network}" for m in self.train.members
        ]
        return f"{len(self.y)} rows: {', '.join(counts)}"

    def losses(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Compute the loss of each row by which networks are chosen: see `Task.row_losses`."""
        return self.task.row_losses(y, y_pred, self.train.loss)

    def mean_loss(self, rows: np.ndarray, y_pred: np.ndarray) -> float:
        """Compute the mean loss of predictions, in units of the target, for some training rows."""
        losses = self.losses(self.y[rows, 0], y_pred)
        return float(np.average(losses, weights=self.dataset.weight[rows]))

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Convert outputs of networks to predictions of the saved model.

        For regression, they are in units of the target, within the range of the
        training rows.
        """
        if self.task.classes:
            return outputs
        statistics = self.preprocessor.statistics
        values = outputs * statistics.target.scale + statistics.target.shift
        return np.clip(values, *statistics.target_range)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arguments, from which another process makes one setup for all networks."""
        return _set_up_once, self._arguments


_SETUPS: dict[
    str,
    Setup,
] = {}  # in a worker process: the last setup, so that it is made once


def _set_up_once(*arguments: Any) -> Setup:
    key = repr(arguments)
    if key not in _SETUPS:
        _SETUPS.clear()
        keras.utils.clear_session()
        _SETUPS[key] = Setup(*arguments)
    return _SETUPS[key]
