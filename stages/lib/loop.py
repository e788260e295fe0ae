"""The training loop: every epoch is one compiled graph that runs Keras's own train step."""

import math
from typing import NamedTuple

import numpy as np

from stages.lib.backend import keras, tf
from stages.lib.stage import UserError


class Rows(NamedTuple):
    """Prepared rows: `x` (rows, width), `y` (rows, outputs), `weight` (rows,), all float32."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray


def fit(
    model: keras.Model,
    train: Rows,
    validation: tuple[np.ndarray, np.ndarray],
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    callbacks: list[keras.callbacks.Callback],
) -> list[dict[str, float]]:
    """Train a compiled model as `model.fit` does, without its work between the steps.

    Each epoch sees all rows once in an order drawn from `seed` and the epoch's number, in batches
    of `batch_size`, the last one as short as it is. Callbacks get the events of the training and
    of its epochs; `model.stop_training` ends it.

    Returns:
        The logs of each epoch: `loss`, the compiled metrics, and the same with `val_` where there
        are validation rows.

    Raises:
        UserError: a loss is not finite; the message names the epoch.
    """
    rows = len(train.x)
    batch_size = min(batch_size, rows)
    whole_batches = rows // batch_size
    x, y, weight = map(tf.constant, train)
    held_out = [tf.constant(array) for array in validation]

    def step(chosen: tf.Tensor) -> None:
        model.train_step((tf.gather(x, chosen), tf.gather(y, chosen), tf.gather(weight, chosen)))

    @tf.function(jit_compile=True)
    def epoch(order: tf.Tensor) -> dict[str, tf.Tensor]:
        model.reset_metrics()
        for number in tf.range(whole_batches):
            step(tf.slice(order, [number * batch_size], [batch_size]))
        if rows % batch_size:
            step(order[whole_batches * batch_size :])
        logs = model.get_metrics_result()
        if len(validation[0]):
            model.reset_metrics()
            scores = model.test_step(held_out)
            logs |= {f"val_{name}": score for name, score in scores.items()}
        return logs

    # Variables of the optimizer and the metrics have to exist before the graph is traced.
    model.optimizer.build(model.trainable_variables)
    model.test_step((x[:1], y[:1], weight[:1]))

    history: list[dict[str, float]] = []
    model.stop_training = False
    events = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs)
    events.on_train_begin()
    for number in range(epochs):
        events.on_epoch_begin(number)
        order = np.random.default_rng([seed, number]).permutation(rows).astype(np.int32)
        logs = {name: float(value) for name, value in epoch(tf.constant(order)).items()}
        if not all(map(math.isfinite, logs.values())):
            found = ", ".join(f"{name} {value}" for name, value in logs.items())
            raise UserError(
                f"training left the finite numbers in epoch {number + 1}: {found}; try a smaller "
                "train.learning_rate, train.normalization: standard, or another train.activation"
            )
        history.append(logs)
        events.on_epoch_end(number, logs)
        if model.stop_training:
            break
    events.on_train_end(history[-1])
    return history
