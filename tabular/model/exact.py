"""Matrix products with the same bits on any CPU, at any number of threads.

A sum of products depends on its order unless no addition rounds. So both operands are first
rounded to b bits below the power of two above their largest value: their products have 2 b bits, K
of them add up to 2 b + log2 K, and while these are at most 53 a float64 product is exact in any
order. This is the pre-rounding of Demmel and Nguyen, "Fast reproducible floating-point summation"
(2013), and the splitting of Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix
multiplication" (2012), with one slice. A rounded operand has 20 bits or more, a float32 has 24.
"""

import math
from typing import Any

from tabular.model.backend import keras, tf

MANTISSA = 53  # bits of a float64
# Multiply-adds up to which a product is written as multiply and sum: XLA adds in one order there
# too. Microseconds of a training step with it, with exact and with plain products, on AVX-512:
# 590 (batch 5, 8-8-6-1) 8, 16, 14; 7k (32, 13-16-1) 14, 20, 17; 37k (256, 8-16-1) 128, 85, 72;
# 150k (32, 8-64-64-1) 310, 84, 79; 660k (256, 8-64-32-1) 752, 271, 202.
MAX_PLAIN_MULTIPLY_ADDS = 16_384


def rounded(values: tf.Tensor, bits: int, *, by_row: bool = False) -> tf.Tensor:
    """Float32 values as float64 with `bits` bits below the power of two above the largest.

    Args:
        by_row: the largest of each row, so that no row depends on another; else of all values.
    """
    axes = list(range(1, len(values.shape))) if by_row else None
    largest = tf.reduce_max(tf.abs(values), axis=axes, keepdims=by_row)
    # The exponent by its bits: a logarithm may differ from CPU to CPU.
    exponent = tf.cast(tf.bitwise.right_shift(tf.bitcast(largest, tf.int32), 23), tf.int64)
    biased = exponent + (1023 - 127 + 1 - bits)

    def power_of_two(biased: tf.Tensor) -> tf.Tensor:
        return tf.bitcast(tf.bitwise.left_shift(biased, tf.constant(52, tf.int64)), tf.float64)

    steps = tf.cast(values, tf.float64) * power_of_two(2 * 1023 - biased)
    return tf.round(steps) * power_of_two(biased)


def product(equation: str, x: tf.Tensor, kernel: tf.Tensor, rows: int | None) -> tf.Tensor:
    """`einsum` of two float32 tensors, such as "bk,kn->bn", exact but for one rounding each.

    Args:
        rows: at most so many has `x`, from whose sums the kernel learns; None where nothing
            learns: then each row is rounded by itself, and does not depend on the others.
    """
    of_x, of_kernel, of_product = equation.replace("->", ",").split(",")
    sizes = {**dict(zip(of_kernel, kernel.shape, strict=True)), of_x[0]: rows or 1}
    terms = max(sizes[letter] for letter in sizes)
    bits = (MANTISSA - math.ceil(math.log2(max(terms, 2)))) // 2

    def exact(equation: str, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.einsum(equation, a, b), tf.float32)

    @tf.custom_gradient
    def forward(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        x, kernel = rounded(x, bits, by_row=rows is None), rounded(kernel, bits)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            upstream = rounded(upstream, bits)
            return (
                exact(f"{of_product},{of_kernel}->{of_x}", upstream, kernel),
                exact(f"{of_x},{of_product}->{of_kernel}", x, upstream),
            )

        return exact(equation, x, kernel), gradient

    return forward(x, kernel)


@tf.function(jit_compile=True, autograph=False)
def softmax(x: tf.Tensor) -> tf.Tensor:
    """Compiled as in training, for one instruction set; TensorFlow's own is of each CPU."""
    return keras.activations.softmax(x)


class Exact(keras.layers.Layer):
    """A `Dense` or `EinsumDense` layer, whose weights it uses, with exact products."""

    def __init__(self, layer: keras.layers.Layer, rows: int | None) -> None:
        super().__init__(name=layer.name)
        self.layer, self._rows = layer, rows
        self._equation = getattr(layer, "equation", "bk,kn->bn")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        kernel = keras.ops.convert_to_tensor(self.layer.kernel)
        few = self._rows and self._rows * math.prod(kernel.shape) <= MAX_PLAIN_MULTIPLY_ADDS
        if few and self._equation == "bk,kn->bn":
            x = keras.ops.sum(keras.ops.expand_dims(inputs, 2) * kernel, axis=1)
        else:
            x = product(self._equation, inputs, kernel, self._rows)
        if self.layer.bias is not None:
            x = x + self.layer.bias
        if self._rows is None and self.layer.activation is keras.activations.softmax:
            return softmax(x)
        return x if self.layer.activation is None else self.layer.activation(x)


def with_exact_products(model: keras.Model, rows: int | None = None) -> keras.Model:
    """The same model, with the same weights, and exact products in its dense layers.

    Args:
        rows: of a training step; None for a model that only predicts.
    """

    def exact(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return with_exact_products(layer, rows)
        dense = isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense)
        return Exact(layer, rows) if dense else layer

    return keras.models.clone_model(model, clone_function=exact)
