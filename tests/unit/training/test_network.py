"""A learnt scale starts at the relevance of each column, and networks must fit into memory."""

import numpy as np
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.networks.network import LEAST_SCALE, ColumnSample, relevance
from keras_tabular.training.architecture import check_memory
from tests.helpers import load_train_params

RNG = np.random.default_rng(1)


def test_columns_of_noise_start_with_a_lower_scale_than_columns_that_explain_the_target() -> None:
    noise, y = RNG.normal(size=(500, 300)), RNG.normal(size=(500, 2))
    informative = y + 0.5 * RNG.normal(size=(500, 2))
    scales = relevance(np.column_stack([informative, noise, np.ones(500)]), y)
    assert (scales[:2] == 1).all()
    assert np.mean(scales[2:-1]) < 0.25
    assert scales[-1] == LEAST_SCALE
    assert scales.dtype == np.float32


def test_the_relevance_of_columns_has_the_same_bits_in_any_order_of_rows() -> None:
    x, y = RNG.normal(size=(5000, 7)), RNG.normal(size=(5000, 1))
    order = RNG.permutation(5000)
    np.testing.assert_array_equal(relevance(x, y), relevance(x[order], y[order]))


def test_a_network_that_does_not_fit_into_memory_is_refused() -> None:
    params = load_train_params({"plain": {"units": [200_000, 200_000]}})
    train = params.resolve_auto(500, "binary", 8)
    message = r"networks\.plain\.units is \[200000, 200000\]: .* GB of memory, .* Lower the units"
    with pytest.raises(UserError, match=message):
        check_memory(train, train.members[0], ColumnSample(np.zeros((1, 8)), 8), 1)
