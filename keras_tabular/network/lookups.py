"""Products of a training step with one-hot columns and bins, as lookups.

A product with one-hot columns is one row of the kernel for each column of the table,
and its gradient adds to these rows only. The bins of a number are ones, then one
fraction, then zeros, so that their product is the sum of the rows before the fraction,
which is computed once for a batch, and a share of one row. The terms are those of
`reproducible.training_product` without the zeros, and their sums are as exact.

`MarkLookups` attaches to a tensor what lookups need. The layers of `add_lookups` use
it, and pass it on. Any other layer reads the tensor itself, which XLA leaves out if no
layer does.
"""

from typing import Any, NamedTuple

import numpy as np

from keras_tabular.network import reproducible
from keras_tabular.network.backend import keras, tf

# Equations of layers: a `Dense` layer, a factor for each column, and an embedding of
# bins.
DENSE = "bk,kn->bn"
SCALE = "bd,d->bd"
BINS = "bck,cku->bcu"


class OneHot(NamedTuple):
    """The parts of a tensor with one-hot columns: its attribute `_one_hot`.

    Attributes:
        columns: The other columns, float32, shape (batch, width - n).
        codes: The one-hot column that is not 0, or n if there is none, for each column
            of the table, int32, shape (batch, codes).
        values: The value of that column, float32, shape (batch, codes).
        place: The one-hot columns, which are neighbours.
        factors: What each of them is multiplied with, shape (n,); None for 1.
    """

    columns: tf.Tensor
    codes: tf.Tensor
    values: tf.Tensor
    place: slice
    factors: tf.Tensor | None = None


def add_lookups(model: keras.Model, batch_size: int) -> keras.Model:
    """Clone a network, with the same weights, into one that has the same bits on any CPU.

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
        if (
            type(layer) is keras.layers.Dropout
            and layer.rate < 1
            and layer.noise_shape is None
        ):
            return HashDropout(layer)
        return layer

    return keras.models.clone_model(model, clone_function=replace)


class MarkLookups(keras.layers.Identity):
    """Attach to the inputs of a network what lookups need.

    Args:
        places: Where the one-hot columns of each column of the table begin and end in
            the last input; each begins where the one before ends.
    """

    def __init__(self, places: list[tuple[int, int]]) -> None:
        super().__init__()
        self._place = slice(places[0][0], places[-1][1]) if places else slice(0)
        # The product with one number that is not 0 is exact.
        sizes = [stop - start for start, stop in places]
        self._is_of_code = np.repeat(
            np.eye(len(sizes), dtype=np.float32),
            sizes,
            axis=0,
        )

    def call(self, inputs: Any) -> Any:
        tensors = keras.tree.flatten(inputs)
        for tensor in tensors:
            if len(tensor.shape) == 3:
                tensor._places = bin_places(tensor)
        if n := len(self._is_of_code):
            one_hot = tensors[-1][:, self._place]
            numbers = (np.arange(n)[:, None] - n) * self._is_of_code
            codes = (
                tf.matmul(tf.cast(one_hot != 0, tf.float32), numbers.astype(np.float32))
                + n
            )
            columns = without(tensors[-1], self._place, 1)
            values = one_hot @ self._is_of_code
            tensors[-1]._one_hot = OneHot(
                columns,
                tf.cast(codes, tf.int32),
                values,
                self._place,
            )
        return inputs


class LookupConcatenate(keras.layers.Concatenate):
    """A `Concatenate` layer that passes on what lookups need."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        output = super().call(inputs)
        numbers = [number for number, x in enumerate(inputs) if hasattr(x, "_one_hot")]
        if len(numbers) == 1:
            one_hot = inputs[numbers[0]]._one_hot
            before = inputs[: numbers[0]]
            after = inputs[numbers[0] + 1 :]
            start = one_hot.place.start + sum(tensor.shape[1] for tensor in before)
            place = slice(start, start + one_hot.place.stop - one_hot.place.start)
            columns = tf.concat([*before, one_hot.columns, *after], axis=1)
            output._one_hot = one_hot._replace(columns=columns, place=place)
        return output


class LookupDense(reproducible.ReproducibleDense):
    """A `ReproducibleDense` layer that is trained, and looks up rows of its kernel if it can.

    Args:
        layer: The layer with the weights.
        batch_size: Number of rows of a training step.
    """

    def __init__(self, layer: keras.layers.Layer, batch_size: int) -> None:
        super().__init__(layer)
        self._batch_size = batch_size
        penalty = layer.kernel.regularizer
        if type(penalty) is keras.regularizers.L2:
            layer.kernel.regularizer = lambda kernel: (
                penalty.l2 * tf.squeeze(reproducible.sum_on_grid(tf.square(kernel)))
            )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = self.multiply(inputs)
        activation = self.layer.activation
        return (
            reproducible.softmax(x)
            if activation is keras.activations.softmax
            else activation(x)
        )

    def multiply(self, x: tf.Tensor) -> tf.Tensor:
        kernel = keras.ops.convert_to_tensor(self.layer.kernel)
        bias = []
        if self.layer.bias is not None:
            shape = self.compute_output_shape(x.shape)[1:]
            bias = [
                tf.broadcast_to(keras.ops.convert_to_tensor(self.layer.bias), shape),
            ]
        size = self._batch_size
        one_hot = getattr(x, "_one_hot", None)
        if self.equation == BINS and hasattr(x, "_places"):
            return bin_product(*x._places, kernel, size, *bias)
        is_scale = (
            self.equation == SCALE and not bias and one_hot and one_hot.factors is None
        )
        if one_hot is None or not (is_scale or self.equation == DENSE):
            return reproducible.training_product(self.equation, x, kernel, size, *bias)
        place, rows = one_hot.place, kernel[one_hot.place]
        rest = without(kernel, place, 0)
        columns = reproducible.training_product(
            self.equation,
            one_hot.columns,
            rest,
            size,
            *bias,
        )
        if is_scale:
            scaled = reproducible.training_product(SCALE, x[:, place], rows, size)
            parts = [columns[:, : place.start], scaled, columns[:, place.start :]]
            output = tf.concat(parts, axis=1)
            output._one_hot = one_hot._replace(columns=columns, factors=rows)
            return output
        if one_hot.factors is not None:
            rows = reproducible.training_product(
                "db,d->db",
                rows,
                one_hot.factors,
                rows.shape[1],
            )
        return columns + row_sums(one_hot.codes, one_hot.values, rows, size)


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

    def compute_output_shape(
        self,
        input_shape: reproducible.Shape,
    ) -> reproducible.Shape:
        return input_shape

    def call(
        self,
        inputs: keras.KerasTensor,
        training: bool = False,
    ) -> keras.KerasTensor:
        if not training or not self.layer.rate:
            return inputs
        seed, step = tf.unstack(tf.cast(self.layer.seed_generator.next(), tf.uint32))
        number = tf.reshape(
            tf.cast(tf.range(tf.size(inputs)), tf.uint32),
            tf.shape(inputs),
        )
        random = mix_bits(number + mix_bits(step + mix_bits(seed)))
        is_kept = random >= np.uint32(self.layer.rate * 2**32)
        return tf.where(is_kept, inputs / (1 - self.layer.rate), 0)


def mix_bits(values: tf.Tensor) -> tf.Tensor:
    """Hash uint32 values, so that neighbouring values have unrelated hashes."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        values = tf.bitwise.bitwise_xor(
            values,
            tf.bitwise.right_shift(values, np.uint32(shift)),
        )
        values *= np.uint32(factor)
    return values


def without(values: tf.Tensor, place: slice, axis: int) -> tf.Tensor:
    """Return a matrix without some neighbouring rows or columns."""
    before = slice(place.start)
    after = slice(place.stop, None)
    parts = (
        [values[before], values[after]]
        if axis == 0
        else [values[:, before], values[:, after]]
    )
    return tf.concat(parts, axis)


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
    values = reproducible.round_to_bits(values, bits)[:, :, None]

    @tf.custom_gradient
    def forward(rows: tf.Tensor) -> tuple[tf.Tensor, Any]:
        count = rows.shape[0]
        rows = reproducible.round_to_bits(rows, bits)
        terms = values * tf.gather(tf.pad(rows, [[0, 1], [0, 0]]), codes)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            upstream = reproducible.round_to_bits(upstream, bits)
            terms = values * upstream[:, None]
            sums = tf.math.unsorted_segment_sum(terms, codes, count + 1)
            return tf.cast(sums[:-1], tf.float32)

        return tf.cast(tf.reduce_sum(terms, axis=1), tf.float32), gradient

    return forward(rows)


def bin_places(bins: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return how many bins of each number are 1, int32, and the fraction in the next one, float32.

    Args:
        bins: Ones, then one fraction or none, then zeros; shape (batch, numbers, bins).
    """
    is_whole = bins >= 1
    fractions = tf.reduce_sum(tf.where(is_whole, 0.0, bins), axis=2)  # the others are 0
    return tf.reduce_sum(tf.cast(is_whole, tf.int32), axis=2), fractions


def bin_product(
    place: tf.Tensor,
    fraction: tf.Tensor,
    kernel: tf.Tensor,
    batch_size: int,
    *bias: tf.Tensor,
) -> tf.Tensor:
    """Compute the product of bins with a kernel.

    Args:
        place: The first result of `bin_places`, shape (batch, numbers).
        fraction: The second one.
        kernel: Float32, shape (numbers, bins, units).
        batch_size: Largest number of rows of `place`.
        bias: One tensor to add to each row, or none.

    Returns:
        Float32, shape (batch, numbers, units).
    """
    numbers, n_bins, units = kernel.shape
    bits = reproducible.operand_bits(max(batch_size, *kernel.shape))
    row = place + np.arange(numbers) * (n_bins + 1)
    fraction = reproducible.round_to_bits(fraction, bits, tf.ones(()))[:, :, None]

    @tf.custom_gradient
    def forward(kernel: tf.Tensor, *bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        kernel = reproducible.round_to_bits(kernel, bits)
        kernel = tf.pad(kernel, [[0, 0], [0, 1], [0, 0]])  # all bins may be 1
        before = tf.cumsum(kernel, axis=1, exclusive=True)
        whole, next_row = (
            tf.gather(tf.reshape(t, [-1, units]), row) for t in (before, kernel)
        )

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            upstream = reproducible.round_to_bits(upstream, bits)
            terms = (upstream, fraction * upstream)
            n_rows = numbers * (n_bins + 1)
            sums = [
                tf.math.unsorted_segment_sum(values, row, n_rows) for values in terms
            ]
            of_whole, of_fraction = (
                tf.reshape(values, kernel.shape) for values in sums
            )
            of_kernel = (
                tf.cumsum(of_whole, axis=1, exclusive=True, reverse=True) + of_fraction
            )
            sums = [of_kernel[:, :-1], *(tf.reduce_sum(upstream, axis=0) for _ in bias)]
            return [tf.cast(values, tf.float32) for values in sums]

        return sum(bias, tf.cast(whole + fraction * next_row, tf.float32)), gradient

    return forward(kernel, *bias)
