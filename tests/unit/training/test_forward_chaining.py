"""Forward chaining predicts later rows with models that have learnt only from earlier rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.table.parquet import FOLD_KEY, write_part
from keras_tabular.training.forward_chaining import predict_later_blocks
from network import build
from tests.helpers import build_arrow_schema, build_schema, load_train_params

SCHEMA = build_schema("regression")
TRAIN = load_train_params(
    {"plain": {"epochs": 3, "units": [4], "learning_rate_schedule": "constant"}},
    folds=2,
    forward_chaining=2,
)


def write_rows(folder: Path, times: np.ndarray, y: np.ndarray) -> None:
    """Write rows to two parts of the same size, for each of which a graph is compiled."""
    for number in range(2):
        rows = np.random.default_rng(0).permutation(np.arange(number, len(y), 2))
        x = np.sin(np.arange(len(y)))[rows]
        part = pa.table({"x": x, "y": y[rows]}, schema=build_arrow_schema(SCHEMA))
        write_part(folder, number, part.append_column(FOLD_KEY, pa.array(times[rows])))


def test_later_rows_do_not_change_a_prediction(tmp_path: Path) -> None:
    times, y = np.arange(96) / 96, np.cos(np.arange(96.0))
    changed = np.where(times < 2 / 3, y, y + 100)
    for name, values in (("before", y), ("after", changed)):
        write_rows(tmp_path / name, times, values)
    predictions, block = predict_later_blocks(tmp_path / "before", SCHEMA, TRAIN, build, tmp_path)
    other_predictions, _ = predict_later_blocks(tmp_path / "after", SCHEMA, TRAIN, build, tmp_path)
    assert np.bincount(block + 1).tolist() == [32, 32, 32]
    assert np.isnan(predictions[block < 0]).all()
    assert np.isfinite(predictions[block >= 0]).all()
    # Not even for the last block, whose own targets have changed.
    assert predictions.tobytes() == other_predictions.tobytes()


def test_too_few_different_times_are_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows", np.repeat([0, 0.5], 30), np.arange(60.0))
    with pytest.raises(UserError, match=r"^train\.forward_chaining is too high: train.folds is 2"):
        predict_later_blocks(tmp_path / "rows", SCHEMA, TRAIN, build, tmp_path)
