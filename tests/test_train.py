"""Training is Keras's own mathematics; the preparation is in the model; the file repeats."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stages.lib import loop, network, preparation
from stages.lib.backend import keras, tf
from stages.lib.model_file import read_model, write_model
from stages.lib.params import Column, Data, Train, load_params
from stages.lib.stage import UserError
from stages.lib.table import feature_arrays
from stages.lib.training import sample_weights
from tests.conftest import PROJECT

TRAIN = load_params(PROJECT / "params.yaml").train
DATA = Data(
    source="t.csv",
    task="binary",
    target="y",
    positive=1,
    columns={
        "a": Column(kind="real", missing_values=(0, -1), nullable=True),
        "b": Column(kind="integer"),
        "y": Column(kind="integer", values=(0, 1)),
    },
)
TABLE = pa.table({"a": [1.0, 0.0, 3.0, 8.0, None], "b": [0, 1, 2, 3, 4], "y": [0, 1, 0, 1, 0]})
RNG = np.random.default_rng(0)
X = RNG.normal(size=(103, 5)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)


def changed(**changes: Any) -> Train:
    return TRAIN.model_copy(update=changes)


def compiled(train: Train, *, one_vector: bool = True) -> keras.Model:
    stack = network.layers(train, DATA)
    return network.compiled(stack, X.shape[1], train, DATA, one_vector=one_vector)


def block(x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> loop.Rows:
    weight = np.ones(len(x), np.float32) if weight is None else weight
    return loop.Rows(*map(tf.constant, (x, y, weight)))


def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the loop take the rows in their order, as `fit(shuffle=False)` does."""

    class Unshuffled:
        def permutation(self, rows: np.ndarray) -> np.ndarray:
            return rows

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Unshuffled())


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_one_epoch_gives_the_weights_of_fit(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With L2, class weights and a short last batch; 103 rows in batches of 8."""
    in_order(monkeypatch)
    train = changed(optimizer=optimizer, learning_rate=0.01, l2=0.01, class_weight={0: 1, 1: 3})

    def model(*, one_vector: bool) -> keras.Model:
        keras.utils.set_random_seed(3)
        return compiled(train, one_vector=one_vector)

    ours, theirs = model(one_vector=True), model(one_vector=False)
    training = loop.Loop(ours, 8)
    rows = block(X, Y, sample_weights(Y, train, DATA))
    history = training.fit([rows], [rows], epochs=1, seed=0, callbacks=[])
    fitted = theirs.fit(
        *(X, Y), shuffle=False, class_weight=train.class_weight, verbose=0,
        validation_data=(X, Y), batch_size=8, epochs=1,
    )  # fmt: skip
    for weight, expected in zip(network.weights(ours), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)
    for name, (value,) in fitted.history.items():
        assert history[0][name] == pytest.approx(value, abs=1e-5)


def test_early_stopping_restores_the_best_weights() -> None:
    train = changed(learning_rate=0.1)
    model = compiled(train)
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    training = loop.Loop(model, 8)
    rows, validation = block(X[:20], Y[:20]), block(X[20:], Y[20:])
    history = training.fit([rows], [validation], epochs=100, seed=0, callbacks=[stop])
    best = min(logs["val_loss"] for logs in history)
    assert len(history) < 100
    assert history[-4]["val_loss"] == best
    assert model.evaluate(X[20:], Y[20:], verbose=0)[0] == pytest.approx(best, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_its_epoch() -> None:
    train = changed(learning_rate=1e30, optimizer="sgd", activation="linear")
    training = loop.Loop(compiled(train), 8)
    with pytest.raises(UserError, match=r"epoch 1.*train\.learning_rate"):
        training.fit([block(X, Y)], [block(X, Y)], epochs=3, seed=0, callbacks=[])


def test_balanced_class_weights_give_each_class_the_same_sum() -> None:
    weights = sample_weights(Y, changed(class_weight="balanced"), DATA)
    assert weights[Y[:, 0] == 1].sum() == pytest.approx(weights[Y[:, 0] == 0].sum(), rel=1e-5)
    assert weights.sum() == pytest.approx(len(Y), rel=1e-5)


def prepared(train: Train, part: pa.Table = TABLE) -> np.ndarray:
    """The rows of a part, prepared with what was learnt from the table."""
    statistics = preparation.learn(lambda: [TABLE[:2], TABLE[2:]], DATA, train)
    model = keras.Model(*preparation.prepare(statistics, DATA, train))
    return np.asarray(model(feature_arrays(part, DATA)))


def test_missing_values_become_the_mean_and_the_network_is_told() -> None:
    train = changed(imputation="mean", normalization="standard", missing_indicators=True)
    a = np.array([1, 4, 3, 8, 4]) - 4
    b = np.arange(5) - 2
    expected = np.column_stack([a / np.sqrt(26 / 3), b / np.sqrt(2), [0, 1, 0, 0, 1]])
    np.testing.assert_allclose(prepared(train), expected, atol=1e-6)
    unseen = pa.table({"a": [-1.0], "b": [2], "y": [0]})
    np.testing.assert_allclose(prepared(train, unseen), [[0, 0, 1]], atol=1e-6)


def test_median_and_min_max() -> None:
    train = changed(imputation="median", normalization="min_max", missing_indicators=False)
    expected = np.column_stack([np.array([0, 2, 2, 7, 2]) / 7, np.arange(5) / 4])
    np.testing.assert_allclose(prepared(train), expected, atol=1e-6)


def test_raw_columns_stay_as_they_are_and_refuse_gaps() -> None:
    train = changed(imputation="none", normalization="none", missing_indicators=False)
    with pytest.raises(UserError, match=r"column a has empty cells.*train\.imputation"):
        prepared(train)
    statistics = preparation.learn(lambda: [TABLE[:4]], DATA, train)
    model = keras.Model(*preparation.prepare(statistics, DATA, train))
    raw = np.asarray(model(feature_arrays(TABLE[:4], DATA)))
    np.testing.assert_array_equal(raw, [[1, 0], [0, 1], [3, 2], [8, 3]])


def saved(folder: Path, write: Callable[[keras.Model, Path], None]) -> bytes:
    keras.utils.clear_session()  # names count from 1 again, as in a process of its own
    keras.utils.set_random_seed(1)
    layer = keras.layers.Dense(2, name="d", kernel_regularizer=keras.regularizers.L2(0.1))
    write(keras.Sequential([keras.Input((3,)), layer], name="m"), folder / "m.keras")
    return (folder / "m.keras").read_bytes()


def test_the_same_model_is_the_same_file_and_plain_keras_reads_it(tmp_path: Path) -> None:
    first = saved(tmp_path, partial(write_model, data=DATA))
    kept = keras.models.load_model(tmp_path / "m.keras")  # so that addresses differ
    assert saved(tmp_path, partial(write_model, data=DATA)) == first
    weights = read_model(tmp_path / "m.keras").get_weights()
    np.testing.assert_array_equal(weights[0], kept.get_weights()[0])


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_text("no model")
    with pytest.raises(UserError, match="not a model"):
        read_model(tmp_path / "m.keras")
    with pytest.raises(UserError, match="no model here"):
        read_model(tmp_path / "n.keras")
