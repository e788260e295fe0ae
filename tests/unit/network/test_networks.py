"""Exact products, lookups and stacked networks."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from keras_tabular.config.sections import ResolvedNetwork
from keras_tabular.network import lookups, reproducible
from keras_tabular.network.backend import keras, tf
from keras_tabular.network.features import ColumnSample, build_features
from keras_tabular.network.lookups import MarkLookups, add_lookups
from keras_tabular.network.stacking import is_stackable
from keras_tabular.training.setup import resolve_auto
from network import build
from tests.helpers import REGRESSION, build_schema, load_train_params

# Products and sums have the same bits in any order, and equal those of Keras and NumPy.
# Shapes of x and kernel.
SHAPES = {
    "bk,kn->bn": ((64, 300), (300, 40)),
    "bck,cku->bcu": ((64, 7, 300), (7, 300, 8)),
}
# In stacked networks, m is the axis of the members.
STACKED_SHAPES = {
    "bk,mkn->bmn": ((64, 300), (3, 300, 40)),
    "bmk,mkn->bmn": ((64, 3, 300), (3, 300, 40)),
    "bck,mcku->bmcu": ((64, 7, 300), (3, 7, 300, 8)),
    "bmk,mk->bmk": ((64, 3, 300), (3, 300)),
    "bc,mcu->bmcu": ((64, 7), (3, 7, 8)),
}


def draw_operands(equation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw x, kernel and the gradient of their product: float32."""
    rng = np.random.default_rng(0)
    x, kernel = (
        rng.normal(size=shape).astype(np.float32) for shape in SHAPES[equation]
    )
    upstream = rng.normal(size=np.einsum(equation, x, kernel).shape).astype(np.float32)
    return x, kernel, upstream


def multiply(
    equation: str,
    x: np.ndarray,
    kernel: np.ndarray,
    upstream: np.ndarray,
    *,
    exact: bool = True,
) -> list[np.ndarray]:
    """Compute the product and its gradients, exactly or with `einsum`."""
    x_tensor = tf.constant(x)
    kernel_tensor = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([x_tensor, kernel_tensor])
        if exact:
            y = reproducible.training_product(equation, x_tensor, kernel_tensor, len(x))
        else:
            y = tf.einsum(equation, x_tensor, kernel_tensor)
    gradients = tape.gradient(y, [x_tensor, kernel_tensor], tf.constant(upstream))
    return [tensor.numpy() for tensor in (y, *gradients)]


def assert_close(result: np.ndarray, expected: np.ndarray) -> None:
    atol = 2e-6 * np.abs(expected).max()
    np.testing.assert_allclose(result, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("equation", SHAPES)
def test_a_product_and_its_gradients_equal_those_of_float64(equation: str) -> None:
    operands = draw_operands(equation)
    x_axes, kernel_axes, y_axes = equation.replace("->", ",").split(",")
    x, kernel, upstream = (values.astype(np.float64) for values in operands)
    y, x_gradient, kernel_gradient = multiply(equation, *operands)
    assert_close(y, np.einsum(equation, x, kernel))
    expected = np.einsum(f"{y_axes},{kernel_axes}->{x_axes}", upstream, kernel)
    assert_close(x_gradient, expected)
    expected = np.einsum(f"{x_axes},{y_axes}->{kernel_axes}", x, upstream)
    assert_close(kernel_gradient, expected)


@pytest.mark.parametrize("equation", SHAPES)
def test_the_order_of_additions_changes_no_bit(equation: str) -> None:
    """The order changes a plain product, or this test would prove nothing."""
    x, kernel, upstream = draw_operands(equation)
    rng = np.random.default_rng(1)
    terms = rng.permutation(x.shape[-1])
    rows = rng.permutation(len(x))
    for exact in (True, False):
        y, _, kernel_gradient = multiply(equation, x, kernel, upstream, exact=exact)
        permuted_y, *_ = multiply(
            equation,
            x[..., terms],
            kernel[..., terms, :],
            upstream,
            exact=exact,
        )
        assert (permuted_y.tobytes() == y.tobytes()) is exact
        *_, gradient = multiply(
            equation,
            x[rows],
            kernel,
            upstream[rows],
            exact=exact,
        )
        assert (gradient.tobytes() == kernel_gradient.tobytes()) is exact


@pytest.mark.parametrize(("equation", "shapes"), (SHAPES | STACKED_SHAPES).items())
def test_a_prediction_depends_on_no_other_row_and_no_other_member(
    equation: str,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    """Rounded together, the large values of the last row would change the others."""
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in shapes)

    def predict(x: np.ndarray) -> np.ndarray:
        return reproducible.prediction_product(equation, tf.constant(x), kernel).numpy()

    products = predict(x)
    assert_close(products, np.einsum(equation, x.astype(np.float64), kernel))
    other = predict(np.concatenate([x[:-1], 1e6 * x[-1:]]))
    assert other[:-1].tobytes() == products[:-1].tobytes()
    if equation in STACKED_SHAPES:
        kernel[-1] *= 1e6
        assert predict(x)[:, :-1].tobytes() == products[:, :-1].tobytes()


def test_a_sum_has_the_same_bits_in_any_order() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_cauchy((3000, 5)).astype(np.float32)
    permuted = rng.permutation(values)
    assert (values.sum(axis=0) != permuted.sum(axis=0)).any()
    for axis in (0, None):
        sums = reproducible.sum_on_grid(tf.constant(values), axis).numpy()
        other = reproducible.sum_on_grid(tf.constant(permuted), axis).numpy()
        assert sums.tobytes() == other.tobytes()
        expected = values.sum(
            axis=axis,
            keepdims=True,
            dtype=np.float64,
        )
        np.testing.assert_allclose(sums, expected, rtol=1e-7, atol=1e-6)


LOSSES = ("BinaryCrossentropy", "MeanSquaredError", "SparseCategoricalCrossentropy")


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_equal_those_of_keras(name: str) -> None:
    """With several classes, also where a probability is nearly 0."""
    keras_loss = keras.losses.get(name)
    rng = np.random.default_rng(0)
    classes = 4 if keras_loss.name.startswith("sparse") else 1
    logits = tf.constant(rng.normal(size=(300, classes)) * 20, tf.float32)
    y = tf.constant(rng.integers(0, max(classes, 2), (300, 1)), tf.float32)
    weight = tf.constant(rng.random(300), tf.float32)
    if classes > 1:
        activation = reproducible.softmax
        keras_activation = keras.activations.softmax
    else:
        activation = keras_activation = keras.activations.sigmoid

    def compute(loss: Any, activation: Any) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(y, activation(logits), sample_weight=weight)
        return value, tape.gradient(value, logits)

    loss, gradient = compute(reproducible.MeanLoss(keras_loss.name), activation)
    expected_loss, expected_gradient = compute(keras_loss, keras_activation)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-9)


def test_dropout_keeps_its_share_of_values_anew_in_each_step() -> None:
    layer = keras.layers.Dropout(0.3, seed=5)
    dropout = lookups.HashDropout(layer)
    values = np.ones((400, 500), np.float32)
    steps = np.array([dropout(values, training=True) for _ in range(3)])
    is_kept = steps != 0
    np.testing.assert_allclose(steps[is_kept], 1 / 0.7, rtol=1e-6)
    for axis in (1, 2):  # of a column and of a row
        spread = np.sqrt(0.3 * 0.7 / is_kept.shape[axis])
        assert abs(is_kept.mean(axis=axis) - 0.7).max() < 5 * spread
    correlation = np.corrcoef(is_kept.reshape(3, -1))
    np.testing.assert_allclose(correlation, np.eye(3), atol=0.01)
    layer.seed_generator.state.assign([5, 0])
    np.testing.assert_array_equal(dropout(values, training=True), steps[0])
    np.testing.assert_array_equal(dropout(values), values)


def test_xla_hands_no_reduction_to_a_library_that_is_built_at_the_first_execution() -> (
    None
):
    """Two threads that built one ended the process; its kernels depend on the CPU."""
    compiled: Any = reproducible.compile_by_xla(reproducible.softmax)
    get_code = compiled.experimental_get_compiler_ir(tf.zeros((5000, 10, 19)))
    ir = get_code(stage="optimized_hlo")
    assert "kind=kCustom" not in ir
    assert "reduce(" in ir


# A network that trains by lookups has the outputs and the gradients of the plain
# network.
layers = keras.layers
N_ROWS = 50
SIZES = (17, 30)
RNG = np.random.default_rng(0)


def make_columns(n_numbers: int, n_indicators: int) -> ColumnSample:
    """Return numbers, indicators, two one-hot columns and a text column."""
    codes = [RNG.integers(0, size + 1, N_ROWS) for size in SIZES]
    one_hot = [
        np.eye(size + 1)[code, :size] for size, code in zip(SIZES, codes, strict=True)
    ]
    numbers = RNG.normal(size=(N_ROWS, n_numbers))
    indicators = RNG.normal(size=(N_ROWS, n_indicators))
    if n_numbers:
        numbers[:, 0] = numbers[:, 0].round()  # fewer bins than the others
    text = RNG.normal(size=(N_ROWS, 1 if n_indicators else 0))
    values = np.concatenate([numbers, indicators, *one_hot, text], axis=1)
    first, second, end = n_numbers + n_indicators + np.cumsum([0, *SIZES])
    categories = {"a": (first, second), "b": (second, end)}
    return ColumnSample(values.astype(np.float32), n_numbers, N_ROWS, categories)


def build_with_skip_connection(
    inputs: list[keras.KerasTensor],
    network: ResolvedNetwork,
    schema: Any,
) -> keras.KerasTensor:
    """Read every input in several ways, also in some that no lookup exists for."""
    flat = layers.Concatenate()([layers.Flatten()(tensor) for tensor in inputs])
    x = inputs[-1]
    scaled = layers.EinsumDense("bd,d->bd", x.shape[1:], name="scale")(x)
    hidden = layers.Dense(5, "tanh")(layers.Concatenate()([scaled, x]))
    twice = layers.EinsumDense("bd,d->bd", x.shape[1:])(scaled)
    total = layers.Add()(
        [
            layers.Dense(5)(scaled),
            layers.Dense(5)(twice),
            layers.Dense(5)(x * 2),
            hidden,
        ],
    )
    return layers.Dense(1)(layers.Concatenate()([flat, total]))


@pytest.mark.parametrize("build_layers", [build, build_with_skip_connection])
@pytest.mark.parametrize("n_indicators", [3, 0])
@pytest.mark.parametrize(
    "architecture",
    ["realmlp", "plain", "realmlp without numbers"],
)
def test_lookups_change_neither_outputs_nor_gradients(
    architecture: str,
    n_indicators: int,
    build_layers: Callable[..., keras.KerasTensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row_sums = Mock(side_effect=lookups.row_sums)
    monkeypatch.setattr(lookups, "row_sums", row_sums)
    columns = make_columns(0 if "without" in architecture else 4, n_indicators)
    train = resolve_auto(load_train_params(), N_ROWS, REGRESSION, 6)
    network = train.networks[architecture.split()[0]]
    features = build_features(columns, network)
    inputs = [keras.Input(tensor.shape[1:]) for tensor in features.outputs]
    outputs = build_layers(inputs, network, build_schema("regression"))
    plain = keras.Model(inputs, outputs)
    for weight in plain.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    before = columns.n_numbers if len(inputs) > 1 else 0
    mark = MarkLookups(
        [(a - before, b - before) for a, b in columns.categories.values()],
    )
    trained = add_lookups(plain, N_ROWS)

    def gradients(model: keras.Model, values: np.ndarray) -> list[tf.Tensor]:
        weights = [tf.convert_to_tensor(weight) for weight in plain.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(weights)
            inputs = features(values)
            if model is trained:
                inputs = mark(inputs)
            pairs = zip(plain.trainable_weights, weights, strict=True)
            with keras.StatelessScope(pairs):
                output = model(inputs)
            loss = tf.reduce_sum(tf.square(output))
        return [output, *tape.gradient(loss, weights)]

    ours = gradients(trained, columns.values)
    assert row_sums.call_count == 1
    of_plain = gradients(plain, columns.values)
    for result, expected in zip(ours, of_plain, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5 * scale)
    in_another_order = gradients(trained, columns.values[::-1])
    for gradient, same in zip(ours[1:], in_another_order[1:], strict=True):
        np.testing.assert_array_equal(gradient, same)


# Networks of one architecture are saved as one, if that changes no prediction.


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
    layer: Callable[[keras.KerasTensor], keras.KerasTensor],
    expected: bool,
) -> None:
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(1)(layer(layers.Dense(4)(inputs))))
    assert is_stackable(model) is expected
