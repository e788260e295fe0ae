"""The trainer does what Keras's `fit` does, part by part, and goes on where it was killed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tabular.config.sections import Resolved
from tabular.core.errors import UserError
from tabular.model import network
from tabular.model.backend import keras, tf
from tabular.model.training.architecture import Architecture
from tabular.model.training.checkpoint import Checkpoint
from tabular.model.training.dataset import class_weights
from tabular.model.training.setup import multiply_weights
from tabular.model.training.trainer import Rows, Trainer, variables
from tests.helpers import schema_of, train_params

X = np.random.default_rng(0).normal(size=(103, 5)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)
SCHEMA = schema_of("binary")
LEARNT, SCORED = slice(0, 56), slice(56, 103)


def part(rows: slice = slice(None), weight: np.ndarray | None = None) -> Rows:
    weight = np.ones(len(X), np.float32) if weight is None else weight
    x, y, weight = (tf.constant(values[rows]) for values in (X, Y, weight))
    return Rows(x, y, weight, np.arange(len(x), dtype=np.int32))


def plain(**changes: Any) -> Resolved:
    """The parameters of a network of few units; keys of the network or of the section."""
    of_section = {key: changes.pop(key) for key in [*changes] if key in Resolved.model_fields}
    keys = {"units": (4,), "batch_size": 8, "learning_rate_schedule": "constant"} | changes
    return train_params({"plain": keys}, **of_section).resolved(len(X), "binary", 8)


def networks(train: Resolved) -> tuple[keras.Model, keras.Model]:
    """A network, and the compiled model that trains its weights."""
    columns = network.Columns(X, X.shape[1])
    return Architecture(train.members[0], train, SCHEMA, columns, len(X)).untrained(seed=3)


def trainable(**changes: Any) -> keras.Model:
    return networks(plain(**{"dropout": 0.3} | changes))[1]


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    """Its graphs are compiled once, for whatever `trainable` learns from the same rows."""
    return Trainer(trainable(), 8)


def state(model: keras.Model) -> list[bytes]:
    return [np.asarray(variable).tobytes() for variable in variables(model)]


@pytest.mark.parametrize(
    ("optimizer", "exact"),
    [("adam", True), ("adafactor", False), pytest.param("sgd", False, marks=pytest.mark.slow)],
)
def test_one_epoch_gives_the_weights_of_fit(
    optimizer: str, exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With L2, class weights and a short last batch; 103 rows in batches of 8."""
    unshuffled = SimpleNamespace(
        permutation=lambda rows: np.arange(len(rows) if np.ndim(rows) else rows)
    )
    monkeypatch.setattr(np.random, "default_rng", lambda seed: unshuffled)
    train = plain(
        optimizer=optimizer, learning_rate=0.01, l2=0.01, class_weight={0: 1, 1: 3}, exact=exact
    )
    ours, whole = networks(train)
    theirs, _ = networks(train)
    theirs.compile(
        network.optimizer(train.networks["plain"], steps=100),
        loss="binary_crossentropy",
        weighted_metrics=["accuracy"],
        run_eagerly=True,
    )
    weight = np.where(Y[:, 0] == 1, 3, 1).astype(np.float32)
    rows = part(weight=weight)
    history = Trainer(whole, 8).fit(whole, [rows], [rows], epochs=1, seed=0, callbacks=[])
    network.copy_trained_weights(ours, whole)
    keys = {"shuffle": False, "class_weight": train.class_weight, "validation_data": (X, Y, weight)}
    fitted = theirs.fit(X, Y, batch_size=8, epochs=1, verbose=0, **keys)
    for weight, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)
    for name, (value,) in fitted.history.items():
        assert history[0][name] == pytest.approx(value, abs=1e-5)


def test_early_stopping_restores_the_best_weights(trainer: Trainer) -> None:
    """The best weights are those with the least loss of the weighted validation rows."""
    model, weight = trainable(learning_rate=0.1), np.where(Y[:, 0] == 1, 9, 1).astype(np.float32)
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    parts = [part(LEARNT, weight)], [part(SCORED, weight)]
    history = trainer.fit(model, *parts, epochs=100, seed=0, callbacks=[stop])
    best = min(logs["val_loss"] for logs in history)
    assert len(history) < 100
    assert history[-4]["val_loss"] == best
    loss, _ = model.evaluate(X[SCORED], Y[SCORED], sample_weight=weight[SCORED], verbose=0)
    assert loss == pytest.approx(best, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_its_epoch(trainer: Trainer) -> None:
    model = trainable(learning_rate=1e30)
    with pytest.raises(UserError, match=r"epoch 1.*learning_rate"):
        trainer.fit(model, [part(LEARNT)], [part(SCORED)], epochs=3, seed=0, callbacks=[])


def test_balanced_class_weights_give_each_class_the_same_sum() -> None:
    ones = np.ones(len(Y))
    of_classes = class_weights(Y, ones, plain(class_weight="balanced"), SCHEMA)
    weights = multiply_weights(Y, ones, of_classes)
    assert weights[Y[:, 0] == 1].sum() == pytest.approx(weights[Y[:, 0] == 0].sum(), rel=1e-5)
    assert weights.sum() == pytest.approx(len(Y), rel=1e-5)


def test_every_row_of_a_table_in_parts_counts() -> None:
    """The validation rows decide nothing."""
    cuts = [*(slice(start, start + 25) for start in (0, 25, 50, 75)), slice(100, 103)]
    parts, trainer = [part(cut) for cut in cuts], Trainer(trainable(), 8)
    model, other = trainable(), trainable()
    history = trainer.fit(model, parts, parts, epochs=6, seed=1, callbacks=[])
    unscored = trainer.fit(other, parts, [], epochs=6, seed=1, callbacks=[])
    assert state(model) == state(other)
    assert [{name: logs[name] for name in ("loss", "accuracy")} for logs in history] == unscored
    assert int(model.optimizer.iterations) == 6 * (4 * 4 + 1)
    scores = [history[-1]["val_loss"], history[-1]["val_accuracy"]]
    assert scores == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)
    predicted = np.concatenate(trainer.predict(model, parts))
    np.testing.assert_allclose(predicted, model.predict(X, verbose=0), atol=1e-6)


class Killed(BaseException):
    """Like SIGKILL: nothing between the epoch and the end of the process handles it."""


def test_a_killed_training_goes_on_to_the_same_bytes(
    trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three kills; with dropout, Adam and early stopping that restores the best weights."""
    monkeypatch.setattr("tabular.model.training.checkpoint.SECONDS", 0.0)
    begun: list[int] = []

    def fit(name: str, kill: int | None = None, key: str = "a") -> tuple[Any, list[bytes]]:
        def end(epoch: int, _: dict[str, float]) -> None:
            if epoch == kill:
                raise Killed

        model = trainable(learning_rate=0.05)
        events = keras.callbacks.LambdaCallback(lambda n, _: begun.append(n), on_epoch_end=end)
        stop = keras.callbacks.EarlyStopping(patience=12, restore_best_weights=True)
        keys: dict[str, Any] = {"epochs": 60, "seed": 1, "callbacks": [stop, events]}
        checkpoint = Checkpoint(tmp_path / name, key)
        parts = [part(LEARNT)], [part(SCORED)]
        return trainer.fit(model, *parts, **keys, checkpoint=checkpoint), state(model)

    expected = fit("never killed")
    epochs = len(expected[0])
    assert 10 < epochs < 60
    begun.clear()
    for epoch in (3, 7, epochs - 2):
        with pytest.raises(Killed):
            fit("killed", epoch)
    for _ in range(2):  # when it has ended, nothing is trained again
        assert fit("killed") == expected
        assert begun == sorted([*range(epochs), 3, 7, epochs - 2])  # those that were killed
    fit("killed", key="of another training")
    assert len(begun) == 2 * epochs + 3
