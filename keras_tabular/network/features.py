"""What the layers of a network read, and the functions that a `network.py` calls.

`build_features` scales columns by their quartiles, and puts numbers into bins. The
functions for `network.py` turn keys of `train.networks` into layers of Keras and their
arguments: `embed_numbers`, `learn_scale`, `dense_arguments` and `output_layer`.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedNetwork
from keras_tabular.network.backend import KerasTensor, keras

layers = keras.layers
ops = keras.ops

# A category column with more one-hot columns than this is looked up, not multiplied.
MAX_MULTIPLIED = 15
# Distance from the median in interquartile ranges; the square of a float32 beyond may
# overflow.
MAX_SCALED = 1e6
# Equation of the layer that embeds bins. `lookups` finds the layer by it.
BIN_EQUATION = "bck,cku->bcu"
# Equation and name of the layer of `learn_scale`, which says who finds the layer by
# them.
SCALE_EQUATION = "bd,d->bd"
SCALE_NAME = "scale"
# Smallest relevance, which is the first scale of a column of noise.
LEAST_SCALE = 0.05
# Values are rounded to multiples of 1 / LEVELS before correlations are computed.
LEVELS = 1024
# Where neighbouring columns begin and end.
Place = tuple[int, int]


class ColumnSample(NamedTuple):
    """A sample of the training rows, as prepared columns.

    Attributes:
        values: The rows, float32, shape (n, width). Number columns, which may be put
            into bins, come first; then the columns of 0 and 1, then the encoded texts.
        n_numbers: Number of number columns.
        n_rows: Number of all training rows.
        categories: Where the 0/1 columns of each category column begin and end.
    """

    values: np.ndarray
    n_numbers: int
    n_rows: int
    categories: dict[str, Place]

    @property
    def one_hot(self) -> slice:
        """The one-hot columns that a training step looks up, which are neighbours."""
        return enclosing_slice(looked_up(self.categories))


def looked_up(categories: dict[str, Place]) -> list[Place]:
    """Return where the 0/1 columns of large category columns begin and end."""
    return sorted(
        (start, stop)
        for start, stop in categories.values()
        if stop - start > MAX_MULTIPLIED
    )


def enclosing_slice(places: list[Place]) -> slice:
    """Return the slice of neighbouring places together.

    Example:
        >>> enclosing_slice([(3, 7), (7, 9)]), enclosing_slice([])
        (slice(3, 9, None), slice(None, 0, None))
    """
    if not places:
        return slice(0)
    return slice(places[0][0], places[-1][1])


def build_features(columns: ColumnSample, network: ResolvedNetwork) -> keras.Model:
    """Build the model from prepared columns to what the layers of a network read.

    It has no weights. Its constants are statistics of the sample:

    - Columns are scaled by median and quartiles and clipped smoothly (Holzmüller et
      al., "Better by default", 2024, arXiv 2407.04491): z = (x - median) / IQR, z /
      sqrt(1 + (z/3)²).
    - Each number is also put into bins between quantiles (Gorishniy et al., "On
      embeddings for numerical features in tabular deep learning", 2022, arXiv
      2203.05556): clip((z - low) / (high - low), 0, 1) for each bin.

    Returns:
        A model from columns, shape (rows, width), to the same shape. With an embedding,
        the model returns the numbers, shape (rows, numbers), their bins, shape (rows,
        numbers, bins), and the other columns, if there are any.
    """
    values = columns.values
    n_numbers = columns.n_numbers
    inputs = keras.Input(values.shape[1:])
    scaled = inputs
    if network.robust_scaling:
        median, scale = robust_statistics(columns)
        scaled = scale_columns(inputs, median, scale)
        if columns.one_hot.stop:
            scaled = scale_around_lookups(inputs, median, scale, columns.one_hot)
        values = smooth_clip((values - median) * scale)
    if not network.embedding or not n_numbers:
        return keras.Model(inputs, [scaled])
    numbers = scaled[:, :n_numbers]
    other_columns = scaled[:, n_numbers:]
    number_values = values[:, :n_numbers]
    low, slope = quantile_bins(number_values, network.embedding.bins)
    from_low = ops.expand_dims(numbers, 2) - low  # (rows, numbers, bins)
    bins = ops.clip(from_low * slope, 0, 1)
    outputs = [numbers, bins]
    if other_columns.shape[1]:
        outputs.append(other_columns)
    return keras.Model(inputs, outputs)


def scale_columns(
    x: KerasTensor,
    median: np.ndarray,
    scale: np.ndarray,
) -> KerasTensor:
    """Build the layers of the robust scaling of columns, shape (rows, width)."""
    offset = -median * scale
    rescale = layers.Rescaling(scale.tolist(), offset.tolist())
    return smooth_clip(rescale(x), ops)


def scale_around_lookups(
    inputs: KerasTensor,
    median: np.ndarray,
    scale: np.ndarray,
    one_hot: slice,
) -> KerasTensor:
    """Build the robust scaling of columns, shape (rows, width), for lookups.

    A one-hot column is only multiplied by the scaled value of 1. So a training step,
    which looks these columns up, computes no scaled columns but the others.
    """
    before = slice(one_hot.start)
    after = slice(one_hot.stop, None)
    scaled_before = scale_columns(inputs[:, before], median[before], scale[before])
    scaled_after = scale_columns(inputs[:, after], median[after], scale[after])
    scaled_one_hot = inputs[:, one_hot] * smooth_clip(scale[one_hot])
    return ops.concatenate([scaled_before, scaled_one_hot, scaled_after], axis=1)


def robust_statistics(columns: ColumnSample) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and the scale of each column: float32, shape (width,).

    The scale is 1 / IQR, or 2 / (max - min) where the quartiles are equal, or 0 for a
    constant column. The median of one-hot columns that are looked up is taken as 0, so
    that a 0 stays 0.
    """
    sample = columns.values
    low, median, high = np.quantile(sample, [0.25, 0.5, 0.75], axis=0)
    median[columns.one_hot] = 0
    smallest = sample.min(axis=0)
    largest = sample.max(axis=0)
    half_range = (largest - smallest) / 2
    width = np.where(high > low, high - low, half_range)
    scale = divide_or_zero(1, width)
    return median.astype(np.float32), scale.astype(np.float32)


def divide_or_zero(dividend: Any, divisor: np.ndarray) -> np.ndarray:
    """Divide numbers, with a result of 0 where the divisor is 0.

    Example:
        >>> divide_or_zero(1, np.array([0.0, 2.0])).tolist()
        [0.0, 0.5]
    """
    zeros = np.zeros_like(divisor)
    return np.divide(dividend, divisor, out=zeros, where=divisor > 0)


def smooth_clip(x: Any, functions: Any = np) -> Any:
    """Compute x / sqrt(1 + (x/3)²), with one square root and no division by it.

    XLA might replace such a division.

    Args:
        x: Values of any shape.
        functions: The module of `clip`, `sqrt` and others: NumPy, or `keras.ops` to
            build layers.

    Example:
        >>> smooth_clip(np.array([0.0, 4.0, 1e9])).round(1).tolist()
        [0.0, 2.4, 3.0]
    """
    x = functions.clip(x, -MAX_SCALED, MAX_SCALED)
    square = functions.square(x)
    denominator = 1 + functions.square(x / 3)
    return functions.sign(x) * functions.sqrt(square / denominator)


def quantile_bins(
    sample: np.ndarray,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower edge and 1 / width of each bin: float32, shape (columns, bins).

    The edges are quantiles. A column of few values has fewer bins; the remaining ones
    have a slope of 0.

    Example:
        >>> low, slope = quantile_bins(np.array([[0.0], [1.0], [5.0]]), 2)
        >>> low.tolist(), slope.tolist()
        ([[0.0, 1.0]], [[1.0, 0.25]])
    """
    levels = np.linspace(0, 1, count + 1)
    quantiles = np.quantile(sample, levels, axis=0)  # (count + 1, columns)
    edges_by_column = quantiles.astype(np.float32).T
    low = np.zeros((len(edges_by_column), count), np.float32)
    slope = np.zeros_like(low)
    for column, edges in enumerate(edges_by_column):
        edges = np.unique(edges)
        n_bins = len(edges) - 1
        low[column, :n_bins] = edges[:-1]
        slope[column, :n_bins] = 1 / np.diff(edges)
    return low, slope


def embed_numbers(
    inputs: list[KerasTensor],
    network: ResolvedNetwork,
) -> KerasTensor:
    """Embed each number by its value and its bins, and append the other columns.

    Without `network.embedding`, or without a number, this returns the columns as they
    are.

    Args:
        inputs: The outputs of `build_features`.
        network: The parameters.

    Returns:
        Shape (rows, numbers * units + other columns).
    """
    if network.embedding is None or len(inputs) == 1:
        return inputs[0]
    numbers, bins, *other_columns = inputs
    shape = (numbers.shape[1], network.embedding.units)
    embed_value = layers.EinsumDense(
        "bc,cu->bcu",
        shape,
        kernel_initializer=keras.initializers.RandomNormal(stddev=1.0),
        name="value-embedding",
    )
    embed_bins = layers.EinsumDense(
        BIN_EQUATION,
        shape,
        bias_axes="cu",
        kernel_initializer="zeros",
        name="bin-embedding",
    )
    embedded = embed_value(numbers) + embed_bins(bins)  # (rows, numbers, units)
    flat = layers.Flatten()(embedded)
    return layers.Concatenate()([flat, *other_columns])


def learn_scale(x: KerasTensor, network: ResolvedNetwork) -> KerasTensor:
    """Multiply each column by a learnt factor, if `network.learnt_scale` is true.

    Other modules find this layer by its equation or its name, and treat a layer that a
    `network.py` builds with the same ones in the same way:

    - `Architecture.first_state` in `training.architecture` sets the kernel of the layer
      named `SCALE_NAME` to `initial_scales`, if `network.learnt_scale` is true.
    - `learning_rate_factors` in the same module has a factor of its own for the kernel
      of a layer with `SCALE_EQUATION`.
    - `LookupDense` in `network.lookups` multiplies the kernel of the next `Dense` layer
      by the factors of such a layer, instead of the one-hot columns.
    """
    if not network.learnt_scale:
        return x
    return layers.EinsumDense(
        SCALE_EQUATION,
        x.shape[1:],
        kernel_initializer="ones",
        name=SCALE_NAME,
    )(x)


def dense_arguments(network: ResolvedNetwork) -> dict[str, Any]:
    """Return the arguments of `keras.layers.Dense` that parameters of a network decide.

    These are the initializers and the penalty of the weights. An initializer draws its
    seed when it is made, so the order of calls decides the first weights.
    """
    is_ntk = network.parametrization == "ntk"
    normal = keras.initializers.RandomNormal
    return {
        "kernel_initializer": network.kernel_initializer,
        "bias_initializer": normal(stddev=1.0) if is_ntk else "zeros",
        "kernel_regularizer": keras.regularizers.L2(network.l2) if network.l2 else None,
    }


def output_layer(network: ResolvedNetwork, schema: Schema) -> keras.layers.Dense:
    """Return the last layer, whose units and activation depend on the task.

    With the neural tangent parametrisation, the output starts at 0.
    """
    task = schema.learning_task
    is_ntk = network.parametrization == "ntk"
    return layers.Dense(
        task.n_outputs,
        task.output_activation,
        kernel_initializer="zeros" if is_ntk else network.kernel_initializer,
        name=task.output_name,
    )


def initial_scales(
    columns: ColumnSample,
    network: ResolvedNetwork,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Return the first weights of a learnt scale: the `relevance` of each column.

    Args:
        x: Prepared columns of rows to learn from, shape (rows, width).
        y: Targets of these rows, of which few are outside of ±3, shape (rows, outputs).

    Returns:
        Float32, shape (numbers * units + other columns,): that of a number for each
        unit of its embedding.
    """
    median, scale = robust_statistics(columns)
    scales = relevance(smooth_clip((x - median) * scale), y)
    repeats = np.ones(len(scales), int)
    if network.embedding:
        repeats[: columns.n_numbers] = network.embedding.units
    return np.repeat(scales, repeats)


def relevance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compare how much of the target a column explains with the best column of noise.

    Of `columns` columns of noise, the largest n r² is about 2 ln(columns), where r is
    the correlation with the target (Donoho and Johnstone, "Ideal spatial adaptation by
    wavelet shrinkage", 1994). The relevance is n r² / (2 ln(columns)), from
    `LEAST_SCALE` to 1, with the output for which it is largest.

    Args:
        x: Columns, shape (n, columns).
        y: Targets, shape (n, outputs).

    Returns:
        Float32, shape (columns,).
    """
    n, n_columns = x.shape
    r2 = squared_correlations(x, y).max(axis=1)  # (columns,)
    logarithm = round(math.log(max(n_columns, 2)), 3)
    largest_of_noise = 2 * logarithm
    ratio = n * r2 / largest_of_noise
    return np.clip(ratio, LEAST_SCALE, 1).astype(np.float32)


def squared_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the squared correlation of each column with each target.

    Values are rounded to integers, whose sums are the same in any order. The squared
    correlation with a constant is 0.

    Args:
        x: Columns, shape (n, columns).
        y: Targets, shape (n, outputs).

    Returns:
        Float64, shape (columns, outputs).

    Example:
        >>> x = np.array([[1, 5], [2, 5], [3, 5]])
        >>> squared_correlations(x, np.array([[2], [4], [6]])).tolist()
        [[1.0], [0.0]]
    """
    n = len(x)
    x = np.rint(x.astype(np.float64) * LEVELS)
    y = np.rint(y.astype(np.float64) * LEVELS)
    sum_x = x.sum(axis=0)
    sum_y = y.sum(axis=0)
    squares_x = np.square(x).sum(axis=0)
    squares_y = np.square(y).sum(axis=0)
    # n² times the covariance and the variances
    covariance = n * (x.T @ y) - np.outer(sum_x, sum_y)  # (columns, outputs)
    variance_x = n * squares_x - sum_x**2
    variance_y = n * squares_y - sum_y**2
    variances = np.outer(variance_x, variance_y)  # (columns, outputs)
    return divide_or_zero(covariance**2, variances)
