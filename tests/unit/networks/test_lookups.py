"""A network that trains by lookups has the outputs and the gradients of the plain network.

Its gradients have the same bits in any order of the rows.
"""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from keras_tabular.config.sections import ResolvedNetwork
from keras_tabular.networks import lookups
from keras_tabular.networks.backend import keras, tf
from keras_tabular.networks.lookups import MarkLookups, add_lookups
from keras_tabular.preprocessing.features import ColumnSample, build_features
from network import build
from tests.helpers import REGRESSION, build_schema, load_train_params

layers = keras.layers
N_ROWS, SIZES = 50, (17, 30)
RNG = np.random.default_rng(0)


def make_columns(n_numbers: int, n_indicators: int) -> ColumnSample:
    """Return numbers, indicators, the one-hot columns of two columns, and the column of a text."""
    codes = [RNG.integers(0, size + 1, N_ROWS) for size in SIZES]
    one_hot = [np.eye(size + 1)[code, :size] for size, code in zip(SIZES, codes, strict=True)]
    numbers, indicators = (
        RNG.normal(size=(N_ROWS, n_numbers)),
        RNG.normal(size=(N_ROWS, n_indicators)),
    )
    if n_numbers:
        numbers[:, 0] = numbers[:, 0].round()  # fewer bins than the others
    text = RNG.normal(size=(N_ROWS, 1 if n_indicators else 0))
    values = np.concatenate([numbers, indicators, *one_hot, text], axis=1).astype(np.float32)
    first, second, end = n_numbers + n_indicators + np.cumsum([0, *SIZES])
    return ColumnSample(values, n_numbers, N_ROWS, {"a": (first, second), "b": (second, end)})


def build_with_skip_connection(
    inputs: list[keras.KerasTensor], network: ResolvedNetwork, schema: Any
) -> keras.KerasTensor:
    """Read every input in several ways, also in some that no lookup exists for."""
    flat = layers.Concatenate()([layers.Flatten()(tensor) for tensor in inputs])
    scaled = layers.EinsumDense("bd,d->bd", inputs[-1].shape[1:], name="scale")(inputs[-1])
    hidden = layers.Dense(5, "tanh")(layers.Concatenate()([scaled, inputs[-1]]))
    twice = layers.EinsumDense("bd,d->bd", scaled.shape[1:])(scaled)
    dense = [layers.Dense(5)(x) for x in (scaled, twice, inputs[-1] * 2)]
    both = layers.Add()([*dense, hidden])
    return layers.Dense(1)(layers.Concatenate()([flat, both]))


@pytest.mark.parametrize("build_layers", [build, build_with_skip_connection])
@pytest.mark.parametrize("n_indicators", [3, 0])
@pytest.mark.parametrize("architecture", ["realmlp", "plain", "realmlp without numbers"])
def test_lookups_change_neither_outputs_nor_gradients(
    architecture: str,
    n_indicators: int,
    build_layers: Callable[..., keras.KerasTensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row_sums = Mock(side_effect=lookups.row_sums)
    monkeypatch.setattr(lookups, "row_sums", row_sums)
    columns = make_columns(0 if "without" in architecture else 4, n_indicators)
    train = load_train_params().resolve_auto(N_ROWS, REGRESSION, 6)
    network = train.networks[architecture.split()[0]]
    features = build_features(columns, network)
    inputs = [keras.Input(tensor.shape[1:]) for tensor in features.outputs]
    plain = keras.Model(inputs, build_layers(inputs, network, build_schema("regression")))
    for weight in plain.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    before = columns.n_numbers if len(inputs) > 1 else 0
    mark = MarkLookups([(a - before, b - before) for a, b in columns.categories.values()])
    trained = add_lookups(plain, N_ROWS)

    def gradients(model: keras.Model, values: np.ndarray) -> list[tf.Tensor]:
        weights = [tf.convert_to_tensor(weight) for weight in plain.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with keras.StatelessScope(zip(plain.trainable_weights, weights, strict=True)):
                output = model(mark(features(values)) if model is trained else features(values))
            loss = tf.reduce_sum(tf.square(output))
        return [output, *tape.gradient(loss, weights)]

    ours = gradients(trained, columns.values)
    assert row_sums.call_count == 1
    for ours_of_one, expected in zip(ours, gradients(plain, columns.values), strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours_of_one, expected, rtol=1e-4, atol=1e-5 * scale)
    _, *in_another_order = gradients(trained, columns.values[::-1])
    for gradient, same in zip(ours[1:], in_another_order, strict=True):
        np.testing.assert_array_equal(gradient, same)
