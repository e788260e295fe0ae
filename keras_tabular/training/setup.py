"""What the training of all networks starts from: rows, folds and architectures."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedTrain, Train
from keras_tabular.core.errors import UserError
from keras_tabular.network.backend import keras
from keras_tabular.network.features import ColumnSample
from keras_tabular.network.layers import category_positions
from keras_tabular.table.parquet import count_rows
from keras_tabular.tasks.task import Task
from keras_tabular.training import dataset, folds
from keras_tabular.training.architecture import Architecture, Build

MAX_ROWS_OF_SMALL_TABLE = 2_500  # of training
# Number of rows of the first part from which the quantiles of columns are computed. The
# rows of a part are in random order.
MAX_ROWS_FOR_QUANTILES = 100_000
# In a worker process, the last setup by its arguments. All networks share it.
LAST_SETUP: dict[str, "Setup"] = {}


class FoldRows(NamedTuple):
    """The rows that the networks of a fold learn from, and those that they predict.

    Attributes:
        learnt: The rows to learn from.
        held_out: The rows to predict after each round.
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
    """The training rows, their folds and preprocessing, and the architectures.

    Args:
        tables: Folder of the training rows, and of the validation rows, if there are
            any. They are held out if there are no folds.
        schema: The table.
        train: The parameters.
        build: Builds the layers of a network. It is pickled by its name.

    Attributes:
        arguments: The arguments, from which another setup can be made.
        folder: Folder of the training rows.
        schema: The table, whose `ignore` also has `train.ignore`.
        train: The parameters, with a value for every `auto`.
        task: What the model predicts.
        y: Labels of the training rows, float64, shape (rows, 1).
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
        self.arguments: tuple[Any, ...] = (tables, schema, train, build)
        self.folder = tables[0]
        self.schema = schema.without(train.ignore)
        self.task = self.schema.learning_task
        self._possible_folds = folds.possible_folds(self.folder)
        self.train = resolve_auto(
            train,
            sum(count_rows(self.folder)),
            self.task,
            len(self.schema.features),
            self._possible_folds,
        )
        labels = dataset.read_labels(self.folder, self.schema)
        self.y = labels.y
        self._fold_keys = folds.read_fold_keys(self.folder)
        self.folds = self._draw_folds(self.train.folds)
        self._check_weights(labels.weight)
        self._preprocess(labels)
        self._rows_without_folds = self._hold_out_validation(tables[1:])
        self.architectures = self._build_architectures(build)

    def _draw_folds(self, n_folds: int) -> folds.Folds:
        sizes = [size for size in count_rows(self.folder) if size]
        y = self.y[:, 0]
        classes = y if self.task.classes else np.zeros(len(y))
        part_classes = np.split(classes, np.cumsum(sizes)[:-1])
        seed = self.train.seed
        return folds.draw_folds(part_classes, self._fold_keys, n_folds, seed)

    def _check_weights(self, weight: np.ndarray) -> None:
        fold_weights = np.bincount(np.concatenate(self.folds), weight)
        if not (fold_weights > 0).all():  # NaN, if all weights are 0
            raise UserError(
                f"column {self.schema.weight}: a fold has only rows with a weight of"
                " zero",
            )

    def _preprocess(self, labels: dataset.Labels) -> None:
        """Fit the preprocessing to the training rows, and read them through it."""
        text_folds = self.folds
        if self.train.folds == 1:
            # Otherwise, a row's own label would take part in encoding its texts.
            text_folds = self._draw_folds(max(self._possible_folds, default=1))
        self.preprocessor = dataset.fit_preprocessor(
            self.folder,
            self.schema,
            self.train,
            labels,
            text_folds,
        )
        self.dataset = dataset.TableDataset(
            self.folder,
            self.preprocessor,
            labels,
            text_folds,
        )

    def _hold_out_validation(self, validation: Sequence[Path]) -> FoldRows | None:
        """Find the rows of a training without folds, which predicts the validation."""
        if self.train.folds > 1:
            return None
        no_rows = np.empty(0, np.int32)
        rows = FoldRows(self.dataset.parts, [], no_rows, no_rows, no_rows)
        if not validation:
            return rows
        labels = dataset.read_labels(validation[0], self.schema)
        held_out = dataset.TableDataset(validation[0], self.preprocessor, labels)
        return rows._replace(
            held_out=held_out.parts,
            y=held_out.y[:, 0].astype(np.float32),
            weight=held_out.weight.astype(np.float32),
        )

    def _build_architectures(self, build: Build) -> dict[str, Architecture]:
        first_part = self.dataset.parts[0]()
        statistics = self.preprocessor.statistics
        columns = ColumnSample(
            np.asarray(first_part.x[:MAX_ROWS_FOR_QUANTILES]),
            n_numbers=len(statistics.scalings),
            n_rows=len(self.y),
            categories=category_positions(statistics, self.preprocessor.layers),
        )
        names = [members.network for members in self.train.members]
        return {
            name: Architecture(name, self.train, self.schema, build, columns)
            for name in names
        }

    def rows_of_fold(self, fold: int) -> FoldRows:
        """Find the rows that the networks of a fold learn from, and those to predict.

        Without folds, networks learn from all training rows, and the validation rows
        are held out.
        """
        if self._rows_without_folds is not None:
            return self._rows_without_folds
        learnt = [np.flatnonzero(part != fold) for part in self.folds]
        held_out = [np.flatnonzero(part == fold) for part in self.folds]
        if len(self.folds) == 1 and not self._fold_keys:
            # XLA compiles an epoch for each number of rows. If the folds differed by a
            # row, it would compile twice. So all get the same size, and a row may be
            # left out. In a table of several parts, compiling takes the smallest part
            # of the time.
            (row_folds,) = self.folds
            n_learnt = len(row_folds) - np.bincount(row_folds).max()
            learnt = [learnt[0][:n_learnt]]
        numbers = np.flatnonzero(np.concatenate(self.folds) == fold)
        return FoldRows(
            dataset.select_rows(self.dataset.parts, learnt),
            dataset.select_rows(self.dataset.parts, held_out),
            numbers.astype(np.int32),
            y=self.dataset.y[numbers, 0],
            weight=self.dataset.weight[numbers],
        )

    def summary(self) -> str:
        """Format the number of rows, and of the networks of each architecture."""
        counts = [
            f"{members.count * self.train.folds} of {members.network}"
            for members in self.train.members
        ]
        return f"{len(self.y)} rows: {', '.join(counts)}"

    def losses(self, y: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Compute the loss of each row, by which networks are chosen, shape (rows,).

        Args:
            y: Labels, shape (rows,).
            y_pred: Predictions, shape (rows, outputs).
        """
        return self.task.row_losses(y, y_pred, self.train.loss)

    def weighted_losses(self, rows: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        """Compute the loss of some training rows, times their weights, shape (rows,).

        Args:
            rows: Numbers of the rows, shape (rows,).
            y_pred: Predictions in units of the target, shape (rows, outputs).
        """
        weight = self.dataset.weight[rows]
        losses = self.losses(self.y[rows, 0], y_pred)
        return losses * (weight / weight.mean())

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Convert outputs of networks to predictions of the saved model.

        For regression, they are in units of the target, within the range of the
        training rows.
        """
        if self.task.classes:
            return outputs
        statistics = self.preprocessor.statistics
        values = outputs * statistics.target.scale + statistics.target.shift
        lowest, highest = statistics.target_range
        return np.clip(values, lowest, highest)

    def __reduce__(self) -> Any:
        """Pickle the arguments, from which another process makes a setup."""
        return _set_up_once, self.arguments


def _set_up_once(*arguments: Any) -> Setup:
    key = repr(arguments)
    if key not in LAST_SETUP:
        LAST_SETUP.clear()
        keras.utils.clear_session()
        LAST_SETUP[key] = Setup(*arguments)
    return LAST_SETUP[key]


def resolve_auto(
    train: Train,
    n_rows: int,
    task: Task,
    n_columns: int,
    possible_folds: Iterable[int] = range(2, 11),
) -> ResolvedTrain:
    """Return the section with a value in place of every `auto`.

    The rules were chosen on the tables of benchmarks/RESULTS.md.

    Args:
        train: The section as it is in params.yaml.
        n_rows: Number of training rows.
        task: What the model predicts.
        n_columns: Number of columns that the model reads.
        possible_folds: The numbers of folds for which no fold would be empty.
    """
    is_small = n_rows <= MAX_ROWS_OF_SMALL_TABLE
    is_wide = n_columns > 100
    names = [*train.networks]
    networks_of_each = 1
    if not is_small:
        names = names[:1]
        networks_of_each = 2
    max_folds = 10
    if n_rows > 10_000:
        max_folds = 5 if n_rows <= 100_000 else 3
    allowed_folds = [n for n in possible_folds if n <= max_folds]
    content = train.model_dump()
    fill_auto(
        content,
        loss=task.losses[0],
        folds=max(allowed_folds, default=1),
        members=[{"network": name, "count": networks_of_each} for name in names],
    )
    embedding = None
    if not is_wide:
        units = 8 if n_columns <= 20 else 4
        embedding = {"bins": 48, "units": units}
    learning_rate = task.learning_rate
    if is_small:
        learning_rate /= 2
    max_steps = 4_000 if is_small else 10_000  # six or eight cycles
    if is_wide or n_rows > 50_000:
        max_steps = 2_000
    for network in content["networks"].values():
        fill_auto(
            network,
            embedding=embedding,
            dropout=0.3 if is_small else 0.1,
            learning_rate=learning_rate,
            batch_size=choose_batch_size(n_rows),
        )
        rows_per_step = min(network["batch_size"], n_rows)
        fill_auto(network, epochs=max(max_steps * rows_per_step // n_rows, 16))
    return ResolvedTrain.model_validate(content)


def choose_batch_size(rows: int) -> int:
    """Return the number of rows of a batch for a number of training rows."""
    if rows <= MAX_ROWS_OF_SMALL_TABLE:
        return 128
    if rows <= 10_000:
        return 64
    return 256 if rows <= 50_000 else 1024


def fill_auto(section: dict[str, Any], **values: Any) -> None:
    """Set the values of those keys of a section that are `auto`."""
    for key, value in values.items():
        if section.get(key) == "auto":
            section[key] = value
