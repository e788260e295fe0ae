"""Cross-validation by forward chaining: models of earlier rows predict the later ones."""

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train
from keras_tabular.core.errors import UserError
from keras_tabular.model_file.saved_model import SavedModel
from keras_tabular.networks.backend import keras
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.parquet import FOLD_KEY, read_parts, write_part
from keras_tabular.training.architecture import Build
from keras_tabular.training.ensemble import build_model, weigh_snapshots
from keras_tabular.training.fit import fit
from keras_tabular.training.out_of_fold import FoldPredictions
from keras_tabular.training.setup import Setup


def predict_later_blocks(
    folder: Path, schema: Schema, train: Train, build: Build, scratch: Path
) -> FoldPredictions:
    """Predict training rows with models that have learnt only from earlier rows.

    The rows are divided by their times into blocks from 0 to `train.forward_chaining` with equal
    numbers of rows, as in scikit-learn's `TimeSeriesSplit`. For each block except for the first, a
    model is trained from scratch on the rows of all earlier blocks.

    Args:
        folder: Folder of the training rows, of a split by time.
        schema: The table.
        train: The parameters.
        build: Builds the layers of a network.
        scratch: Folder for temporary files, which all workers can read.

    Returns:
        The predictions, NaN in block 0; the fold of a row is its block minus 1.

    Raises:
        UserError: The rows before a block have too few different times for the folds.
    """
    n_blocks = train.forward_chaining + 1

    def row_blocks(rows: pa.Table) -> np.ndarray:
        return np.minimum(rows[FOLD_KEY].to_numpy() * n_blocks, n_blocks - 1).astype(np.int32)

    blocks = np.concatenate([row_blocks(rows) for rows in read_parts(folder, [FOLD_KEY])])
    oof = np.full((len(blocks), schema.learning_task.n_outputs), np.nan, np.float32)
    for number in range(1, n_blocks):
        with TemporaryDirectory(dir=scratch) as earlier:
            for part, rows in enumerate(read_parts(folder)):
                rows = rows.filter(pa.array(row_blocks(rows) < number))
                keys = pa.array(rows[FOLD_KEY].to_numpy() * (n_blocks / number))  # again up to 1
                rows = rows.drop_columns(FOLD_KEY).append_column(FOLD_KEY, keys)
                write_part(Path(earlier), part, rows)
            model = _train(Path(earlier), schema, train, build)
        later = (rows.filter(pa.array(row_blocks(rows) == number)) for rows in read_parts(folder))
        predictions = [model.predict(feature_arrays(rows, schema)) for rows in later]
        oof[blocks == number] = np.concatenate(predictions)
    return FoldPredictions(oof, blocks - 1)


def _train(folder: Path, schema: Schema, train: Train, build: Build) -> SavedModel:
    """Train a model on the rows in a folder."""
    keras.utils.clear_session()
    gc.collect()
    try:
        setup = Setup([folder], schema, train, build)
    except UserError as error:
        raise UserError(f"train.forward_chaining is too high: {error}") from None
    snapshots = list(fit(setup, show_progress=True))
    return build_model(setup, snapshots, weigh_snapshots(setup, snapshots))
