"""The trainer does what Keras's `fit` does, part by part, and goes on where it was killed."""

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
from tabular.params.train import Train
from tests.helpers import schema_of, train_params

X = np.random.default_rng(0).normal(size=(103, 5)).astype(np.float32)
Y = (X.sum(axis=1, keepdims=True) > 0).astype(np.float32)


def part(rows: slice = slice(None), weight: np.ndarray | None = None) -> Rows:
    x, y = X[rows], Y[rows]
    weight = np.ones(len(x), np.float32) if weight is None else weight
    return Rows(*map(tf.constant, (x, y, weight)))


def changed(**changes: Any) -> Train:
    return train_params(**{"units": (4,), "batch_size": 8} | changes)


def model_of(train: Train, *, flat: bool = True, task: str = "binary") -> keras.Model:
    schema = schema_of(task)
    keras.utils.set_random_seed(3)
    return network.compiled(network.layers(train, schema), X.shape[1], train, schema, flat=flat)


def new_trainer(task: str = "binary", **changes: Any) -> Trainer:
    train = changed(**{"dropout": 0.3} | changes)
    return Trainer(model_of(train, task=task), train.batch_size)


def restart(trainer: Trainer, **changes: Any) -> Trainer:
    """The trainer as a new one would be, but for its graphs, which take long to compile."""
    trainer._build()
    trainer.assign(new_trainer(**changes).model)
    return trainer


def state(trainer: Trainer) -> list[bytes]:
    return [np.asarray(variable).tobytes() for variable in variables(trainer.model)]


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


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_one_epoch_gives_the_weights_of_fit(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With L2, class weights and a short last batch; 103 rows in batches of 8."""
    in_order(monkeypatch)
    train = changed(optimizer=optimizer, learning_rate=0.01, l2=0.01, class_weight={0: 1, 1: 3})
    ours, theirs = model_of(train, flat=True), model_of(train, flat=False)
    rows = part(weight=sample_weights(Y, train, schema_of("binary")))
    history = Trainer(ours, 8).fit([rows], [rows], epochs=1, seed=0, callbacks=[])
    fitted = theirs.fit(
        *(X, Y), shuffle=False, class_weight=train.class_weight, verbose=0,
        validation_data=(X, Y), batch_size=8, epochs=1,
    )  # fmt: skip
    for weight, expected in zip(network.weights(ours), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=0, atol=1e-6)
    for name, (value,) in fitted.history.items():
        assert history[0][name] == pytest.approx(value, abs=1e-5)


def test_early_stopping_restores_the_best_weights() -> None:
    model = model_of(changed(learning_rate=0.1))
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    rows, validation = part(slice(0, 20)), part(slice(20, None))
    history = Trainer(model, 8).fit([rows], [validation], epochs=100, seed=0, callbacks=[stop])
    best = min(logs["val_loss"] for logs in history)
    assert len(history) < 100
    assert history[-4]["val_loss"] == best
    assert model.evaluate(X[20:], Y[20:], verbose=0)[0] == pytest.approx(best, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_its_epoch() -> None:
    trainer = new_trainer(learning_rate=1e30, optimizer="sgd", activation="linear")
    with pytest.raises(UserError, match=r"epoch 1.*train\.learning_rate"):
        trainer.fit([part(slice(0, 16))], [], epochs=3, seed=0, callbacks=[])


def test_balanced_class_weights_give_each_class_the_same_sum() -> None:
    weights = sample_weights(Y, changed(class_weight="balanced"), schema_of("binary"))
    assert weights[Y[:, 0] == 1].sum() == pytest.approx(weights[Y[:, 0] == 0].sum(), rel=1e-5)
    assert weights.sum() == pytest.approx(len(Y), rel=1e-5)


def test_a_table_of_one_part_is_the_same_bytes_as_arrays_in_memory() -> None:
    states, trainer = [], new_trainer()
    for rows in ([part()], Lazy(slice(None))):
        restart(trainer).fit(rows, [part()], epochs=3, seed=1, callbacks=[])
        states.append(state(trainer))
    assert states[0] == states[1]


def test_parts_come_in_another_order_each_epoch_and_every_row_counts() -> None:
    cuts = [slice(0, 20), slice(20, 40), slice(40, 60)]
    runs, trainer = [], new_trainer()
    for _ in range(2):
        parts = Lazy(*cuts)
        history = restart(trainer).fit(parts, [], epochs=6, seed=1, callbacks=[])
        runs.append((parts.asked, history, state(trainer)))
        iterations = int(trainer.model.optimizer.iterations)
        assert iterations == 6 * (3 + 3 + 3)
    assert runs[0] == runs[1]
    epochs = [tuple(runs[0][0][i : i + 3]) for i in range(0, 18, 3)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len(set(epochs)) > 1


def test_parts_of_equal_size_share_a_graph_and_score_like_one() -> None:
    trainer = new_trainer(dropout=0.0)
    cut = [part(slice(i, i + 25)) for i in (0, 25, 50, 75)] + [part(slice(100, 103))]
    (scores,) = trainer.fit(cut, cut, epochs=1, seed=1, callbacks=[])
    assert len(trainer._full._traced) == len(trainer._test._traced) == 2
    assert scores.keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    expected = trainer.model.evaluate(X, Y, verbose=0)
    assert [scores["val_loss"], scores["val_accuracy"]] == pytest.approx(expected, rel=1e-5)


def test_the_validation_rows_do_not_touch_what_training_counts() -> None:
    """They are scored for the first time while the steps of the training are compiled."""
    many = Rows(*(tf.repeat(values, 2000, axis=0) for values in part()[:3]))
    trainer = new_trainer(dropout=0.0)
    validated, alone = (
        restart(trainer, dropout=0.0).fit([part()], rows, epochs=2, seed=1, callbacks=[])
        for rows in ([many], [])
    )
    assert [logs["loss"] for logs in alone] == [logs["loss"] for logs in validated]


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
    trainer = new_trainer()  # compiled once, for all of them

    def fit(kill: int | None, name: str = "a", rate: float = 0.05) -> tuple[Any, list[bytes]]:
        restart(trainer, learning_rate=rate)
        stop = keras.callbacks.EarlyStopping(patience=12, restore_best_weights=True)
        history = trainer.fit(
            *([part(slice(0, 56))], [part(slice(56, 103))]),
            epochs=60,
            seed=1,
            callbacks=[stop] if kill is None else [stop, KillAt(kill)],
            checkpoint=Checkpoint(tmp_path / f"{name}.npz", f"{rate}"),
        )
        return history, state(trainer)

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
