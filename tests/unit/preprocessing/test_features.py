"""A learnt scale starts at the relevance of each column, and learning rates follow a schedule.

Layers that plain Keras cannot load are refused before the training.
"""

import numpy as np
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.networks.backend import keras
from keras_tabular.preprocessing.features import LEAST_SCALE, relevance
from keras_tabular.training.architecture import check_safe_mode
from keras_tabular.training.optimizer import build_optimizer
from tests.helpers import BINARY, load_train_params

RNG = np.random.default_rng(1)


def test_columns_of_noise_start_with_a_lower_scale_than_columns_that_explain_the_target() -> None:
    noise, y = RNG.normal(size=(500, 300)), RNG.normal(size=(500, 2))
    informative = y + 0.5 * RNG.normal(size=(500, 2))
    scales = relevance(np.column_stack([informative, noise, np.ones(500)]), y)
    assert (scales[:2] == 1).all()
    assert np.mean(scales[2:-1]) < 0.25
    assert scales[-1] == LEAST_SCALE


def test_the_relevance_of_columns_has_the_same_bits_in_any_order_of_rows() -> None:
    x, y = RNG.normal(size=(5000, 7)), RNG.normal(size=(5000, 1))
    order = RNG.permutation(5000)
    np.testing.assert_array_equal(relevance(x, y), relevance(x[order], y[order]))


@pytest.mark.parametrize(("schedule", "cycles"), [("cosine", 0), ("cosine_restarts", 4)])
def test_a_learning_rate_may_follow_a_schedule(schedule: str, cycles: int) -> None:
    rate, steps = 0.5, 450
    network = {"learning_rate": rate, "learning_rate_schedule": schedule}
    train = load_train_params({"plain": network}).resolve_auto(100, BINARY, 8)
    optimizer = build_optimizer(train.networks["plain"], steps)
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert max(rates) == pytest.approx(rate, rel=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    neighbours = zip(rates, rates[1:], rates[2:], strict=False)
    assert sum(before < rate > after for before, rate, after in neighbours) == cycles


class Twice(keras.layers.Layer):
    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return 2 * x


@keras.saving.register_keras_serializable()
class RegisteredTwice(Twice):
    """A class that Keras finds in the process that trains, but nowhere else."""


@pytest.mark.parametrize(
    "layer", [keras.layers.Lambda(lambda x: 2 * x), Twice(), RegisteredTwice()], ids=repr
)
def test_a_layer_that_keras_cannot_load_is_refused(layer: keras.layers.Layer) -> None:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    where = r"^network\.py: Keras cannot load the network plain in safe mode: .*"
    with pytest.raises(UserError, match=where + type(layer).__name__):
        check_safe_mode(network, "plain")
    check_safe_mode(keras.Model(inputs, keras.layers.Dense(1)(inputs)), "plain")
    assert "Custom>RegisteredTwice" in keras.saving.get_custom_objects()
