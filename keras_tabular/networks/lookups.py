"""A network for training, in which products with one-hot columns and with bins are lookups.

The product with one-hot columns is one row of the kernel for each column of the table, and its
gradient adds to these rows only. The bins of a number are ones, then one fraction, then zeros. So
their product is the sum of the rows before the fraction, which is computed once for a batch, and a
share of one row. The sums have the same terms as in `reproducible.training_product`, without those
that are 0, and are as exact.

`add_lookups` clones a network for this. The clone shares the weights of the network, and reads
compact inputs, as `features.build_features` computes them.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.networks.backend import keras, tf
from keras_tabular.networks.reproducible import (
    ReproducibleDense,
    Shape,
    largest_magnitude,
    operand_bits,
    replace_layer,
    round_to_bits,
    training_product,
)

ops = keras.ops
SCALE = "bd,d->bd"  # the equation of a layer that multiplies each column by its own factor
BINS = "bck,cku->bcu"  # the equation of a layer that embeds bins


class OneHot(NamedTuple):
    """Neighbouring one-hot columns of a tensor, for which a compact tensor has codes.

    Attributes:
        start: Number of columns before them.
        values: What each column is where it is not 0, float32, shape (n,).
        n_codes: Number of columns of the table that they encode.
    """

    start: int
    values: np.ndarray
    n_codes: int

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + len(self.values))


class Places(NamedTuple):
    """The places of numbers in bins, see `features.bin_places`, and the number of bins."""

    tensor: keras.KerasTensor
    n_bins: int


class Compact(NamedTuple):
    """A tensor without its one-hot columns, and the codes that stand for them.

    Attributes:
        columns: The other columns, shape (rows, width).
        codes: Which one-hot column is not 0: its number, or their count if there is none, float32,
            shape (rows, codes).
        scale: The layer that multiplied the columns, and has a factor for the one-hot columns too.
        unscaled: The tensor that it multiplied.
    """

    columns: keras.KerasTensor
    codes: keras.KerasTensor
    one_hot: OneHot
    scale: keras.layers.Layer | None = None
    unscaled: keras.KerasTensor | None = None


def add_lookups(model: keras.Model, batch_size: int, one_hot: OneHot | None) -> keras.Model:
    """Clone a network, with the same weights, into one that is trained by lookups.

    Args:
        model: The network. Its inputs are those of `build` in network.py.
        batch_size: Number of rows of a training step.
        one_hot: The one-hot columns of its last input.

    Returns:
        A model with the same bits on any CPU. Instead of bins it reads their places, shape (rows,
        numbers, 2), and instead of one-hot columns their codes, behind the other columns.
    """
    inputs, places, compact = [], dict[int, Places](), dict[int, Compact]()
    for tensor in model.inputs:
        shape = tensor.shape[1:]
        if len(shape) == 2:
            inputs.append(keras.Input((shape[0], 2)))
            places[id(inputs[-1])] = Places(inputs[-1], shape[1])
        elif one_hot and tensor is model.inputs[-1]:
            width = shape[0] - len(one_hot.values)
            inputs.append(keras.Input((width + one_hot.n_codes,)))
            columns, codes = inputs[-1][:, :width], inputs[-1][:, width:]
            compact[id(inputs[-1])] = Compact(columns, codes, one_hot)
        else:
            inputs.append(keras.Input(shape))

    @cache
    def expand(tensor_id: int) -> keras.KerasTensor:
        """Build the bins or the one-hot columns, for a layer that is not computed by lookups."""
        if tensor_id in places:
            tensor, count = places[tensor_id]
            bins = ops.sum(tensor, axis=2, keepdims=True) - np.arange(count, dtype=np.float32)
            return ops.clip(bins, 0, 1)
        columns, codes, (start, values, _), scale, unscaled = compact[tensor_id]
        if scale:
            return ReproducibleDense(scale, batch_size)(expand(id(unscaled)))
        one_hot = ops.one_hot(ops.cast(codes, "int32"), len(values) + 1)
        one_hot = ops.sum(one_hot, axis=1)[:, :-1] * values
        return ops.concatenate([columns[:, :start], one_hot, columns[:, start:]], axis=1)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = keras.tree.flatten(args)
        equation = getattr(layer, "equation", "")
        found = [compact[id(tensor)] for tensor in tensors if id(tensor) in compact]
        if equation == BINS and id(tensors[0]) in places:
            return BinLookup(layer, batch_size)(tensors[0])
        if len(found) == 1:
            columns, codes, one_hot, scale, _ = found[0]
            if isinstance(layer, keras.layers.Concatenate) and scale is None:
                place = [id(tensor) in compact for tensor in tensors].index(True)
                start = one_hot.start + sum(tensor.shape[1] for tensor in tensors[:place])
                tensors[place] = columns
                output = keras.layers.Concatenate()(tensors)
                compact[id(output)] = Compact(output, codes, one_hot._replace(start=start))
                return output
            if equation == SCALE and scale is None:
                output = CompactScale(layer, batch_size, one_hot)(columns)
                compact[id(output)] = Compact(output, codes, one_hot, layer, tensors[0])
                return output
            if isinstance(layer, keras.layers.Dense):
                return LookupDense(layer, batch_size, one_hot, scale)([columns, codes])
        known = places | compact
        tensors = [expand(id(tensor)) if id(tensor) in known else tensor for tensor in tensors]
        args = keras.tree.pack_sequence_as(args, tensors)
        return replace_layer(layer, batch_size)(*args, **kwargs)

    return keras.models.clone_model(
        model,
        input_tensors=keras.tree.pack_sequence_as(model.input, inputs),
        clone_function=lambda layer: layer,
        call_function=call,
    )


class CompactScale(ReproducibleDense):
    """A layer that multiplies each column of a `Compact` tensor by its own factor."""

    def __init__(self, layer: keras.layers.EinsumDense, batch_size: int, one_hot: OneHot) -> None:
        super().__init__(layer, batch_size, one_hot.columns)
        self.name = f"{layer.name}-compact"  # the expanded tensor may be scaled too

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class LookupDense(ReproducibleDense):
    """A `Dense` layer that reads the columns and the codes of a `Compact` tensor."""

    def __init__(
        self,
        layer: keras.layers.Dense,
        batch_size: int,
        one_hot: OneHot,
        scale: keras.layers.Layer | None,
    ) -> None:
        super().__init__(layer, batch_size, one_hot.columns)
        self._values = one_hot.values[:, None]
        # A function, or Keras would take it for a part of this layer.
        self._scale: Callable[[], keras.layers.Layer | None] = lambda: scale

    def compute_output_shape(self, input_shape: Any) -> Shape:
        return super().compute_output_shape(input_shape[0])

    def multiply(self, inputs: Any, *bias: tf.Tensor) -> tf.Tensor:
        columns, codes = inputs
        rows = ops.convert_to_tensor(self.layer.kernel)[self.left_out] * self._values
        if scale := self._scale():
            factors = ops.convert_to_tensor(scale.kernel)[self.left_out]
            rows = training_product("db,d->db", rows, factors, rows.shape[1])
        return super().multiply(columns, *bias) + add_rows(rows, codes, self.batch_size)


class BinLookup(ReproducibleDense):
    """An `EinsumDense` layer for bins that reads their places, see `features.bin_places`."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self.layer.kernel.shape[::2])

    def multiply(self, inputs: tf.Tensor, *bias: tf.Tensor) -> tf.Tensor:
        return bin_product(inputs, ops.convert_to_tensor(self.layer.kernel), self.batch_size, *bias)


def add_rows(rows: tf.Tensor, codes: tf.Tensor, batch_size: int) -> tf.Tensor:
    """Add up the rows that codes name, with exact sums.

    Args:
        rows: Float32, shape (n, units).
        codes: Numbers of rows, or n for none, float32, shape (batch, codes).
        batch_size: Largest number of rows of `codes`.

    Returns:
        Float32, shape (batch, units).
    """
    codes, count = tf.cast(codes, tf.int32), rows.shape[0]
    bits = 2 * operand_bits(batch_size * codes.shape[1])  # no products, so twice as many

    @tf.custom_gradient
    def add_up(rows: tf.Tensor) -> tuple[tf.Tensor, Any]:
        rows = round_to_bits(rows, bits, largest_magnitude(rows))
        rows = tf.pad(rows, [[0, 1], [0, 0]])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            upstream = round_to_bits(upstream, bits, largest_magnitude(upstream))
            repeated = tf.repeat(upstream, codes.shape[1], axis=0)
            sums = tf.math.unsorted_segment_sum(repeated, tf.reshape(codes, [-1]), count + 1)
            return tf.cast(sums[:-1], tf.float32)

        return tf.cast(tf.reduce_sum(tf.gather(rows, codes), axis=1), tf.float32), gradient

    return add_up(rows)


def bin_product(
    places: tf.Tensor, kernel: tf.Tensor, batch_size: int, *bias: tf.Tensor
) -> tf.Tensor:
    """Compute the product of bins with a kernel, with exact sums.

    Args:
        places: The bins, see `features.bin_places`.
        kernel: Float32, shape (numbers, bins, units).
        batch_size: Largest number of rows of `places`.
        bias: One tensor to add to each row, or none.

    Returns:
        Float32, shape (batch, numbers, units).
    """
    shape, bits = kernel.shape, operand_bits(max(batch_size, *kernel.shape))
    row = tf.cast(places[..., 0], tf.int32) + tf.range(shape[0]) * shape[1]
    share = round_to_bits(places[..., 1:], bits, tf.ones(()))

    @tf.custom_gradient
    def forward(kernel: tf.Tensor, *bias: tf.Tensor) -> tuple[tf.Tensor, Any]:
        kernel = round_to_bits(kernel, bits, largest_magnitude(kernel))
        tables = (tf.cumsum(kernel, axis=1, exclusive=True), kernel)
        before, at_place = (tf.gather(tf.reshape(t, [-1, shape[2]]), row) for t in tables)

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            upstream = round_to_bits(upstream, bits, largest_magnitude(upstream))
            whole, shares = (
                tf.reshape(tf.math.unsorted_segment_sum(t, row, shape[0] * shape[1]), shape)
                for t in (upstream, share * upstream)
            )
            of_kernel = tf.cumsum(whole, axis=1, exclusive=True, reverse=True) + shares
            sums = [of_kernel, *(tf.reduce_sum(upstream, axis=0) for _ in bias)]
            return [tf.cast(values, tf.float32) for values in sums]

        return sum(bias, tf.cast(before + share * at_place, tf.float32)), gradient

    return forward(kernel, *bias)
