"""Networks of one architecture are saved as one, which predicts what each of them does."""

from collections.abc import Callable

import numpy as np
import pytest

from keras_tabular.networks.backend import keras
from keras_tabular.networks.stacking import is_stackable, stack

layers = keras.layers


def of_layers() -> keras.Model:
    """Embedded numbers beside other columns, a learnt scale, hidden layers and three outputs."""
    numbers, within, others = keras.Input((4,)), keras.Input((4, 5)), keras.Input((2,))
    embedded = layers.EinsumDense("bc,cu->bcu", (4, 3))(numbers)
    embedded += layers.EinsumDense("bck,cku->bcu", (4, 3), bias_axes="cu")(within)
    x = layers.Concatenate(axis=1)([layers.Flatten()(embedded), others])
    x = layers.EinsumDense("bd,d->bd", x.shape[1:])(x)
    x = layers.Dense(8, "silu", kernel_regularizer="l2")(x)
    x = layers.Dropout(0.5)(layers.Dense(8, use_bias=False)(x))
    x = x * layers.Activation("tanh")(x)
    return keras.Model([numbers, within, others], layers.Dense(3, "softmax")(x))


def test_stacked_networks_answer_what_each_does() -> None:
    rng, model = np.random.default_rng(0), of_layers()
    weights = [[rng.normal(size=w.shape) for w in model.get_weights()] for _ in range(5)]
    stacked = stack(model, weights)
    rows = [rng.normal(size=(7, *i.shape[1:])).astype(np.float32) for i in stacked.inputs]
    found = np.asarray(stacked(rows))
    assert found.shape == (7, 5, 3)
    for member, of_member in enumerate(weights):
        model.set_weights(of_member)
        np.testing.assert_allclose(found[:, member], np.asarray(model(rows)), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Softmax(), True),
        (lambda x: keras.ops.clip(x, -0.1, 0.1), True),
        (lambda x: x[:, ::-1], False),  # it would turn the members around
        (layers.BatchNormalization(), False),
    ],
)
def test_networks_are_stacked_only_if_that_changes_no_prediction(
    layer: Callable[[keras.KerasTensor], keras.KerasTensor], expected: bool
) -> None:
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(1)(layer(layers.Dense(4)(inputs))))
    untrained = model.get_weights()
    assert is_stackable(model) is expected
    for before, after in zip(untrained, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
