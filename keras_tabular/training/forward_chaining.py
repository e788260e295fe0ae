"""Cross-validation by forward chaining: models of earlier rows predict the later ones."""

import gc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train
from keras_tabular.core.errors import UserError
from keras_tabular.model_file.saved_model import predict
from keras_tabular.networks.backend import keras
from keras_tabular.networks.network import Build
from keras_tabular.networks.reproducible import make_reproducible
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.table.parquet import FOLD_KEY, read_parts, write_part
from keras_tabular.training.ensemble import assemble, weigh_snapshots
from keras_tabular.training.fit import fit
from keras_tabular.training.folds import read_fold_keys
from keras_tabular.training.setup import Setup


def predict_later_blocks(
    folder: Path, schema: Schema, train: Train, build: Build, scratch: Path
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Predict training rows with models that have learnt from earlier rows alone.

    The rows are divided by their times into blocks 0 to `train.forward_chaining` with equal numbers
    of rows, as in scikit-learn's `TimeSeriesSplit`. A model is trained from scratch for each block
    but the first.

    Args:
        folder: Folder of the training rows, of a split by time.
        build: Builds the layers of a network.
        scratch: Folder that all workers share.

    Returns:
        The predictions, float32, (rows, outputs), NaN in block 0. For each part, the number of the
        block of each row minus 1, int32, so that rows without a prediction have -1.

    Raises:
        UserError: The rows before a block have too few different times for the folds.
    """
    count = train.forward_chaining + 1
    blocks = [
        np.minimum(keys * count, count - 1).astype(np.int32) for keys in read_fold_keys(folder)
    ]
    outputs = [np.full((len(block), schema.outputs), np.nan, np.float32) for block in blocks]
    for number in range(1, count):
        with TemporaryDirectory(dir=scratch) as earlier:
            for part, (rows, block) in enumerate(zip(read_parts(folder), blocks, strict=True)):
                rows = rows.filter(pa.array(block < number))
                keys = pa.array(rows[FOLD_KEY].to_numpy() * (count / number))
                rows = rows.drop_columns(FOLD_KEY).append_column(FOLD_KEY, keys)
                write_part(Path(earlier), part, rows)
            network = _train(Path(earlier), schema, train, build)
        for rows, block, predictions in zip(read_parts(folder), blocks, outputs, strict=True):
            rows = rows.filter(pa.array(block == number))
            predictions[block == number] = predict(network, feature_arrays(rows, schema))
    return np.concatenate(outputs), [block - 1 for block in blocks]


def _train(folder: Path, schema: Schema, train: Train, build: Build) -> keras.Model:
    """Train a model of the rows in a folder."""
    keras.utils.clear_session()
    gc.collect()
    try:
        setup = Setup(folder, schema, train, build)
    except UserError as error:
        raise UserError(f"train.forward_chaining, set it lower: {error}") from None
    members = list(fit(setup, show_progress=True))
    return make_reproducible(assemble(setup, members, weigh_snapshots(setup, members).weights))
