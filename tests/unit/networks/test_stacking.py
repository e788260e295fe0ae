"""Networks of one architecture are saved as one, which predicts the same as each of them."""

from collections.abc import Callable

import numpy as np
import pytest

from keras_tabular.networks.backend import keras
from keras_tabular.networks.stacking import is_stackable, stack

layers = keras.layers


def build_network() -> keras.Model:
    """Build embedded numbers next to other columns, a learnt scale and hidden layers."""
    numbers, bins, other_columns = keras.Input((4,)), keras.Input((4, 5)), keras.Input((2,))
    embedded = layers.EinsumDense("bc,cu->bcu", (4, 3))(numbers)
    embedded += layers.EinsumDense("bck,cku->bcu", (4, 3), bias_axes="cu")(bins)
    x = layers.Concatenate(axis=1)([layers.Flatten()(embedded), other_columns])
    x = layers.EinsumDense("bd,d->bd", x.shape[1:])(x)
    x = layers.Dense(8, "silu", kernel_regularizer="l2")(x)
    x = layers.Dropout(0.5)(layers.Dense(8, use_bias=False)(x))
    x = x * layers.Activation("tanh")(x)
    return keras.Model([numbers, bins, other_columns], layers.Dense(3, "softmax")(x))


def test_a_stacked_network_predicts_the_same_as_each_member() -> None:
    rng, model = np.random.default_rng(0), build_network()
    weights = [[rng.normal(size=w.shape) for w in model.get_weights()] for _ in range(5)]
    stacked = stack(model, weights)
    rows = [rng.normal(size=(7, *i.shape[1:])).astype(np.float32) for i in stacked.inputs]
    predictions = np.asarray(stacked(rows))
    assert predictions.shape == (7, 5, 3)
    for member, member_weights in enumerate(weights):
        model.set_weights(member_weights)
        np.testing.assert_allclose(predictions[:, member], np.asarray(model(rows)), atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Softmax(), True),
        (lambda x: keras.ops.clip(x, -0.1, 0.1), True),
        (lambda x: x[:, ::-1], False),  # it would reverse the members
        (layers.BatchNormalization(), False),
    ],
)
def test_networks_are_stacked_only_if_that_changes_no_prediction(
    layer: Callable[[keras.KerasTensor], keras.KerasTensor], expected: bool
) -> None:
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(1)(layer(layers.Dense(4)(inputs))))
    assert is_stackable(model) is expected
