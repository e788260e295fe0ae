"""Products of a training step with one-hot columns and bins, as lookups.

The values of a one-hot column are nearly all 0, so its product with a kernel is mostly
a sum of zeros. A lookup takes the row of the kernel for the column that is not 0, and
the gradient adds to this row alone: `row_sums`.

The bins of a number are ones, then one fraction, then zeros. Their product is the sum
of the rows before the fraction, which is computed once for a batch, and a share of one
row: `bin_product`.

Results are as exact as those of `reproducible.training_product`.

A Keras layer gets nothing but tensors from the layer before. So what a lookup needs is
an attribute of a tensor, as the logits of probabilities are in Keras. `LookupDense`
reads the attributes, and multiplies a tensor without them as usual:

- `_one_hot`, a `OneHot`: `MarkLookups` attaches it to the last input of a network. From
  there, `LookupConcatenate` and the learnt scale pass it on to their results.
- `_places`, a `BinPlaces`: `MarkLookups` attaches it to the bins.

Any other layer reads the tensor itself. XLA computes that tensor only if there is such
a layer.
"""

from typing import Any, NamedTuple

import numpy as np

from keras_tabular.network import reproducible
from keras_tabular.network.backend import KerasTensor, Tensor, keras, tf
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

    other_columns: Tensor
    codes: Tensor
    values: Tensor
    place: slice
    factors: Tensor | None = None


class BinPlaces(NamedTuple):
    """The bins of a batch of numbers.

    Attributes:
        whole: How many bins of each number are 1, int32, shape (batch, numbers).
        fraction: The value of the next bin, float32, shape (batch, numbers).
    """

    whole: Tensor
    fraction: Tensor


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
        # Each column of the table has a code: the number of its column that is not 0.
        # 1 where a one-hot column belongs to a code: (one-hot columns, codes)
        identity = np.eye(len(sizes), dtype=np.float32)
        self._belongs_to_code = np.repeat(identity, sizes, axis=0)

    def call(self, inputs: Any) -> Any:
        """Return the inputs, with `_places` and `_one_hot` attached."""
        tensors = keras.tree.flatten(inputs)
        for tensor in tensors:
            if len(tensor.shape) == 3:
                tensor._places = find_bin_places(tensor)
        if len(self._belongs_to_code):
            tensors[-1]._one_hot = self._find_one_hot(tensors[-1])
        return inputs

    def _find_one_hot(self, x: Tensor) -> OneHot:
        n = len(self._belongs_to_code)
        one_hot = x[:, self._place]  # (batch, n)
        # At most one column of a code is not 0. So the sums of both products have one
        # term, and are exact.
        values = one_hot @ self._belongs_to_code  # (batch, codes)
        numbers = np.arange(n, dtype=np.float32)[:, None] * self._belongs_to_code
        is_set = tf.cast(one_hot != 0, tf.float32)
        number_of_set_column = is_set @ numbers  # (batch, codes)
        codes = tf.where(values != 0, number_of_set_column, n)
        before = x[:, : self._place.start]
        after = x[:, self._place.stop :]
        return OneHot(
            other_columns=tf.concat([before, after], axis=1),
            codes=tf.cast(codes, tf.int32),
            values=values,
            place=self._place,
        )


class LookupConcatenate(keras.layers.Concatenate):
    """A `Concatenate` layer that passes on what lookups need."""

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Concatenate the tensors, of which one may have one-hot columns to look up."""
        output = super().call(inputs)
        is_marked = [hasattr(tensor, "_one_hot") for tensor in inputs]
        if sum(is_marked) != 1:
            return output
        marked = is_marked.index(True)
        one_hot = inputs[marked]._one_hot
        offset = sum(tensor.shape[1] for tensor in inputs[:marked])
        place = one_hot.place
        parts = list(inputs)
        parts[marked] = one_hot.other_columns
        output._one_hot = one_hot._replace(
            other_columns=tf.concat(parts, axis=1),
            place=slice(place.start + offset, place.stop + offset),
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

    compiles_activation = False  # XLA compiles the whole step

    def __init__(self, layer: keras.layers.Layer, batch_size: int) -> None:
        super().__init__(layer)
        self._batch_size = batch_size
        penalty = layer.kernel.regularizer

        def l2_on_grid(kernel: Tensor) -> Tensor:
            squares = reproducible.sum_on_grid(tf.square(kernel))
            return penalty.l2 * tf.squeeze(squares)

        if type(penalty) is keras.regularizers.L2:
            layer.kernel.regularizer = l2_on_grid

    def multiply(self, x: Tensor) -> Tensor:
        """Compute the product with the kernel, by lookups if possible; add the bias."""
        kernel = keras.ops.convert_to_tensor(self.layer.kernel)
        bias = None
        if self.layer.bias is not None:
            row_shape = self.compute_output_shape(x.shape)[1:]
            bias = tf.broadcast_to(self.layer.bias, row_shape)
        has_bins = self.equation == BIN_EQUATION and hasattr(x, "_places")
        if has_bins and bias is not None:
            return bin_product(x._places, kernel, self._batch_size, bias)
        one_hot = getattr(x, "_one_hot", None)
        if one_hot is not None:
            if self.equation == reproducible.DENSE_EQUATION:
                return self._multiply_one_hot(one_hot, kernel, bias)
            is_scale = self.equation == SCALE_EQUATION and bias is None
            if is_scale and one_hot.factors is None:
                return self._scale_one_hot(x, one_hot, kernel)
        return self._multiply_exactly(x, kernel, bias)

    def _multiply_exactly(
        self,
        x: Tensor,
        kernel: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        return reproducible.training_product(
            self.equation,
            x,
            kernel,
            self._batch_size,
            bias,
        )

    def _multiply_one_hot(
        self,
        one_hot: OneHot,
        kernel: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Multiply by the kernel of a `Dense` layer: float32, shape (batch, units)."""
        rows = kernel[one_hot.place]  # (n, units)
        other_rows = remove_rows(kernel, one_hot.place)
        product = self._multiply_exactly(one_hot.other_columns, other_rows, bias)
        if one_hot.factors is not None:
            rows = reproducible.training_product(
                "nu,n->nu",
                rows,
                one_hot.factors,
                max_terms=rows.shape[1],
            )
        looked_up = row_sums(one_hot.codes, one_hot.values, rows, self._batch_size)
        return product + looked_up

    def _scale_one_hot(
        self,
        x: Tensor,
        one_hot: OneHot,
        kernel: Tensor,
    ) -> Tensor:
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

    def call(
        self,
        inputs: KerasTensor,
        training: bool = False,
    ) -> KerasTensor:
        """Drop values in training; the seed of the layer changes with each step."""
        rate = self.layer.rate
        if not training or not rate:
            return inputs
        state = self.layer.seed_generator.next()
        seed, step = tf.unstack(tf.cast(state, tf.uint32))
        hash_of_step = mix_bits(step + mix_bits(seed))
        numbers = tf.range(tf.size(inputs))
        numbers = tf.cast(numbers, tf.uint32)
        numbers = tf.reshape(numbers, tf.shape(inputs))
        random = mix_bits(numbers + hash_of_step)
        is_kept = random >= np.uint32(rate * 2**32)
        return tf.where(is_kept, inputs / (1 - rate), 0)


def mix_bits(values: Tensor) -> Tensor:
    """Hash uint32 values, so that neighbouring values have unrelated hashes."""
    for shift, factor in HASH_STEPS:
        shifted = tf.bitwise.right_shift(values, np.uint32(shift))
        values = tf.bitwise.bitwise_xor(values, shifted)
        values *= np.uint32(factor)
    return values


def remove_rows(matrix: Tensor, place: slice) -> Tensor:
    """Return a tensor without some neighbouring rows."""
    before = matrix[: place.start]
    after = matrix[place.stop :]
    return tf.concat([before, after], axis=0)


def row_sums(
    codes: Tensor,
    values: Tensor,
    rows: Tensor,
    batch_size: int,
) -> Tensor:
    """Add up the rows that codes name, each multiplied with a value.

    Args:
        codes: Numbers of rows, or n for none, int32, shape (batch, codes).
        values: Float32, shape (batch, codes).
        rows: Float32, shape (n, units).
        batch_size: Largest number of rows of `codes`.

    Returns:
        Float32, shape (batch, units).
    """
    n = rows.shape[0]
    bits = reproducible.operand_bits(batch_size * codes.shape[1])
    factors = reproducible.round_to_bits(values, bits)[:, :, None]  # (batch, codes, 1)

    @tf.custom_gradient
    def look_up(rows: Tensor) -> tuple[Tensor, Any]:
        rounded_rows = reproducible.round_to_bits(rows, bits)
        # Row n, of zeros, is for no code.
        rows_and_zeros = tf.pad(rounded_rows, [[0, 1], [0, 0]])
        terms = factors * tf.gather(rows_and_zeros, codes)  # (batch, codes, units)
        sums = tf.reduce_sum(terms, axis=1)  # (batch, units)

        def gradient(upstream: Tensor) -> Tensor:
            upstream = reproducible.round_to_bits(upstream, bits)  # (batch, units)
            shares = factors * upstream[:, None]  # (batch, codes, units)
            by_row = tf.math.unsorted_segment_sum(shares, codes, n + 1)
            return tf.cast(by_row[:-1], tf.float32)  # (n, units)

        return tf.cast(sums, tf.float32), gradient

    return look_up(rows)


def find_bin_places(bins: Tensor) -> BinPlaces:
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
    kernel: Tensor,
    batch_size: int,
    bias: Tensor,
) -> Tensor:
    """Compute the product of bins with a kernel, and add a bias.

    Args:
        places: The bins of `batch_size` rows or fewer.
        kernel: Float32, shape (numbers, bins, units).
        batch_size: Number of rows of a training step.
        bias: What to add to each row, shape (numbers, units).

    Returns:
        Float32, shape (batch, numbers, units).
    """
    n_numbers, n_bins, n_units = kernel.shape
    bits = reproducible.operand_bits(max(batch_size, *kernel.shape))
    # All bins of a number may be 1. So a bin of zeros follows as the next one.
    shape = (n_numbers, n_bins + 1, n_units)
    # Row of the next bin in a matrix with all bins of all numbers: (batch, numbers).
    next_row = places.whole + np.arange(n_numbers) * (n_bins + 1)
    one = tf.ones(())
    fraction = reproducible.round_to_bits(places.fraction, bits, largest=one)
    fraction = fraction[:, :, None]  # (batch, numbers, 1)

    @tf.custom_gradient
    def multiply(kernel: Tensor, bias: Tensor) -> tuple[Tensor, Any]:
        rounded_kernel = reproducible.round_to_bits(kernel, bits)
        bins = tf.pad(rounded_kernel, [[0, 0], [0, 1], [0, 0]])
        sums_before = tf.cumsum(bins, axis=1, exclusive=True)
        bin_rows = tf.reshape(bins, [-1, n_units])
        sum_rows = tf.reshape(sums_before, [-1, n_units])
        whole = tf.gather(sum_rows, next_row)  # (batch, numbers, units)
        next_bin = tf.gather(bin_rows, next_row)  # (batch, numbers, units)
        product = whole + fraction * next_bin
        product = tf.cast(product, tf.float32)

        def gradient(upstream: Tensor) -> list[Tensor]:
            upstream = reproducible.round_to_bits(upstream, bits)
            of_bins = bin_gradient(upstream, next_row, fraction, shape)
            of_kernel = of_bins[:, :-1]  # without the bin of zeros
            of_bias = tf.reduce_sum(upstream, axis=0)
            return [
                tf.cast(of_kernel, tf.float32),
                tf.cast(of_bias, tf.float32),
            ]

        return product + bias, gradient

    return multiply(kernel, bias)


def bin_gradient(
    upstream: Tensor,
    next_row: Tensor,
    fraction: Tensor,
    shape: tuple[int, int, int],
) -> Tensor:
    """Compute the gradient of all rows of a kernel for bins: float64.

    Args:
        upstream: Gradient of the product, rounded, shape (batch, numbers, units).
        next_row: Row of the next bin, shape (batch, numbers).
        fraction: Value of the next bin, shape (batch, numbers, 1).
        shape: Shape of the result: numbers, bins, units.
    """
    n_numbers, n_bins, _ = shape
    n_rows = n_numbers * n_bins
    # The next bin was multiplied by its fraction.
    shares = fraction * upstream
    for_next = tf.math.unsorted_segment_sum(shares, next_row, n_rows)
    for_next = tf.reshape(for_next, shape)
    # Each bin before the next one was multiplied by 1.
    by_next_bin = tf.math.unsorted_segment_sum(upstream, next_row, n_rows)
    by_next_bin = tf.reshape(by_next_bin, shape)
    for_whole = tf.cumsum(by_next_bin, axis=1, exclusive=True, reverse=True)
    return for_whole + for_next
