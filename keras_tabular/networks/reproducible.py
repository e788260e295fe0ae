"""Matrix products with the same bits on any CPU, at any number of threads.

A sum of products depends on their order unless no addition rounds. So both operands are first
rounded to b bits below the power of two above their largest value. Then a product has 2 b bits, and
a sum of K products has 2 b + log2 K bits. If that is at most 53, the sum is exact in float64 in any
order. This is the pre-rounding of Demmel and Nguyen, "Fast reproducible floating-point summation"
(2013), and the splitting of Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix
multiplication" (2012), with one slice. A rounded operand has 20 bits or more, a float32 has 24.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

from keras_tabular.networks.backend import keras, tf

FLOAT64_BITS = 53  # of a mantissa
FLOAT32_EXPONENT = 0x7F800000  # mask of the bits of the exponent
GRID = 2.0**-32  # on which values are rounded before `sum_on_grid` adds them up
# Activations that are computed without approximation.
EXACT_ACTIVATIONS = (keras.activations.linear, keras.activations.relu)
# Classes of layers and operations that TensorFlow's own kernels approximate, each CPU differently.
APPROXIMATE = ("Activation", "ELU", "Exp", "Gelu", "Power", "Sigmoid", "Silu", "Tanh")


def round_to_bits(values: tf.Tensor, bits: int, largest: tf.Tensor) -> tf.Tensor:
    """Round float32 values to `bits` bits below the power of two above the largest: float64."""
    # The power of two below the largest: a logarithm may differ from CPU to CPU.
    exponent = tf.bitwise.bitwise_and(tf.bitcast(largest, tf.int32), FLOAT32_EXPONENT)
    power = tf.bitcast(exponent, tf.float32)
    # Near 1.5 * 2**52 times the last bit to keep, a float64 holds no further bit.
    shift = tf.cast(power, tf.float64) * (1.5 * 2.0 ** (52 + 1 - bits))
    return (tf.cast(values, tf.float64) + shift) - shift


def sum_on_grid(values: tf.Tensor, axis: int | None = None) -> tf.Tensor:
    """Add up float32 values over an axis, or all of them; the axis stays, with size 1.

    XLA adds in an order that depends on the CPU. Values are therefore rounded to a grid, on which
    sums below 2**21 are exact in any order.
    """

    @tf.custom_gradient
    def on_grid(values: tf.Tensor) -> tuple[tf.Tensor, Any]:
        grid = tf.round(tf.cast(values, tf.float64) / GRID)
        sums = tf.cast(tf.reduce_sum(grid, axis, keepdims=True) * GRID, tf.float32)
        return sums, lambda upstream: upstream * tf.ones_like(values)

    return on_grid(values)


def training_product(
    equation: str, x: tf.Tensor, kernel: tf.Tensor, rows: int, *bias: tf.Tensor
) -> tf.Tensor:
    """Compute `einsum` of two float32 tensors, exact except for one rounding of each of them.

    Args:
        equation: Such as "bk,kn->bn".
        rows: The largest number of rows of `x`; the gradient of the kernel is a sum over them.
        bias: One tensor to add to each row, or none.
    """
    of_x, of_kernel, of_product = equation.replace("->", ",").split(",")
    bits = _bits(max(rows, *kernel.shape))

    def exact(equation: str, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.einsum(equation, a, b), tf.float32)

    @tf.custom_gradient
    def forward(x: tf.Tensor, kernel: tf.Tensor, *bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        x, kernel = (round_to_bits(each, bits, tf.reduce_max(tf.abs(each))) for each in (x, kernel))

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            # With absolute values, XLA would compute `upstream` again for each use, which takes 0.5
            # of the 1.6 ms of a step with 1,024 rows and 600 units.
            largest = tf.maximum(tf.reduce_max(upstream), -tf.reduce_min(upstream))
            upstream = round_to_bits(upstream, bits, largest)
            return [
                exact(f"{of_product},{of_kernel}->{of_x}", upstream, kernel),
                exact(f"{of_x},{of_product}->{of_kernel}", x, upstream),
                *(tf.cast(tf.reduce_sum(upstream, axis=0), tf.float32) for _ in bias),
            ]

        return sum(bias, exact(equation, x, kernel)), gradient

    return forward(x, kernel, *bias)


def prediction_product(equation: str, x: tf.Tensor, kernel: Any) -> tf.Tensor:
    """Compute a `training_product` without gradients.

    Each row of `x` and each column of the kernel is rounded by itself, so that no row depends on
    another one, and no member of stacked networks on the other members. There is one product of
    matrices for each index that both operands and the product have; `einsum` would transpose the
    float64 tensors, which takes twice as long.
    """
    of_x, of_kernel, of_product = equation.replace("->", ",").split(",")
    added = [letter for letter in of_x if letter not in of_product]
    if not added:  # one product each
        kernel = keras.ops.convert_to_tensor(kernel)
        return _aligned(x, of_x, of_product) * _aligned(kernel, of_kernel, of_product)
    sizes = dict(zip(of_x + of_kernel, [*x.shape, *kernel.shape], strict=True)) | {of_x[0]: -1}
    both = [letter for letter in of_x if letter in of_kernel and letter in of_product]
    of_rows = [letter for letter in of_x if letter not in of_kernel]
    of_columns = [letter for letter in of_kernel if letter not in of_x]
    terms = math.prod(sizes[letter] for letter in added)

    def rounded_matrices(values: tf.Tensor, letters: str, rows: list[str]) -> tf.Tensor:
        values = _aligned(values, letters, [*both, *rows, *added])
        values = tf.reshape(values, [*(sizes[letter] for letter in both), -1, terms])
        return round_to_bits(values, _bits(terms), tf.reduce_max(tf.abs(values), -1, keepdims=True))

    with tf.init_scope():  # once: in each call it would take half of the time of a single row
        weights = rounded_matrices(keras.ops.convert_to_tensor(kernel), of_kernel, of_columns)
        weights = tf.linalg.matrix_transpose(weights)
    products = tf.cast(tf.matmul(rounded_matrices(x, of_x, of_rows), weights), tf.float32)
    letters = [*both, *of_rows, *of_columns]
    products = tf.reshape(products, [sizes[letter] for letter in letters])
    return _aligned(products, letters, of_product)


def _aligned(values: tf.Tensor, letters: Sequence[str], wanted: Sequence[str]) -> tf.Tensor:
    """Put the axes of a tensor into another order, with size 1 for an axis that it lacks."""
    values = tf.transpose(values, [letters.index(one) for one in wanted if one in letters])
    return values[tuple(slice(None) if one in letters else None for one in wanted)]


def _bits(terms: int) -> int:
    """Return the number of bits of each operand such that the sum of products is exact."""
    return (FLOAT64_BITS - math.ceil(math.log2(max(terms, 2)))) // 2


def softmax(x: tf.Tensor) -> tf.Tensor:
    """Compute the softmax of the last axis; the result holds its logits, as Keras's does."""
    powers = tf.exp(x - tf.reduce_max(x, axis=-1, keepdims=True))
    probabilities = powers / sum_on_grid(powers, -1)
    probabilities._keras_logits = x
    return probabilities


def cross_entropy(y: tf.Tensor, predicted: tf.Tensor) -> tf.Tensor:
    """Compute the cross-entropy of the `softmax` of each row, (rows,).

    Args:
        y: Index of the class, (rows, 1).
        predicted: Probabilities, (rows, classes).
    """
    logits = getattr(predicted, "_keras_logits", None)
    if logits is None:  # a layer of the user computed the probabilities
        logits = tf.math.log(tf.clip_by_value(predicted, 1e-7, 1))
    logits -= tf.stop_gradient(tf.reduce_max(logits, axis=1, keepdims=True))
    of_class = tf.one_hot(tf.cast(y[:, 0], tf.int32), logits.shape[1])
    return tf.math.log(sum_on_grid(tf.exp(logits), 1)[:, 0]) - tf.reduce_sum(
        of_class * logits, axis=1
    )


class MeanLoss(keras.losses.Loss):
    """Mean of a Keras loss over the rows, with the same bits on any CPU, see `sum_on_grid`."""

    def __init__(self, loss: str) -> None:
        super().__init__(name=loss, reduction=None)
        is_sparse = loss == "sparse_categorical_crossentropy"
        self.call = cross_entropy if is_sparse else keras.losses.get(loss)

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        losses = super().__call__(y_true, y_pred, sample_weight)
        return tf.squeeze(sum_on_grid(losses)) / tf.cast(tf.size(losses), tf.float32)


class MeanAbsoluteError(keras.metrics.Mean):
    """Keras's metric of this name, with the same bits on any CPU, see `sum_on_grid`."""

    def update_state(
        self, y: tf.Tensor, predicted: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        errors, rows = tf.abs(y - predicted)[:, 0], tf.cast(tf.size(y), tf.float32)
        if sample_weight is not None:
            errors, rows = errors * sample_weight, tf.reduce_sum(sample_weight)
        super().update_state(tf.math.divide_no_nan(tf.squeeze(sum_on_grid(errors)), rows), rows)


@cache
def compile_by_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of tensors by XLA, whose bits do not depend on the CPU."""
    return tf.function(function, jit_compile=True, autograph=False)


class ReproducibleDense(keras.layers.Layer):
    """A `Dense` or `EinsumDense` layer, with its weights, but with exact products.

    Args:
        layer: The layer with the weights.
        rows: Number of rows of a training step; None for a layer that only predicts.
    """

    def __init__(self, layer: keras.layers.Layer, rows: int | None) -> None:
        super().__init__(name=layer.name)
        self.layer, self._rows = layer, rows
        self._equation = getattr(layer, "equation", "bk,kn->bn")
        penalty = layer.kernel.regularizer
        if rows and type(penalty) is keras.regularizers.L2:
            layer.kernel.regularizer = lambda kernel: (
                penalty.l2 * tf.squeeze(sum_on_grid(tf.square(kernel)))
            )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        kernel, activation = self.layer.kernel, self.layer.activation
        if activation is keras.activations.softmax:
            activation = softmax
        bias = [] if self.layer.bias is None else [keras.ops.convert_to_tensor(self.layer.bias)]
        if self._rows:
            shape = self.compute_output_shape(inputs.shape)[1:]
            bias = [tf.broadcast_to(one, shape) for one in bias]
            kernel = keras.ops.convert_to_tensor(kernel)
            return activation(training_product(self._equation, inputs, kernel, self._rows, *bias))
        x = sum(bias, prediction_product(self._equation, inputs, kernel))
        return activation(x) if activation in EXACT_ACTIVATIONS else compile_by_xla(activation)(x)


class Replaced(keras.Operation):
    """A layer without weights, or an operation, with another function to compute it."""

    def __init__(self, operation: keras.Operation, function: Callable[..., Any]) -> None:
        super().__init__(name=operation.name)
        self.call, self.compute_output_spec = function, operation.compute_output_spec


class OrderedMean(keras.layers.Layer):
    """A `GlobalAveragePooling1D` over the members, which are added up in their order."""

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], input_shape[2])

    def call(self, inputs: keras.KerasTensor, mask: None = None) -> keras.KerasTensor:
        return tf.add_n(tf.unstack(inputs, axis=1)) / inputs.shape[1]


def make_reproducible(model: keras.Model, rows: int | None = None) -> keras.Model:
    """Clone a model with the same weights, and with exact products in its dense layers.

    Args:
        rows: Number of rows of a training step; None for a model that only predicts.
    """

    def exact(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return make_reproducible(layer, rows)
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            return OrderedMean(name=layer.name)
        if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense):
            return ReproducibleDense(layer, rows)
        name = type(layer).__name__
        if not rows and name in APPROXIMATE:
            return Replaced(layer, compile_by_xla(layer.call))
        if not rows and name == "Sum" and layer.axis == [1] and layer.keepdims:  # at a temperature
            return Replaced(layer, partial(sum_on_grid, axis=1))
        return layer

    return keras.models.clone_model(model, clone_function=exact)
