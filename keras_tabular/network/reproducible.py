"""Networks that compute the same bits on every CPU.

CPUs differ in the order of additions, and in exp and log. This module replaces what
depends on them; docs/reproducibility.md lists everything else that makes two runs
equal.

- The sums of a matrix product are exact, so that their order does not matter:
  `training_product` and `prediction_product`.
- Other sums add values that were rounded to a grid: `sum_on_grid`, which softmax and
  the losses use.
- XLA compiles exp, log and tanh: `compile_by_xla`.

`make_reproducible` puts all of this into a model, and `ExactModel` predicts by it.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from keras_tabular.network.backend import (
    KerasTensor,
    Tensor,
    keras,
    keras_defaults,
    tf,
)
from keras_tabular.table.arrays import Inputs

# Bits of the mantissa of a float64.
FLOAT64_BITS = 53
# From 2**52 to 2**53, each float64 is an integer. So if this number is added to a
# smaller one, which may be negative, and subtracted again, an integer remains.
ROUNDING_SHIFT = 1.5 * 2.0**52
# The bits of a float32 that are its exponent.
FLOAT32_EXPONENT_MASK = 0x7F800000
# Distance between the values to which `sum_on_grid` rounds.
GRID = 2.0**-32
# Equation of a product with the kernel of a `Dense` layer.
DENSE_EQUATION = "bk,kn->bn"
ACTIVATIONS_WITHOUT_APPROXIMATION = (keras.activations.linear, keras.activations.relu)
# Names of the classes of layers and operations for which TensorFlow has kernels by CPU.
APPROXIMATED_LAYERS = (
    "Activation",
    "ELU",
    "Exp",
    "Gelu",
    "Power",
    "Sigmoid",
    "Silu",
    "Tanh",
)
# Numbers of rows to which the rows to predict are filled up. The two smallest are for a
# server: one row takes half as long as 16, and 16 a sixth as long as 256.
BATCH_SIZES = [1, 16, 256, 1024]
# Multiply-adds per row; above, 1024 rows leave the caches.
MAX_WORK_OF_LARGE_BATCHES = 1_000_000
# Multiply-adds that take as long as a character of a text.
WORK_PER_CHARACTER = 2_600


def make_reproducible(model: keras.Model) -> keras.Model:
    """Rebuild a model, with its own weights, to predict the same bits on any CPU.

    The new model shares the weights, and the layers that need no change.
    """

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return make_reproducible(layer)
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            return OrderedMean(name=layer.name)
        if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense):
            return ReproducibleDense(layer)
        if type(layer).__name__ in APPROXIMATED_LAYERS:
            return Substitute(layer, compile_by_xla(layer.call))
        return layer

    return keras.models.clone_model(model, clone_function=replace)


class ReproducibleDense(keras.layers.Layer):
    """A `Dense` or `EinsumDense` layer, with its weights and with exact products."""

    compiles_activation = True

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=layer.name)
        self.layer = layer
        self.equation = getattr(layer, "equation", DENSE_EQUATION)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """Compute the layer, with an activation that XLA compiles."""
        activation = self.layer.activation
        if activation is keras.activations.softmax:
            activation = softmax
        is_approximated = activation not in ACTIVATIONS_WITHOUT_APPROXIMATION
        if self.compiles_activation and is_approximated:
            activation = compile_activation(activation)
        return activation(self.multiply(inputs))

    def multiply(self, x: Tensor) -> Tensor:
        """Compute the product with the kernel, and add the bias."""
        product = prediction_product(self.equation, x, self.layer.kernel)
        if self.layer.bias is None:
            return product
        return product + self.layer.bias


class Substitute(keras.Operation):
    """A layer without weights, or an operation, that another function computes."""

    def __init__(
        self,
        operation: keras.Operation,
        function: Callable[..., Any],
    ) -> None:
        super().__init__(name=operation.name)
        self.call = function
        self.compute_output_spec = operation.compute_output_spec


class OrderedMean(keras.layers.GlobalAveragePooling1D):
    """A `GlobalAveragePooling1D` over members that adds them up in their order."""

    def call(self, inputs: KerasTensor, mask: None = None) -> KerasTensor:
        """Compute the mean of the members, from (rows, members, outputs)."""
        n_members = inputs.shape[1]
        return tf.add_n(tf.unstack(inputs, axis=1)) / n_members


def compile_by_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of tensors by XLA, whose bits do not depend on the CPU."""
    return tf.function(function, jit_compile=True, autograph=False)


@cache
def compile_activation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function by XLA, once for all layers.

    It is not for the method of a layer, since the cache would keep the layer in memory.
    """
    return compile_by_xla(function)


def training_product(
    equation: str,
    x: Tensor,
    kernel: Tensor,
    max_terms: int,
    bias: Tensor | None = None,
) -> Tensor:
    """Compute `einsum` of two float32 tensors, exact but for one rounding of each.

    Args:
        equation: Such as "bk,kn->bn".
        x: The tensor whose first axis the kernel does not have.
        kernel: The other tensor.
        max_terms: Largest length of the first axis of `x`. The gradient of the kernel
            is a sum over it.
        bias: What to add to each row of the product.
    """
    x_axes, kernel_axes, product_axes = re.split(",|->", equation)
    x_gradient_equation = f"{product_axes},{kernel_axes}->{x_axes}"
    kernel_gradient_equation = f"{x_axes},{product_axes}->{kernel_axes}"
    bits = operand_bits(max(max_terms, *kernel.shape))

    @tf.custom_gradient
    def multiply(
        x: Tensor,
        kernel: Tensor,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        rounded_x = round_to_bits(x, bits)
        rounded_kernel = round_to_bits(kernel, bits)
        product = float32_einsum(equation, rounded_x, rounded_kernel)
        if bias is not None:
            product += bias

        def gradient(upstream: Tensor) -> list[Tensor]:
            upstream = round_to_bits(upstream, bits)
            gradients = [
                float32_einsum(x_gradient_equation, upstream, rounded_kernel),
                float32_einsum(kernel_gradient_equation, rounded_x, upstream),
            ]
            if bias is not None:
                bias_gradient = tf.reduce_sum(upstream, axis=0)
                gradients.append(tf.cast(bias_gradient, tf.float32))
            return gradients

        return product, gradient

    # TensorFlow takes no None as an argument of a function with a gradient.
    return multiply(x, kernel) if bias is None else multiply(x, kernel, bias)


def float32_einsum(equation: str, a: Tensor, b: Tensor) -> Tensor:
    """Compute `einsum` of two float64 tensors, rounded to float32."""
    return tf.cast(tf.einsum(equation, a, b), tf.float32)


def prediction_product(equation: str, x: Tensor, kernel: Any) -> Tensor:
    """Compute `einsum` as `training_product` does, but round rows by themselves.

    Each row of `x` and each column of the kernel is rounded by itself, so that no row
    depends on another one, and no member of stacked networks on the other members.
    """
    x_axes, kernel_axes, product_axes = re.split(",|->", equation)
    summed_axes = set(x_axes) - set(product_axes)
    if not summed_axes:  # nothing is added up, so nothing is rounded
        kernel = keras.ops.convert_to_tensor(kernel)
        left_factors = arrange_axes(x, x_axes, product_axes)
        right_factors = arrange_axes(kernel, kernel_axes, product_axes)
        return left_factors * right_factors
    sizes = dict(zip(kernel_axes, kernel.shape, strict=True))
    n_terms = math.prod(sizes[axis] for axis in summed_axes)
    bits = operand_bits(n_terms)
    # With the shared axes first, `einsum` transposes no float64 tensor, which would
    # take as long again.
    shared_axes = set(x_axes) & set(kernel_axes) & set(product_axes)
    x_order = move_to_front(x_axes, shared_axes)
    kernel_order = move_to_front(kernel_axes, shared_axes)
    product_order = move_to_front(product_axes, shared_axes)
    # The kernel is rounded once: in each call it would take half of the time of a
    # single row.
    with tf.init_scope():
        kernel = keras.ops.convert_to_tensor(kernel)
        kernel = arrange_axes(kernel, kernel_axes, kernel_order)
        rounded_kernel = round_along_axes(kernel, kernel_order, summed_axes, bits)
    x = arrange_axes(x, x_axes, x_order)
    rounded_x = round_along_axes(x, x_order, summed_axes, bits)
    ordered_equation = f"{x_order},{kernel_order}->{product_order}"
    product = float32_einsum(ordered_equation, rounded_x, rounded_kernel)
    return arrange_axes(product, product_order, product_axes)


def move_to_front(axes: str, first_axes: set[str]) -> str:
    """Put some axes of a tensor before the others.

    Example:
        >>> move_to_front("bmk", {"m"})
        'mbk'
    """
    return "".join(sorted(axes, key=lambda axis: axis not in first_axes))


def arrange_axes(values: Tensor, axes: str, wanted: str) -> Tensor:
    """Put axes into another order, with size 1 for an axis that the tensor lacks.

    For example, the axes "km" become "mbk" with the shape (m, 1, k).
    """
    order = [axes.index(axis) for axis in wanted if axis in axes]
    transposed = tf.transpose(values, order)
    index = [slice(None) if axis in axes else tf.newaxis for axis in wanted]
    return transposed[tuple(index)]


def round_along_axes(
    values: Tensor,
    axes: str,
    summed_axes: set[str],
    bits: int,
) -> Tensor:
    """Round to a number of bits below the largest value along some of the axes."""
    summed = [number for number, axis in enumerate(axes) if axis in summed_axes]
    largest = tf.reduce_max(tf.abs(values), summed, keepdims=True)
    return round_to_bits(values, bits, largest)


def operand_bits(terms: int) -> int:
    """Return the bits of rounded operands with which a sum of products is exact.

    A sum depends on its order unless no addition rounds. The product of operands of b
    bits has 2 b bits, and a sum of K products 2 b + log2 K. If these are at most 53,
    the sum is exact in float64. This is the pre-rounding of Demmel and Nguyen, "Fast
    reproducible floating-point summation" (2013), and the splitting of Ozaki, Ogita,
    Oishi and Rump, "Error-free transformations of matrix multiplication" (2012), with
    one slice. For comparison, a float32 has 24 bits.

    Example:
        >>> operand_bits(8192)
        20
    """
    bits_of_sum = math.ceil(math.log2(max(terms, 2)))
    return (FLOAT64_BITS - bits_of_sum) // 2


def round_to_bits(
    values: Tensor,
    bits: int,
    largest: Tensor | None = None,
) -> Tensor:
    """Round float32 values to a number of bits, and return them as float64.

    Args:
        values: The values.
        bits: Number of bits below the power of two above the largest value.
        largest: The largest absolute value, of any shape that fits; None for that of
            `values`.
    """
    # 2 ** floor(log2(largest)), half of the power of two above it. It is taken from the
    # bits of the number, since a logarithm may differ between CPUs.
    number_bits = tf.bitcast(values if largest is None else largest, tf.int32)
    exponent = tf.bitwise.bitwise_and(number_bits, FLOAT32_EXPONENT_MASK)
    if largest is None:  # the largest integer, which XLA finds faster
        exponent = tf.reduce_max(exponent)
    power = tf.bitcast(exponent, tf.float32)
    # The last bit to keep, as a share of `power`.
    last_bit = 2.0 ** (1 - bits)
    shift = tf.cast(power, tf.float64) * (ROUNDING_SHIFT * last_bit)
    return (tf.cast(values, tf.float64) + shift) - shift


def sum_on_grid(values: Tensor, axis: int | None = None) -> Tensor:
    """Add up float32 values over an axis, or all of them; the axis stays, with size 1.

    XLA adds in an order that depends on the CPU. Values are therefore rounded to
    multiples of `GRID`, whose sums below 2**21 are exact in any order.
    """

    @tf.custom_gradient
    def add_up(values: Tensor) -> tuple[Tensor, Any]:
        multiples = tf.round(tf.cast(values, tf.float64) / GRID)
        sums = tf.reduce_sum(multiples, axis, keepdims=True) * GRID

        def gradient(upstream: Tensor) -> Tensor:
            return upstream * tf.ones_like(values)

        return tf.cast(sums, tf.float32), gradient

    return add_up(values)


def softmax(x: Tensor) -> Tensor:
    """Compute the softmax of the last axis.

    The logits are attached to the result, as Keras does; `cross_entropy` reads them.
    """
    largest = tf.reduce_max(x, axis=-1, keepdims=True)
    powers = tf.exp(x - largest)
    probabilities = powers / sum_on_grid(powers, -1)
    probabilities._keras_logits = x
    return probabilities


def cross_entropy(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Compute the cross-entropy of each row: float32, shape (rows,).

    Args:
        y_true: Index of the class, shape (rows, 1).
        y_pred: Probabilities, shape (rows, classes).
    """
    logits = getattr(y_pred, "_keras_logits", None)
    if logits is None:  # a layer of the user computed the probabilities
        logits = tf.math.log(tf.clip_by_value(y_pred, 1e-7, 1))
    largest = tf.reduce_max(logits, axis=1, keepdims=True)
    logits -= tf.stop_gradient(largest)  # (rows, classes)
    class_index = tf.cast(y_true[:, 0], tf.int32)
    is_class = tf.one_hot(class_index, logits.shape[1])
    sum_of_powers = sum_on_grid(tf.exp(logits), 1)[:, 0]
    log_sum = tf.math.log(sum_of_powers)
    logit_of_class = tf.reduce_sum(is_class * logits, axis=1)
    return log_sum - logit_of_class


class MeanLoss(keras.losses.Loss):
    """Mean of a Keras loss over the rows, added up by `sum_on_grid`."""

    def __init__(self, loss: str) -> None:
        super().__init__(name=loss, reduction=None)
        if loss == "sparse_categorical_crossentropy":
            self.call = cross_entropy
        else:
            self.call = keras.losses.get(loss)

    def __call__(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        sample_weight: Tensor | None = None,
    ) -> Tensor:
        """Compute the mean, weighted by `sample_weight`, shape (rows,)."""
        losses = super().__call__(y_true, y_pred, sample_weight)  # (rows,)
        total = tf.squeeze(sum_on_grid(losses))
        return total / tf.cast(tf.size(losses), tf.float32)


@dataclass(frozen=True)
class ExactModel:
    """A model that predicts.

    Attributes:
        plain: The model as Keras loads it.
    """

    plain: keras.Model

    @cached_property
    def network(self) -> keras.Model:
        """The model that predicts the same bits on any CPU: `make_reproducible`."""
        return make_reproducible(self.plain)

    @cached_property
    def multiply_adds(self) -> float:
        """Number of multiply-adds that take as long as the prediction of a row."""
        return count_multiply_adds(self.network)

    def predict(self, columns: Inputs) -> np.ndarray:
        """Predict the rows of raw columns.

        The outputs of a row do not depend on other rows, so that a batch can be filled
        up to one of a few sizes.

        Args:
            columns: Inputs of the model, shape (rows,) each. There may be others.

        Returns:
            Float32, shape (rows, outputs).
        """
        n_outputs = self.network.output_shape[-1]
        predictions = self.predict_members(columns)[:, :n_outputs]
        return predictions.copy()  # without the outputs of the members

    def predict_members(self, columns: Inputs) -> np.ndarray:
        """Predict the rows of raw columns, also by each member.

        Returns:
            Float32, shape (rows, outputs * (1 + members)): the result of `predict`,
            then the outputs of each member in the units of the target. Members are in
            the alphabetical order of their architectures.
        """
        n_rows = len(next(iter(columns.values())))
        if not n_rows:
            width = self.network.output_shape[-1]
            return np.empty((0, width), np.float32)
        is_large = self.multiply_adds > MAX_WORK_OF_LARGE_BATCHES
        batch_sizes = BATCH_SIZES[:-1] if is_large else BATCH_SIZES
        largest_size = batch_sizes[-1]
        input_names = [tensor.name for tensor in self.network.inputs]
        predictions = []
        for start in range(0, n_rows, largest_size):
            n_left = min(n_rows - start, largest_size)
            batch_size = min(size for size in batch_sizes if size >= n_left)
            # The last row is repeated until the batch is full.
            indices = np.arange(start, start + batch_size)
            indices = np.minimum(indices, n_rows - 1)
            batch = {name: columns[name][indices] for name in input_names}
            outputs = self._compiled(batch).numpy()
            predictions.append(outputs[:n_left])
        return np.concatenate(predictions)

    @cached_property
    @keras_defaults()
    def _compiled(self) -> tf.types.experimental.ConcreteFunction:
        """A function from raw columns to the outputs of the model and of each member.

        It is one graph for batches of any size, since graphs for one size each differ
        in the last bits.
        """
        layers = self.network.layers
        # The inputs of a mean are the outputs of the members of an architecture.
        means = [layer for layer in layers if isinstance(layer, OrderedMean)]
        means.sort(key=lambda mean: mean.name.removesuffix("-mean"))
        outputs = [mean.input for mean in means]
        for layer in layers:
            if layer.name == "output-value":  # to the units of the target
                outputs = [layer(tensor) for tensor in outputs]
        outputs.insert(0, self.network.output)
        with_members = keras.Model(self.network.input, outputs)

        def predict_all(columns: dict[str, Tensor]) -> Tensor:
            matrices = []
            for y in with_members(columns, training=False):
                # From (rows, outputs), or (rows, members, outputs).
                width = math.prod(y.shape[1:])
                matrices.append(tf.reshape(y, (-1, width)))
            return tf.concat(matrices, axis=1)

        specs = {
            tensor.name: tf.TensorSpec((None,), tensor.dtype)
            for tensor in self.network.inputs
        }
        function = tf.function(predict_all, autograph=False)
        # A concrete function halves the time for a single row.
        return function.get_concrete_function(specs)


def count_multiply_adds(network: keras.Model) -> float:
    """Count the multiply-adds that take about as long as the prediction of a row."""
    work = 0.0
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            work += count_multiply_adds(layer)
        elif isinstance(layer, ReproducibleDense):
            work += layer.layer.count_params()
        elif isinstance(layer, keras.layers.TextVectorization):
            work += WORK_PER_CHARACTER * layer.output.shape[1]
    return work
