"""The trainer does what Keras's `fit` does, part by part, and goes on where it was killed."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tabular.errors import UserError
from tabular.model import network
from tabular.model.backend import keras, tf
from tabular.model.checkpoint import Checkpoint
from tabular.model.dataset import sample_weights
from tabular.model.trainer import Rows, Trainer, variables
from tabular.params.train import Resolved
from tests.helpers import schema_of, train_params

X = np.random.default_rng(0).normal(size=(103, 5)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)


def part(rows: slice = slice(None), weight: np.ndarray | None = None) -> Rows:
    x, y = X[rows], Y[rows]
    weight = np.ones(len(x), np.float32) if weight is None else weight
    return Rows(*map(tf.constant, (x, y, weight)))


def plain(task: str = "binary", **changes: Any) -> Resolved:
    """The parameters of a network of few units; keys of the network or of the section."""
    of_section = {key: changes.pop(key) for key in [*changes] if key in Resolved.model_fields}
    keys = {"units": (4,), "batch_size": 8} | changes
    return train_params({"plain": keys}, **of_section).resolved(len(X), task)


def networks(train: Resolved, task: str = "binary") -> tuple[keras.Model, keras.Model]:
    """A network, and the compiled model that trains its weights."""
    of, schema = train.networks["plain"], schema_of(task)
    before = network.features(network.Columns(X, 0, X.shape[1]), of)
    keras.utils.set_random_seed(3)
    read = [keras.Input(tensor.shape[1:]) for tensor in before.outputs]
    model = keras.Model(read, network.build(read, of, schema))
    return model, network.trainable(model, before, of, train, schema, steps=100)


def trainable(**changes: Any) -> keras.Model:
    return networks(plain(**{"dropout": 0.3} | changes))[1]


def state(model: keras.Model) -> list[bytes]:
    return [np.asarray(variable).tobytes() for variable in variables(model)]


class Lazy:
    """Parts that are made when they are asked for."""

    def __init__(self, *cuts: slice) -> None:
        self.cuts = cuts
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.cuts)

    def __getitem__(self, index: int) -> Rows:
        self.asked.append(index)
        return part(self.cuts[index])


def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trainer take the rows in their order, as `fit(shuffle=False)` does."""

    class Unshuffled:
        def permutation(self, rows: np.ndarray) -> np.ndarray:
            return rows

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Unshuffled())


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adafactor"])
def test_one_epoch_gives_the_weights_of_fit(
    optimizer: str, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With L2, class weights and a short last batch; 103 rows in batches of 8."""
    in_order(monkeypatch)
    train = plain(
        optimizer=optimizer, learning_rate=0.01, l2=0.01, class_weight={0: 1, 1: 3}, exact=exact
    )
    ours, whole = networks(train)
    theirs, _ = networks(train)
    theirs.compile(
        network.optimizer(train.networks["plain"], steps=100),
        loss="binary_crossentropy",
        metrics=["accuracy"],
    )
    rows = part(weight=sample_weights(Y, None, train, schema_of("binary")))
    history = Trainer(whole, 8).fit(whole, [rows], [rows], epochs=1, seed=0, callbacks=[])
    network.take_weights(ours, whole)
    fitted = theirs.fit(
        *(X, Y), shuffle=False, class_weight=train.class_weight, verbose=0,
        validation_data=(X, Y), batch_size=8, epochs=1,
    )  # fmt: skip
    for weight, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)
    for name, (value,) in fitted.history.items():
        assert history[0][name] == pytest.approx(value, abs=1e-5)


def test_early_stopping_restores_the_best_weights() -> None:
    model = trainable(learning_rate=0.1, dropout=0.0)
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    rows, validation = part(slice(0, 20)), part(slice(20, None))
    history = Trainer(model, 8).fit(
        model, [rows], [validation], epochs=100, seed=0, callbacks=[stop]
    )
    best = min(logs["val_loss"] for logs in history)
    assert len(history) < 100
    assert history[-4]["val_loss"] == best
    assert model.evaluate(X[20:], Y[20:], verbose=0)[0] == pytest.approx(best, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_its_epoch() -> None:
    model = trainable(learning_rate=1e30, optimizer="sgd", activation="linear")
    with pytest.raises(UserError, match=r"epoch 1.*learning_rate"):
        Trainer(model, 8).fit(model, [part(slice(0, 16))], [], epochs=3, seed=0, callbacks=[])


def test_balanced_class_weights_give_each_class_the_same_sum() -> None:
    weights = sample_weights(Y, None, plain(class_weight="balanced"), schema_of("binary"))
    assert weights[Y[:, 0] == 1].sum() == pytest.approx(weights[Y[:, 0] == 0].sum(), rel=1e-5)
    assert weights.sum() == pytest.approx(len(Y), rel=1e-5)


def test_a_table_of_one_part_is_the_same_bytes_as_arrays_in_memory() -> None:
    states, trainer = [], Trainer(trainable(), 8)
    for rows in ([part()], Lazy(slice(None))):
        model = trainable()
        trainer.fit(model, rows, [part()], epochs=3, seed=1, callbacks=[])
        states.append(state(model))
    assert states[0] == states[1]


def test_parts_come_in_another_order_each_epoch_and_every_row_counts() -> None:
    cuts = [slice(0, 20), slice(20, 40), slice(40, 60)]
    runs, trainer = [], Trainer(trainable(), 8)
    for _ in range(2):
        parts, model = Lazy(*cuts), trainable()
        history = trainer.fit(model, parts, [], epochs=6, seed=1, callbacks=[])
        runs.append((parts.asked, history, state(model)))
        assert int(model.optimizer.iterations) == 6 * (3 + 3 + 3)
    assert runs[0] == runs[1]
    epochs = [tuple(runs[0][0][i : i + 3]) for i in range(0, 18, 3)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_parts_of_equal_size_share_a_graph_and_score_like_one() -> None:
    model = trainable(dropout=0.0)
    trainer = Trainer(model, 8)
    cut = [part(slice(i, i + 25)) for i in (0, 25, 50, 75)] + [part(slice(100, 103))]
    (scores,) = trainer.fit(model, cut, cut, epochs=1, seed=1, callbacks=[])
    assert len(trainer._full._traced) == len(trainer._test._traced) == 2
    assert scores.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    expected = model.evaluate(X, Y, verbose=0)
    assert [scores["val_loss"], scores["val_accuracy"]] == pytest.approx(expected, rel=1e-5)
    predicted = np.concatenate(trainer.predict(model, cut))
    np.testing.assert_allclose(predicted, model.predict(X, verbose=0), atol=1e-6)


def test_the_validation_rows_do_not_touch_what_training_counts() -> None:
    """They are scored for the first time while the steps of the training are compiled."""
    many = Rows(*(tf.repeat(values, 2000, axis=0) for values in part()[:3]))
    trainer = Trainer(trainable(), 8)
    validated, alone = (
        trainer.fit(trainable(), [part()], rows, epochs=2, seed=1, callbacks=[])
        for rows in ([many], [])
    )
    assert [logs["loss"] for logs in alone] == [logs["loss"] for logs in validated]


def test_models_that_train_at_the_same_time_are_what_each_is_alone() -> None:
    """They share graphs and nothing else: weights, dropout, optimizer, metrics are their own."""
    rows, validation = part(slice(0, 56)), part(slice(56, 103))

    def fit(trainer: Trainer, model: keras.Model, seed: int) -> tuple[Any, list[bytes]]:
        history = trainer.fit(model, [rows], [validation], epochs=40, seed=seed, callbacks=[])
        return history, state(model)

    rates = (0.01, 0.02, 0.03)
    alone = [
        fit(Trainer(trainable(), 8), trainable(learning_rate=rate), seed)
        for seed, rate in enumerate(rates)
    ]
    shared, models = Trainer(trainable(), 8), [trainable(learning_rate=rate) for rate in rates]
    with ThreadPoolExecutor(3) as workers:
        together = list(workers.map(partial(fit, shared), models, range(3)))
    assert together == alone
    assert len({str(history) for history, _ in alone}) == 3


class Killed(BaseException):
    """Like SIGKILL: nothing between the epoch and the end of the process handles it."""


class KillAt(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if epoch == self._epoch:
            raise Killed


def test_a_killed_training_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three kills; with dropout, Adam and early stopping that restores the best weights."""
    monkeypatch.setattr("tabular.model.checkpoint.SECONDS", 0.0)
    trainer = Trainer(trainable(), 8)  # compiled once, for all of them

    def fit(kill: int | None, name: str = "a", rate: float = 0.05) -> tuple[Any, list[bytes]]:
        model = trainable(learning_rate=rate)
        stop = keras.callbacks.EarlyStopping(patience=12, restore_best_weights=True)
        history = trainer.fit(
            *(model, [part(slice(0, 56))], [part(slice(56, 103))]),
            epochs=60,
            seed=1,
            callbacks=[stop] if kill is None else [stop, KillAt(kill)],
            checkpoint=Checkpoint(tmp_path / f"{name}.npz", f"{rate}"),
        )
        return history, state(model)

    expected = fit(None, name="never killed")
    last = len(expected[0]) - 1
    assert 10 < last < 59
    for epoch in sorted(int(n) for n in np.random.default_rng().choice(last, 3, replace=False)):
        with pytest.raises(Killed):
            fit(epoch)
    assert fit(None) == expected
    assert fit(None)[0] == expected[0]  # it has ended: nothing is trained again
    assert len(fit(None, rate=0.04)[0]) > 0
    assert fit(None, rate=0.04)[1] != expected[1]
    (tmp_path / "a.npz").write_bytes(b"PK broken")
    assert fit(None) == expected
