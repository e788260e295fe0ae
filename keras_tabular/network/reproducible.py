"""Networks with the same bits on every CPU, and what makes two runs equal.

The same inputs, parameters and locked packages give the same bytes for every output: in
any folder, with any number of threads and workers, after a kill, under Linux on x86-64
and on ARM64. The exceptions come after the list. This is every source of a difference,
what removes it, and where (modules are those of `keras_tabular`):

Arithmetic of the networks
  - Order of the additions in a matrix product, which depends on the CPU and on the
    threads. Operands are rounded so that every sum of products is exact in float64, in
    any order: `network.reproducible.training_product`,
    `network.reproducible.prediction_product`, and `network.lookups` for one-hot columns
    and bins.
  - Order of the additions in losses, the absolute error, L2 penalties and softmax.
    Values are rounded to a grid on which sums are exact:
    `network.reproducible.sum_on_grid`. The members of an ensemble are added in their
    order: `network.reproducible.OrderedMean`.
  - Fused multiply-adds, wide vectors, estimates of 1 / sqrt(x), and reductions by
    YNNPACK, which has other kernels on other CPUs. Flags of the compiler XLA turn them
    off: `network.backend.XLA_FLAGS`.
  - exp, log, tanh and powers, for which TensorFlow has other kernels on other CPUs. XLA
    compiles them: `training.trainer.Graph` for a whole step of training (its optimizer
    too), and `network.reproducible.compile_by_xla` for a prediction.
  - Which other rows are in a batch that a saved model predicts. Each row is rounded by
    itself, and one graph serves all batch sizes:
    `network.reproducible.prediction_product`, `model.saved_model.SavedModel`.
  - Number of TensorFlow's and OpenBLAS's threads, oneDNN's kernels, and GPUs. An
    operation has one thread, oneDNN is off, and a GPU is hidden unless `TABULAR_GPU` is
    1: `network.backend`, `core.process`.
Arithmetic of the preparation
  - Sums over the training rows. NumPy and Arrow have one order for them on all CPUs,
    and parts of a table are added in their order (`table.profile.Summary`). Products of
    matrices depend on the CPU: correlations are sums of integers
    (`network.features.relevance`), and the regressions on texts multiply float32 values
    in float64, row by row (`network.texts.fit_ridge`).
  - Sines are read from a rounded table (`network.statistics.cyclic_encoding`), and time
    zones from the package tzdata, whatever the system has (`table.cells.time_zone`).
Randomness
  - Initial weights and dropout. Each network of an architecture has its own seed,
    `train.seed` plus its number, which is set under a lock:
    `training.architecture.Architecture`, `training.rounds.train_to_snapshot`. That
    TensorFlow then draws the same numbers on every CPU is checked by `make check-cpu`.
  - Order of the rows. NumPy draws it from the seed of the network and the number of the
    epoch or cycle: `training.trainer.Trainer`. All other draws, such as the folds, come
    from generators of NumPy whose seeds are parameters or constants.
  - Python's hash of a string, which is another one in each process. A split by hash
    uses SipHash with `split.seed` as its key: `table.groups.stable_hashes`.
Order of work
  - Number of workers, and which one ends first. Results come in the order of their
    items, and no item depends on another: `core.parallel.ordered_map`.
  - Order of files, and sizes of DuckDB's batches. Parts are sorted by name, and batches
    are cut again: `table.parquet.part_paths`, `table.parquet.regroup_rows`.
  - A kill. A snapshot contains weights, optimizer and seeds bit for bit, and is only
    used with the same code, packages, parameters and tables:
    `training.checkpoint.identity`.
Decisions
  - NumPy's exp and log differ in the last bit between CPUs. Losses are rounded before
    they are compared, so that a tie is decided the same way everywhere:
    `table.arrays.round_for_comparison`.
Files
  - A Keras file contains its date, addresses of objects and times of zip entries. They
    are removed, and its entries are sorted: `network.record.replace_metadata`.
  - The pages of a Parquet file depend on how a table is divided in memory. Each part is
    written as one piece: `table.parquet.regroup_rows`, `table.splits.write_new_parts`.
  - JSON and CSV: nine significant digits, no negative zero, UTF-8 and line feeds
    whatever the locale, and sorted keys in JSON: `core.files.write_json`,
    `core.files.write_points`.
  - The losses of held-out rows in the learning curve, which NumPy computes, are the
    same only with six decimals: `training.ensemble.write_curve`.
  - Versions of code and packages. requirements.txt locks packages by hash, and dvc.lock
    the inputs, parameters and code of each stage.

For some models this is not enough, and only the same CPU gives the same bytes: those
with `train.exact: false` (plain products), layers that cannot be stacked, a GPU, or
another kind of machine. `training.ensemble.build_record` records that in the model. The
linear baseline is scikit-learn's, whose last digit may differ on another CPU. `make
check-cpu` compares CPUs with tests/same_bytes.py.

Exact products: a sum of products depends on their order unless no addition rounds. So
both operands are first rounded to b bits below the power of two above their largest
value. Then a product has 2 b bits, and a sum of K products has 2 b + log2 K bits. If
that is at most 53, the sum is exact in float64 in any order. This is the pre-rounding
of Demmel and Nguyen, "Fast reproducible floating-point summation" (2013), and the
splitting of Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix
multiplication" (2012), with one slice. A rounded operand has 20 bits or more if a sum
has up to 8,192 products; a float32 has 24.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from keras_tabular.network.backend import keras, tf
from keras_tabular.table.arrays import Inputs

# Bits of the mantissa of a float64.
FLOAT64_BITS = 53
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
# Numbers of rows to which the rows to predict are filled up. The smallest one is for a
# server, where it is 6 times faster than the next one.
BATCH_SIZES = (16, 256, 1024)
# Multiply-adds per row; above, 1024 rows leave the caches.
MAX_WORK_OF_LARGE_BATCHES = 1_000_000
# Multiply-adds that take as long as a character of a text.
WORK_PER_CHARACTER = 2_600
Shape = tuple[int | None, ...]


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

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(name=layer.name)
        self.layer = layer
        self.equation = getattr(layer, "equation", DENSE_EQUATION)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the output of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Compute the layer, with an activation that is compiled by XLA."""
        activation = self.layer.activation
        if activation is keras.activations.softmax:
            activation = softmax
        if activation not in ACTIVATIONS_WITHOUT_APPROXIMATION:
            activation = compile_activation(activation)
        return activation(self.multiply(inputs))

    def multiply(self, x: tf.Tensor) -> tf.Tensor:
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

    def call(self, inputs: keras.KerasTensor, mask: None = None) -> keras.KerasTensor:
        """Compute the mean of the members, from (rows, members, outputs)."""
        n_members = inputs.shape[1]
        return tf.add_n(tf.unstack(inputs, axis=1)) / n_members


def compile_by_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of tensors by XLA, whose bits do not depend on the CPU."""
    return tf.function(function, jit_compile=True, autograph=False)


# Only for functions: a layer would stay in memory.
compile_activation = cache(compile_by_xla)


def training_product(
    equation: str,
    x: tf.Tensor,
    kernel: tf.Tensor,
    batch_size: int,
    *bias: tf.Tensor,
) -> tf.Tensor:
    """Compute `einsum` of two float32 tensors, exact but for one rounding of each.

    Args:
        equation: Such as "bk,kn->bn".
        x: The tensor whose first axis are the rows.
        kernel: The other tensor.
        batch_size: Largest number of rows of `x`; the gradient of the kernel is a sum
            over them.
        bias: One tensor to add to each row, or none.
    """
    x_axes, kernel_axes, product_axes = re.split(",|->", equation)
    x_gradient_equation = f"{product_axes},{kernel_axes}->{x_axes}"
    kernel_gradient_equation = f"{x_axes},{product_axes}->{kernel_axes}"
    bits = operand_bits(max(batch_size, *kernel.shape))

    @tf.custom_gradient
    def forward(
        x: tf.Tensor,
        kernel: tf.Tensor,
        *bias: tf.Tensor,
    ) -> tuple[tf.Tensor, Any]:
        x = round_to_bits(x, bits)
        kernel = round_to_bits(kernel, bits)
        product = float32_einsum(equation, x, kernel)
        for row_to_add in bias:
            product += row_to_add

        def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
            upstream = round_to_bits(upstream, bits)
            gradients = [
                float32_einsum(x_gradient_equation, upstream, kernel),
                float32_einsum(kernel_gradient_equation, x, upstream),
            ]
            if bias:
                bias_gradient = tf.reduce_sum(upstream, axis=0)
                gradients.append(tf.cast(bias_gradient, tf.float32))
            return gradients

        return product, gradient

    return forward(x, kernel, *bias)


def float32_einsum(equation: str, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Compute `einsum` of two float64 tensors, rounded to float32."""
    return tf.cast(tf.einsum(equation, a, b), tf.float32)


def prediction_product(equation: str, x: tf.Tensor, kernel: Any) -> tf.Tensor:
    """Compute `einsum` as `training_product` does, but round rows by themselves.

    Each row of `x` and each column of the kernel is rounded by itself, so that no row
    depends on another one, and no member of stacked networks on the other members.
    """
    x_axes, kernel_axes, product_axes = re.split(",|->", equation)
    summed_axes = set(x_axes) - set(product_axes)
    if not summed_axes:  # each element is a single product
        kernel = keras.ops.convert_to_tensor(kernel)
        x = arrange_axes(x, x_axes, product_axes)
        return x * arrange_axes(kernel, kernel_axes, product_axes)
    sizes = dict(zip(kernel_axes, kernel.shape, strict=True))
    n_terms = math.prod(sizes[axis] for axis in summed_axes)
    bits = operand_bits(n_terms)
    # With the shared axes first, `einsum` transposes no float64 tensor, which would
    # take as long again.
    shared_axes = set(x_axes) & set(kernel_axes) & set(product_axes)
    x_order = move_to_front(x_axes, shared_axes)
    kernel_order = move_to_front(kernel_axes, shared_axes)
    product_order = move_to_front(product_axes, shared_axes)

    def round_operand(
        values: tf.Tensor,
        axes: str,
        order: str,
    ) -> tf.Tensor:
        values = arrange_axes(values, axes, order)
        summed = [number for number, a in enumerate(order) if a in summed_axes]
        largest = tf.reduce_max(tf.abs(values), summed, keepdims=True)
        return round_to_bits(values, bits, largest)

    # The kernel is rounded once: in each call it would take half of the time of a
    # single row.
    with tf.init_scope():
        kernel = keras.ops.convert_to_tensor(kernel)
        weights = round_operand(kernel, kernel_axes, kernel_order)
    rows = round_operand(x, x_axes, x_order)
    ordered_equation = f"{x_order},{kernel_order}->{product_order}"
    products = float32_einsum(ordered_equation, rows, weights)
    return arrange_axes(products, product_order, product_axes)


def move_to_front(axes: str, first_axes: set[str]) -> str:
    """Put some axes of a tensor before the others.

    Example:
        >>> move_to_front("bmk", {"m"})
        'mbk'
    """
    return "".join(sorted(axes, key=lambda axis: axis not in first_axes))


def arrange_axes(values: tf.Tensor, axes: str, wanted: str) -> tf.Tensor:
    """Put axes into another order, with size 1 for an axis that the tensor lacks."""
    present = [axis for axis in wanted if axis in axes]
    order = [axes.index(axis) for axis in present]
    index = [slice(None) if axis in axes else None for axis in wanted]
    return tf.transpose(values, order)[tuple(index)]


def operand_bits(terms: int) -> int:
    """Return the bits of rounded operands with which a sum of products is exact.

    Example:
        >>> operand_bits(8192)
        20
    """
    bits_of_sum = math.ceil(math.log2(max(terms, 2)))
    return (FLOAT64_BITS - bits_of_sum) // 2


def round_to_bits(
    values: tf.Tensor,
    bits: int,
    largest: tf.Tensor | None = None,
) -> tf.Tensor:
    """Round float32 values to a number of bits, and return them as float64.

    Args:
        values: The values.
        bits: Number of bits below the power of two above the largest value.
        largest: The largest absolute value, of any shape that fits; None for that of
            `values`.
    """
    if largest is None:
        # With absolute values, XLA would compute `values` again for each use, which
        # takes 0.5 of the 1.6 ms of a step with 1,024 rows and 600 units.
        highest = tf.reduce_max(values)
        largest = tf.maximum(highest, -tf.reduce_min(values))
    # 2 ** floor(log2(largest)), half of the power of two above it. It is taken from the
    # bits of the number, since a logarithm may differ between CPUs.
    largest_bits = tf.bitcast(largest, tf.int32)
    exponent = tf.bitwise.bitwise_and(largest_bits, FLOAT32_EXPONENT_MASK)
    power = tf.bitcast(exponent, tf.float32)
    # Near 1.5 * 2**52 times the last bit to keep, a float64 has no further bits.
    factor = 1.5 * 2.0 ** (52 + 1 - bits)
    shift = tf.cast(power, tf.float64) * factor
    return (tf.cast(values, tf.float64) + shift) - shift


def sum_on_grid(values: tf.Tensor, axis: int | None = None) -> tf.Tensor:
    """Add up float32 values over an axis, or all of them; the axis stays, with size 1.

    XLA adds in an order that depends on the CPU. Values are therefore rounded to
    multiples of `GRID`, whose sums below 2**21 are exact in any order.
    """

    @tf.custom_gradient
    def add_up(values: tf.Tensor) -> tuple[tf.Tensor, Any]:
        multiples = tf.round(tf.cast(values, tf.float64) / GRID)
        sums = tf.reduce_sum(multiples, axis, keepdims=True) * GRID

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return upstream * tf.ones_like(values)

        return tf.cast(sums, tf.float32), gradient

    return add_up(values)


def softmax(x: tf.Tensor) -> tf.Tensor:
    """Compute the softmax of the last axis.

    The logits are attached to the result, as Keras does; `cross_entropy` reads them.
    """
    largest = tf.reduce_max(x, axis=-1, keepdims=True)
    powers = tf.exp(x - largest)
    probabilities = powers / sum_on_grid(powers, -1)
    probabilities._keras_logits = x
    return probabilities


def cross_entropy(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
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
        is_sparse = loss == "sparse_categorical_crossentropy"
        self.call = cross_entropy if is_sparse else keras.losses.get(loss)

    def __call__(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
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
        return self.predict_members(columns)[:, :n_outputs].copy()

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
        sizes = BATCH_SIZES[:-1] if is_large else BATCH_SIZES
        names = [tensor.name for tensor in self.network.inputs]
        predictions = []
        for start in range(0, n_rows, sizes[-1]):
            count = min(n_rows - start, sizes[-1])
            size = min(size for size in sizes if size >= count)
            indices = np.arange(start, start + size)
            # The last row fills up its batch.
            indices = np.minimum(indices, n_rows - 1)
            batch = {name: columns[name][indices] for name in names}
            outputs = self._compiled(batch).numpy()
            predictions.append(outputs[:count])
        return np.concatenate(predictions)

    @cached_property
    def _compiled(self) -> tf.types.experimental.ConcreteFunction:
        """A function from raw columns to the outputs of the model and of each member.

        It is one graph for batches of any size, since graphs for one size each differ
        in the last bits.
        """
        network = self.network
        means = [layer for layer in network.layers if isinstance(layer, OrderedMean)]
        means.sort(key=lambda mean: mean.name.removesuffix("-mean"))
        members = [mean.input for mean in means]
        for layer in network.layers:
            if layer.name == "output-value":  # to the units of the target
                members = [layer(tensor) for tensor in members]
        with_members = keras.Model(network.input, [network.output, *members])

        def predict_all(columns: dict[str, tf.Tensor]) -> tf.Tensor:
            matrices = []
            for y in with_members(columns, training=False):
                # Members have an axis of their own: (rows, members, outputs).
                width = math.prod(y.shape[1:])
                matrices.append(tf.reshape(y, (-1, width)))
            return tf.concat(matrices, axis=1)

        specs = {}
        for tensor in network.inputs:
            specs[tensor.name] = tf.TensorSpec((None,), tensor.dtype)
        function = tf.function(predict_all, input_signature=[specs], autograph=False)
        # A concrete function halves the time for a single row.
        return function.get_concrete_function()


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
