"""A learnt scale starts at the relevance of each column."""

import numpy as np

from keras_tabular.networks.network import LEAST_SCALE, relevance

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
