"""Train a model: the one function that the stage, the commands and the estimator call.

With `train.forward_chaining`, it calls itself for the rows before each block of time.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train
from keras_tabular.core.errors import UserError
from keras_tabular.network.backend import keras
from keras_tabular.network.record import TrainingRecord
from keras_tabular.network.reproducible import ExactModel
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.out_of_fold import FoldPredictions, OutOfFold
from keras_tabular.table.parquet import FOLD_KEY, read_parts, write_part
from keras_tabular.training import ensemble, rounds
from keras_tabular.training.architecture import Build
from keras_tabular.training.checkpoint import Checkpoints, Snapshot
from keras_tabular.training.folds import number_periods, read_fold_keys
from keras_tabular.training.setup import Setup


@dataclass(frozen=True)
class TrainedModel:
    """A model, and how it was trained.

    Attributes:
        setup: The training rows, their folds and the architectures.
        snapshots: All snapshots of the networks.
        weighted: The weights of the snapshots.
        model: The weighted mean of the snapshots.
        out_of_fold: Predictions for training rows by networks that have not learnt
            them.
    """

    setup: Setup
    snapshots: list[Snapshot]
    weighted: ensemble.WeightedEnsemble
    model: ExactModel
    out_of_fold: OutOfFold

    @cached_property
    def record(self) -> TrainingRecord:
        """What the training did, for the model's file; it takes a few predictions."""
        weights = self.weighted.weights
        return ensemble.build_record(self.setup, self.snapshots, weights, self.model)

    def write_out_of_fold(self, folder: Path) -> None:
        """Write the out-of-fold predictions, in the parts of the training rows."""
        self.out_of_fold.write(folder, [len(part) for part in self.setup.folds])


def train_model(
    tables: Sequence[Path],
    schema: Schema,
    train: Train,
    build: Build,
    scratch: Path,
    *,
    checkpoints: Checkpoints | None = None,
    show_progress: bool = False,
) -> TrainedModel:
    """Train the networks of all folds, weigh them, and build one model.

    The same arguments give the same bits, whatever else the process has trained before.

    Args:
        tables: Folder of the training rows, and of the validation rows, if there are
            any.
        schema: The table.
        train: The parameters.
        build: Builds the layers of a network.
        scratch: Folder for temporary files, which all workers can read.
        checkpoints: Files for the snapshots, from which a killed training continues.
        show_progress: Whether to show the progress on stderr.

    Raises:
        UserError: The rows do not fit the parameters, or a loss is NaN or infinite.
    """
    keras.utils.clear_session()  # it numbers the names of layers
    setup = Setup(tables, schema, train, build)
    if show_progress:
        print(f"Training networks on {setup.summary()}", file=sys.stderr)
    snapshots = rounds.fit(setup, checkpoints=checkpoints, show_progress=show_progress)
    weighted = ensemble.weigh_snapshots(setup, snapshots)
    model = ensemble.build_model(setup, snapshots, weighted.weights)
    later = None
    if train.forward_chaining:
        later = predict_later_blocks(setup, scratch, show_progress=show_progress)
    out_of_fold = OutOfFold(weighted.out_of_fold, later)
    return TrainedModel(setup, snapshots, weighted, model, out_of_fold)


def predict_later_blocks(
    setup: Setup,
    scratch: Path,
    *,
    show_progress: bool = False,
) -> FoldPredictions:
    """Predict training rows with models that have learnt only from earlier rows.

    The rows are divided by their times into blocks from 0 to `train.forward_chaining`
    with equal numbers of rows, as in scikit-learn's `TimeSeriesSplit`. For each block
    except for the first, a model is trained from scratch on the rows of all earlier
    blocks.

    Args:
        setup: The training on all rows, of a split by time.
        scratch: Folder for temporary files, which all workers can read.
        show_progress: Whether to show the progress on stderr.

    Returns:
        The predictions, NaN in block 0; the fold of a row is its block minus 1.

    Raises:
        UserError: The rows before a block have too few different times for the folds.
    """
    _, schema, train, build = setup.arguments
    n_blocks = train.forward_chaining + 1
    train = train.model_copy(update={"forward_chaining": 0})
    times = np.concatenate(read_fold_keys(setup.folder))
    blocks = number_periods(times, n_blocks)
    shape = (len(blocks), setup.task.n_outputs)
    predictions = np.full(shape, np.nan, np.float32)
    for block in range(1, n_blocks):
        with TemporaryDirectory(dir=scratch) as scratch_folder:
            earlier = Path(scratch_folder)
            write_earlier_rows(setup.folder, earlier, block, n_blocks)
            try:
                trained = train_model(
                    [earlier],
                    schema,
                    train,
                    build,
                    scratch,
                    show_progress=show_progress,
                )
            except UserError as error:
                raise UserError(
                    f"train.forward_chaining, the rows before block {block} of"
                    f" {n_blocks - 1}: {error} Or set train.forward_chaining to a"
                    " smaller number.",
                ) from None
        block_predictions = []
        for part in read_parts(setup.folder):
            is_in_block = number_periods(part[FOLD_KEY].to_numpy(), n_blocks) == block
            columns = feature_arrays(part.filter(pa.array(is_in_block)), setup.schema)
            block_predictions.append(trained.model.predict(columns))
        predictions[blocks == block] = np.concatenate(block_predictions)
    return FoldPredictions(predictions, blocks - 1)


def write_earlier_rows(
    source: Path,
    target: Path,
    block: int,
    n_blocks: int,
) -> None:
    """Write the rows of all blocks before a block, with times from 0 to 1 again."""
    for number, part in enumerate(read_parts(source)):
        times = part[FOLD_KEY].to_numpy()
        is_earlier = number_periods(times, n_blocks) < block
        keys = pa.array(times[is_earlier] * (n_blocks / block))
        rows = part.filter(pa.array(is_earlier)).drop_columns(FOLD_KEY)
        write_part(target, number, rows.append_column(FOLD_KEY, keys))
