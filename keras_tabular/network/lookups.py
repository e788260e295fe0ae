"""Products of a training step with one-hot columns and bins, as lookups.

A product with one-hot columns is one row of the kernel for each column of the table,
and its gradient adds to these rows only. The bins of a number are ones, then one
fraction, then zeros, so that their product is the sum of the rows before the fraction,
which is computed once for a batch, and a share of one row. The terms are those of
`reproducible.training_product` without the zeros, and their sums are as exact.

Keras hands nothing but tensors from one layer to the next, so what lookups need is
attached to a tensor, as Keras attaches the logits to probabilities:

- `_one_hot`, a `OneHot`: on a tensor with one-hot columns. `MarkLookups` attaches it to
  the last input of a network, `LookupConcatenate` to a tensor that contains such a
  tensor, and `LookupDense` to the result of a learnt scale. `LookupDense` reads it.
- `_places`, a `BinPlaces`: on a tensor of bins. `MarkLookups` attaches it, and
  `LookupDense` reads it.

The result of any other layer has no attribute, so that its product is not a lookup. A
layer that reads the tensor itself gets the same numbers. XLA computes the tensor only
if there is such a layer.
"""

from typing import Any, NamedTuple

import numpy as np

from keras_tabular.network import reproducible
from keras_tabular.network.backend import keras, tf
from keras_tabular.network.features import (
    BIN_EQUATION,
    SCALE_EQUATION,
    Place,
    enclosing_slice,
)

# Constants of the finalizer of MurmurHash3: bits to shift by, and factors.
HASH_STEPS = (
    (16, 0x85EBCA6B),
    (13, 0xC2B2AE35),
    (16, 1),
)


class OneHot(NamedTuple):
    """The parts of a tensor with one-hot columns, whose number is n.

    Attributes:
        other_columns: The columns of the tensor that are not one-hot, float32, shape
            (batch, width - n).
        codes: The one-hot column that is not 0, or n if there is none, for each column
            of the table, int32, shape (batch, codes).
        values: The value of that column, float32, shape (batch, codes).
        place: The one-hot columns, which are neighbours.
        factors: What each of them is multiplied with, shape (n,); None for 1.
    """

    other_columns: tf.Tensor
    codes: tf.Tensor
    values: tf.Tensor
    place: slice
    factors: tf.Tensor | None = None


class BinPlaces(NamedTuple):
    """The bins of a batch of numbers.

    Attributes:
        whole: How many bins of each number are 1, int32, shape (batch, numbers).
        fraction: The value of the next bin, float32, shape (batch, numbers).
    """

    whole: tf.Tensor
    fraction: tf.Tensor


def add_lookups(model: keras.Model, batch_size: int) -> keras.Model:
    """Rebuild a network, with its own weights, to have the same bits on any CPU.

    The new network shares the weights, and the layers that need no change. Since a
    penalty belongs to a weight, `LookupDense` also changes how `model` adds up its L2
    penalties. So `model` should not be trained by itself any more.

    Args:
        model: A network that is trained.
        batch_size: Number of rows of a training step.
    """

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.Model):
            return add_lookups(layer, batch_size)
        if isinstance(layer, keras.layers.GlobalAveragePooling1D):
            return reproducible.OrderedMean(name=layer.name)
        if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense):
            return LookupDense(layer, batch_size)
        if isinstance(layer, keras.layers.Concatenate):
            return LookupConcatenate.from_config(layer.get_config())
        if type(layer) is keras.layers.Dropout and layer.noise_shape is None:
            return HashDropout(layer)
        return layer

    return keras.models.clone_model(model, clone_function=replace)


class MarkLookups(keras.layers.Identity):
    """Attach to the inputs of a network what lookups need.

    Args:
        places: Where the one-hot columns of each column of the table begin and end in
            the last input; each begins where the one before ends.
    """

    def __init__(self, places: list[Place]) -> None:
        super().__init__()
        self._place = enclosing_slice(places)
        sizes = [stop - start for start, stop in places]
        # 1 where a one-hot column is of a column of the table: (one-hot columns, codes)
        codes = np.eye(len(sizes), dtype=np.float32)
        self._is_of_code = np.repeat(codes, sizes, axis=0)

    def call(self, inputs: Any) -> Any:
        """Return the inputs, with `_places` and `_one_hot` attached."""
        tensors = keras.tree.flatten(inputs)
        for tensor in tensors:
            if len(tensor.shape) == 3:
                tensor._places = find_bin_places(tensor)
        if len(self._is_of_code):
            tensors[-1]._one_hot = self._find_one_hot(tensors[-1])
        return inputs

    def _find_one_hot(self, x: tf.Tensor) -> OneHot:
        n = len(self._is_of_code)
        one_hot = x[:, self._place]  # (batch, n)
        # At most one one-hot column of a code is not 0. So the sums of both products
        # have one term, and are exact.
        numbers = np.arange(n) - n
        number_by_code = numbers[:, None] * self._is_of_code  # (n, codes)
        is_set = tf.cast(one_hot != 0, tf.float32)
        codes = tf.matmul(is_set, number_by_code.astype(np.float32)) + n
        before = x[:, : self._place.start]
        after = x[:, self._place.stop :]
        return OneHot(
            other_columns=tf.concat([before, after], axis=1),
            codes=tf.cast(codes, tf.int32),
            values=one_hot @ self._is_of_code,
            place=self._place,
        )


class LookupConcatenate(keras.layers.Concatenate):
    """A `Concatenate` layer that passes on what lookups need."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Concatenate the tensors, of which one may have one-hot columns to look up."""
        output = super().call(inputs)
        is_marked = [hasattr(tensor, "_one_hot") for tensor in inputs]
        if sum(is_marked) != 1:
            return output
        number = is_marked.index(True)
        one_hot = inputs[number]._one_hot
        offset = sum(tensor.shape[1] for tensor in inputs[:number])
        start = one_hot.place.start + offset
        stop = one_hot.place.stop + offset
        parts = list(inputs)
        parts[number] = one_hot.other_columns
        output._one_hot = one_hot._replace(
            other_columns=tf.concat(parts, axis=1),
            place=slice(start, stop),
        )
        return output


class LookupDense(reproducible.ReproducibleDense):
    """A `ReproducibleDense` layer that is trained, and looks up rows if it can.

    It replaces the L2 penalty of the kernel by one that is added up on a grid. The
    kernel is that of `layer`, which therefore has the new penalty, too.

    Args:
        layer: The layer with the weights.
        batch_size: Number of rows of a training step.
    """

    def __init__(self, layer: keras.layers.Layer, batch_size: int) -> None:
        super().__init__(layer)
        self._batch_size = batch_size
        penalty = layer.kernel.regularizer

        def l2_on_grid(kernel: tf.Tensor) -> tf.Tensor:
            squares = reproducible.sum_on_grid(tf.square(kernel))
            return penalty.l2 * tf.squeeze(squares)

        if type(penalty) is keras.regularizers.L2:
            layer.kernel.regularizer = l2_on_grid

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Compute the layer, whose activation XLA compiles with the whole step."""
        x = self.multiply(inputs)
        activation = self.layer.activation
        if activation is keras.activations.softmax:
            return reproducible.softmax(x)
        return activation(x)

    def multiply(self, x: tf.Tensor) -> tf.Tensor:
        """Compute the product with the kernel, by lookups if possible; add the bias."""
        kernel = keras.ops.convert_to_tensor(self.layer.kernel)
        bias = []
        if self.layer.bias is not None:
            row_shape = self.compute_output_shape(x.shape)[1:]
            bias = [tf.broadcast_to(self.layer.bias, row_shape)]
        one_hot = getattr(x, "_one_hot", None)
        if self.equation == BIN_EQUATION and hasattr(x, "_places"):
            return bin_product(x._places, kernel, self._batch_size, *bias)
        if one_hot is not None:
            if self.equation == reproducible.DENSE_EQUATION:
                return self._multiply_one_hot(one_hot, kernel, *bias)
            if self.equation == SCALE_EQUATION and not bias and one_hot.factors is None:
                return self._scale_one_hot(x, one_hot, kernel)
        return self._multiply_exactly(x, kernel, *bias)

    def _multiply_exactly(
        self,
        x: tf.Tensor,
        kernel: tf.Tensor,
        *bias: tf.Tensor,
    ) -> tf.Tensor:
        return reproducible.training_product(
            self.equation,
            x,
            kernel,
            self._batch_size,
            *bias,
        )

    def _multiply_one_hot(
        self,
        one_hot: OneHot,
        kernel: tf.Tensor,
        *bias: tf.Tensor,
    ) -> tf.Tensor:
        """Multiply by the kernel of a `Dense` layer: float32, shape (batch, units)."""
        rows = kernel[one_hot.place]  # (n, units)
        other_rows = remove_rows(kernel, one_hot.place)
        product = self._multiply_exactly(one_hot.other_columns, other_rows, *bias)
        if one_hot.factors is not None:
            factors = one_hot.factors
            n_units = rows.shape[1]
            rows = reproducible.training_product("db,d->db", rows, factors, n_units)
        looked_up = row_sums(one_hot.codes, one_hot.values, rows, self._batch_size)
        return product + looked_up

    def _scale_one_hot(
        self,
        x: tf.Tensor,
        one_hot: OneHot,
        kernel: tf.Tensor,
    ) -> tf.Tensor:
        """Multiply each column by its factor, and leave the one-hot ones to lookups."""
        place = one_hot.place
        factors = kernel[place]
        other_factors = remove_rows(kernel, place)
        other_columns = self._multiply_exactly(one_hot.other_columns, other_factors)
        scaled = self._multiply_exactly(x[:, place], factors)
        before = other_columns[:, : place.start]
        after = other_columns[:, place.start :]
        output = tf.concat([before, scaled, after], axis=1)
        output._one_hot = one_hot._replace(other_columns=other_columns, factors=factors)
        return output


class HashDropout(keras.layers.Layer):
    """A `Dropout` that drops the values whose hash with the step's seed is low.

    XLA's code for Philox, from which Keras draws, takes 15 ns for a number, and this
    hash 1 ns. It is the finalizer of MurmurHash3 (Appleby, 2011), which mixes all bits
    of a number.
    """

    def __init__(self, layer: keras.layers.Dropout) -> None:
        super().__init__(name=layer.name)
        self.layer = layer
        self.supports_masking = True

    def call(
        self,
        inputs: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        """Drop values in training; the seed of the layer changes with each step."""
        rate = self.layer.rate
        if not training or not rate:
            return inputs
        state = self.layer.seed_generator.next()
        seed, step = tf.unstack(tf.cast(state, tf.uint32))
        numbers = tf.range(tf.size(inputs))
        numbers = tf.cast(numbers, tf.uint32)
        numbers = tf.reshape(numbers, tf.shape(inputs))
        random = mix_bits(numbers + mix_bits(step + mix_bits(seed)))
        is_kept = random >= np.uint32(rate * 2**32)
        return tf.where(is_kept, inputs / (1 - rate), 0)


def mix_bits(values: tf.Tensor) -> tf.Tensor:
    """Hash uint32 values, so that neighbouring values have unrelated hashes."""
    for shift, factor in HASH_STEPS:
        shifted = tf.bitwise.right_shift(values, np.uint32(shift))
        values = tf.bitwise.bitwise_xor(values, shifted)
        values *= np.uint32(factor)
    return values


def remove_rows(matrix: tf.Tensor, place: slice) -> tf.Tensor:
    """Return a tensor without some neighbouring rows."""
    before = matrix[: place.start]
    after = matrix[place.stop :]
    return tf.concat([before, after], axis=0)


def row_sums(
    codes: tf.Tensor,
    values: tf.Tensor,
    rows: tf.Tensor,
    batch_size: int,
) -> tf.Tensor:
    """Add up the rows that codes name, each multiplied with a value.

    Args:
        codes: Numbers of rows, or n for none, int32, shape (batch, codes).
        values: Float32, shape (batch, codes).
        rows: Float32, shape (n, units).
        batch_size: Largest number of rows of `codes`.

    Returns:
        Float32, shape (batch, units).
    """
    bits = reproducible.operand_bits(batch_size * codes.shape[1])
    values = reproducible.round_to_bits(values, bits)[:, :, None]  # (batch, codes, 1)
    n = rows.shape[0]

    @tf.custom_gradient
    def forward(rows: tf.Tensor) -> tuple[tf.Tensor, Any]:
        rows = reproducible.round_to_bits(rows, bits)
        # Row n, of zeros, is for no code.
        padded = tf.pad(rows, [[0, 1], [0, 0]])
        terms = values * tf.gather(padded, codes)  # (batch, codes, units)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            upstream = reproducible.round_to_bits(upstream, bits)  # (batch, units)
            terms = values * upstream[:, None]  # (batch, codes, units)
            sums = tf.math.unsorted_segment_sum(terms, codes, n + 1)  # (n + 1, units)
            return tf.cast(sums[:-1], tf.float32)

        sums = tf.reduce_sum(terms, axis=1)  # (batch, units)
        return tf.cast(sums, tf.float32), gradient

    return forward(rows)


def find_bin_places(bins: tf.Tensor) -> BinPlaces:
    """Find how many bins of each number are 1, and the fraction in the next one.

    Args:
        bins: Ones, then one fraction or none, then zeros; shape (batch, numbers, bins).
    """
    is_whole = bins >= 1
    not_whole = tf.where(is_whole, 0.0, bins)  # at most one of them is not 0
    fraction = tf.reduce_sum(not_whole, axis=2)
    ones = tf.cast(is_whole, tf.int32)
    return BinPlaces(tf.reduce_sum(ones, axis=2), fraction)


def bin_product(
    places: BinPlaces,
    kernel: tf.Tensor,
    batch_size: int,
    *bias: tf.Tensor,
) -> tf.Tensor:
    """Compute the product of bins with a kernel.

    Args:
        places: The bins of `batch_size` rows or fewer.
        kernel: Float32, shape (numbers, bins, units).
        batch_size: Number of rows of a training step.
        bias: One tensor to add to each row, or none.

    Returns:
        Float32, shape (batch, numbers, units).
    """
    n_numbers, n_bins, n_units = kernel.shape
    bits = reproducible.operand_bits(max(batch_size, *kernel.shape))
    # A bin of zeros follows the bins of each number, since all of them may be 1. `row`
    # is the row of the next bin in a matrix with all bins of all numbers.
    one_more_bin = [[0, 0], [0, 1], [0, 0]]
    padded_shape = (n_numbers, n_bins + 1, n_units)
    first_row = np.arange(n_numbers) * (n_bins + 1)
    row = places.whole + first_row  # (batch, numbers)
    one = tf.ones(())
    fraction = reproducible.round_to_bits(places.fraction, bits, largest=one)
    fraction = fraction[:, :, None]  # (batch, numbers, 1)

    @tf.custom_gradient
    def forward(
        kernel: tf.Tensor,
        *bias: tf.Tensor,
    ) -> tuple[tf.Tensor, Any]:
        kernel = reproducible.round_to_bits(kernel, bits)
        kernel = tf.pad(kernel, one_more_bin)
        sums_before = tf.cumsum(kernel, axis=1, exclusive=True)
        sums_before = tf.reshape(sums_before, [-1, n_units])
        whole = tf.gather(sums_before, row)  # (batch, numbers, units)
        kernel = tf.reshape(kernel, [-1, n_units])
        next_bin = tf.gather(kernel, row)  # (batch, numbers, units)
        product = whole + fraction * next_bin
        product = tf.cast(product, tf.float32)
        for row_to_add in bias:
            product += row_to_add

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            upstream = reproducible.round_to_bits(upstream, bits)
            gradients = [bin_gradient(upstream, row, fraction, padded_shape)[:, :-1]]
            if bias:
                gradients.append(tf.reduce_sum(upstream, axis=0))
            return [tf.cast(values, tf.float32) for values in gradients]

        return product, gradient

    return forward(kernel, *bias)


def bin_gradient(
    upstream: tf.Tensor,
    row: tf.Tensor,
    fraction: tf.Tensor,
    shape: tuple[int, int, int],
) -> tf.Tensor:
    """Compute the gradient of all rows of a kernel for bins: float64.

    Args:
        upstream: Gradient of the product, rounded, shape (batch, numbers, units).
        row: Row of the next bin, shape (batch, numbers).
        fraction: Value of the next bin, shape (batch, numbers, 1).
        shape: Shape of the result: numbers, bins, units.
    """
    n_numbers, n_bins, _ = shape
    n_rows = n_numbers * n_bins
    # The next bin has the gradient `shares`, and each bin before it `upstream`.
    shares = fraction * upstream
    for_before = tf.math.unsorted_segment_sum(upstream, row, n_rows)
    for_next = tf.math.unsorted_segment_sum(shares, row, n_rows)
    for_before = tf.reshape(for_before, shape)
    for_next = tf.reshape(for_next, shape)
    for_whole = tf.cumsum(
        for_before,
        axis=1,
        exclusive=True,
        reverse=True,
    )
    return for_whole + for_next
