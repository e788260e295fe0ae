"""Matrix products that are exact whatever the order in which a CPU adds."""

import numpy as np
import pytest

from keras_tabular.networks.backend import keras, tf
from keras_tabular.networks.reproducible import (
    MeanLoss,
    prediction_product,
    softmax,
    sum_on_grid,
    training_product,
)

# Shapes of x and kernel.
EQUATIONS = {"bk,kn->bn": ((64, 300), (300, 40)), "bck,cku->bcu": ((64, 7, 300), (7, 300, 8))}


def operands(equation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, kernel and the gradient of their product, float32."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in EQUATIONS[equation])
    upstream = rng.normal(size=np.einsum(equation, x, kernel).shape).astype(np.float32)
    return x, kernel, upstream


def results(
    equation: str, x: np.ndarray, kernel: np.ndarray, upstream: np.ndarray, *, exact: bool = True
) -> list[np.ndarray]:
    """The product and its gradients by x and by kernel."""
    a, b = tf.constant(x), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        y = training_product(equation, a, b, len(x)) if exact else tf.einsum(equation, a, b)
    found = [y, *tape.gradient(y, [a, b], tf.constant(upstream))]
    return [tensor.numpy() for tensor in found]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_a_product_and_its_gradients_are_those_of_float64(equation: str) -> None:
    x, kernel, upstream = operands(equation)
    of_x, of_kernel, of_y = equation.replace("->", ",").split(",")
    a, b, g = (values.astype(np.float64) for values in (x, kernel, upstream))
    expected = [
        np.einsum(equation, a, b),
        np.einsum(f"{of_y},{of_kernel}->{of_x}", g, b),
        np.einsum(f"{of_x},{of_y}->{of_kernel}", a, g),
    ]
    for found, right in zip(results(equation, x, kernel, upstream), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=2e-6 * np.abs(right).max())


@pytest.mark.parametrize("equation", EQUATIONS)
def test_the_order_of_what_is_added_changes_no_bit(equation: str) -> None:
    """Of a plain product it does, or this would show nothing."""
    x, kernel, upstream = operands(equation)
    rng = np.random.default_rng(1)
    terms, rows = rng.permutation(x.shape[-1]), rng.permutation(len(x))
    by_term = (x[..., terms], kernel[..., terms, :], upstream)
    by_row = (x[rows], kernel, upstream[rows])
    for exact in (True, False):
        y, _, by_kernel = results(equation, x, kernel, upstream, exact=exact)
        assert (results(equation, *by_term, exact=exact)[0].tobytes() == y.tobytes()) is exact
        turned = results(equation, *by_row, exact=exact)[2]
        assert (turned.tobytes() == by_kernel.tobytes()) is exact


# Of stacked networks the axis m is that of the members.
OF_MEMBERS = {
    "bk,mkn->bmn": ((64, 300), (3, 300, 40)),
    "bmk,mkn->bmn": ((64, 3, 300), (3, 300, 40)),
    "bck,mcku->bmcu": ((64, 7, 300), (3, 7, 300, 8)),
    "bmk,mk->bmk": ((64, 3, 300), (3, 300)),
    "bc,mcu->bmcu": ((64, 7), (3, 7, 8)),
}


@pytest.mark.parametrize(("equation", "shapes"), (EQUATIONS | OF_MEMBERS).items())
def test_a_prediction_depends_on_no_other_row_and_no_other_member(
    equation: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    """With the largest value of all rows, that of the last one would round the others."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    right = np.einsum(equation, x.astype(np.float64), kernel)
    found = prediction_product(equation, tf.constant(x), tf.constant(kernel)).numpy()
    np.testing.assert_allclose(found, right, rtol=0, atol=2e-6 * np.abs(right).max())
    others = x.copy()
    others[-1] *= 1e6
    alone = prediction_product(equation, tf.constant(others[:-1]), tf.constant(kernel)).numpy()
    assert alone.tobytes() == found[:-1].tobytes()
    if equation in OF_MEMBERS:
        kernel[-1] *= 1e6
        beside = prediction_product(equation, tf.constant(x), tf.constant(kernel)).numpy()
        assert beside[:, :-1].tobytes() == found[:, :-1].tobytes()


def test_a_sum_has_the_same_bits_in_any_order() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_cauchy((3000, 5)).astype(np.float32)
    turned = rng.permutation(values)
    assert (values.sum(axis=0) != turned.sum(axis=0)).any()
    for axis in (0, None):
        found = sum_on_grid(tf.constant(values), axis).numpy()
        assert found.tobytes() == sum_on_grid(tf.constant(turned), axis).numpy().tobytes()
        right = values.sum(axis=axis, keepdims=True, dtype=np.float64)
        np.testing.assert_allclose(found, right, rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize(
    "right",
    [
        keras.losses.BinaryCrossentropy(),
        keras.losses.MeanSquaredError(),
        keras.losses.SparseCategoricalCrossentropy(),
    ],
)
def test_the_loss_and_its_gradient_are_those_of_keras(right: keras.losses.Loss) -> None:
    """Of classes also where a probability is nearly 0."""
    rng = np.random.default_rng(0)
    several = right.name.startswith("sparse")
    logits = tf.constant(rng.normal(size=(300, 4 if several else 1)) * 20, tf.float32)
    y = tf.constant(rng.integers(0, 4 if several else 2, (300, 1)), tf.float32)
    weight = tf.constant(rng.random(300), tf.float32)
    of_keras = keras.activations.softmax if several else keras.activations.sigmoid
    results = []
    exact = MeanLoss(right.name), softmax if several else of_keras
    for loss, activation in (exact, (right, of_keras)):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(y, activation(logits), sample_weight=weight)
        results.append((value, tape.gradient(value, logits)))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-9)
