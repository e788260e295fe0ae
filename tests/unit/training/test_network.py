"""What the layers of a network start with, and whether they fit into memory."""

import numpy as np
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.networks.network import LEAST_SCALE, ColumnSample, relevance
from keras_tabular.training.architecture import check_memory
from tests.helpers import load_train_params

RNG = np.random.default_rng(1)


def test_columns_of_noise_start_with_less_than_those_that_tell_the_target() -> None:
    noise, y = RNG.normal(size=(500, 300)), RNG.normal(size=(500, 2))
    told = y + 0.5 * RNG.normal(size=(500, 2))
    found = relevance(np.column_stack([told, noise, np.ones(500)]), y)
    assert (found[:2] == 1).all()
    assert np.mean(found[2:-1]) < 0.25
    assert found[-1] == LEAST_SCALE
    assert found.dtype == np.float32


def test_the_relevance_of_columns_has_the_same_bits_in_any_order_of_rows() -> None:
    x, y = RNG.normal(size=(5000, 7)), RNG.normal(size=(5000, 1))
    order = RNG.permutation(5000)
    np.testing.assert_array_equal(relevance(x, y), relevance(x[order], y[order]))


def test_a_network_that_does_not_fit_into_memory_is_named_with_its_units() -> None:
    units = [200_000, 200_000]
    train = load_train_params({"plain": {"units": units}}).resolve_auto(500, "binary", 8)
    message = r"networks\.plain\.units is \[200000, 200000\]: .* GB of memory, .* Lower the units"
    with pytest.raises(UserError, match=message):
        check_memory(train, train.members[0], ColumnSample(np.zeros((1, 8)), 8), 1)
