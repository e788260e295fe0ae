"""What the layers of a network read, and the functions that `network.py` of a project calls.

`build_features` scales columns by their quartiles, and puts numbers into bins. The
functions for `network.py` turn keys of `train.networks` into layers of Keras and their
arguments: `embed_numbers`, `learn_scale`, `dense_arguments` and `output_layer`.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedNetwork
from keras_tabular.network.backend import keras

layers = keras.layers
ops = keras.ops
MAX_MULTIPLIED = (
    15  # one-hot columns of a column of the table; more of them are looked up
)
LEAST_SCALE = 0.05  # first scale of a column of noise
# Distance from the median in interquartile ranges; the square of a float32 beyond may
# overflow.
MAX_SCALED = 1e6
LEVELS = 1024  # per unit, to which values are rounded before correlations are computed


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
    categories: dict[str, tuple[int, int]]

    @property
    def one_hot(self) -> slice:
        """The one-hot columns that a training step looks up, which are neighbours."""
        places = looked_up(self.categories)
        return slice(places[0][0], places[-1][1]) if places else slice(0)


def looked_up(categories: dict[str, tuple[int, int]]) -> list[tuple[int, int]]:
    """Return where the 0/1 columns begin and end of the category columns with many of them."""
    return sorted(
        place for place in categories.values() if place[1] - place[0] > MAX_MULTIPLIED
    )


def build_features(columns: ColumnSample, network: ResolvedNetwork) -> keras.Model:
    """Build the model that turns prepared columns into what the layers of a network read.

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
    one_hot = columns.one_hot
    inputs = scaled = keras.Input(values.shape[1:])
    if network.robust_scaling:
        median, scale = robust_statistics(columns)
        scaled = scale_columns(inputs, median, scale)
        if one_hot.stop:  # lookups need no others of the scaled columns
            ends = slice(one_hot.start), slice(one_hot.stop, None)
            before, after = (
                scale_columns(inputs[:, s], median[s], scale[s]) for s in ends
            )
            between = inputs[:, one_hot] * smooth_clip(scale[one_hot], np)
            scaled = ops.concatenate([before, between, after], axis=1)
        values = smooth_clip((values - median) * scale, np)
    if not network.embedding or not n_numbers:
        return keras.Model(inputs, [scaled])
    numbers = scaled[:, :n_numbers]
    other_columns = scaled[:, n_numbers:]
    low, slope = quantile_bins(values[:, :n_numbers], network.embedding.bins)
    outputs = [numbers, ops.clip((ops.expand_dims(numbers, 2) - low) * slope, 0, 1)]
    if other_columns.shape[1]:
        outputs.append(other_columns)
    return keras.Model(inputs, outputs)


def scale_columns(x: Any, median: np.ndarray, scale: np.ndarray) -> Any:
    """Build the layers of the robust scaling of columns, shape (rows, width)."""
    return smooth_clip(
        layers.Rescaling(scale.tolist(), (-median * scale).tolist())(x),
        ops,
    )


def robust_statistics(columns: ColumnSample) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and the scale of each column: float32, shape (width,).

    The scale is 1 / IQR, or 2 / (max - min) where the quartiles are equal, or 0 for a
    constant column. The median of one-hot columns that are looked up is taken as 0, so
    that a 0 stays 0.
    """
    sample = columns.values
    low, median, high = np.quantile(sample, [0.25, 0.5, 0.75], axis=0)
    median[columns.one_hot] = 0
    width = np.where(
        high > low,
        high - low,
        (sample.max(axis=0) - sample.min(axis=0)) / 2,
    )
    scale = np.divide(1, width, out=np.zeros_like(width), where=width > 0)
    return median.astype(np.float32), scale.astype(np.float32)


def smooth_clip(x: Any, ops: Any) -> Any:
    """Compute x / sqrt(1 + (x/3)²) with one square root: XLA may replace a division by a root.

    Args:
        ops: NumPy or `keras.ops`.
    """
    x = ops.clip(x, -MAX_SCALED, MAX_SCALED)
    return ops.sign(x) * ops.sqrt(ops.square(x) / (1 + ops.square(x / 3)))


def quantile_bins(sample: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower edge and 1 / width of bins between quantiles: float32, (columns, bins).

    A column of few values has fewer bins; the remaining ones have a slope of 0.
    """
    low, slope = np.zeros((2, sample.shape[1], count), np.float32)
    quantiles = np.quantile(sample, np.linspace(0, 1, count + 1), axis=0).astype(
        np.float32,
    )
    for column, edges in enumerate(map(np.unique, quantiles.T)):
        n_bins = len(edges) - 1
        low[column, :n_bins] = edges[:-1]
        slope[column, :n_bins] = 1 / np.diff(edges)
    return low, slope


def embed_numbers(
    inputs: list[keras.KerasTensor],
    network: ResolvedNetwork,
) -> keras.KerasTensor:
    """Embed each number by its value and its bins, and put the embeddings before other columns.

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
    numbers, bins, *rest = inputs
    embed = partial(
        layers.EinsumDense,
        output_shape=(numbers.shape[1], network.embedding.units),
    )
    normal = keras.initializers.RandomNormal(stddev=1.0)
    by_value = embed("bc,cu->bcu", kernel_initializer=normal, name="value-embedding")
    by_bin = embed(
        "bck,cku->bcu",
        bias_axes="cu",
        kernel_initializer="zeros",
        name="bin-embedding",
    )
    return layers.Concatenate()(
        [layers.Flatten()(by_value(numbers) + by_bin(bins)), *rest],
    )


def learn_scale(x: keras.KerasTensor, network: ResolvedNetwork) -> keras.KerasTensor:
    """Multiply each column by a learnt factor, if `network.learnt_scale` is true.

    The factors start at `initial_scales`.
    """
    if not network.learnt_scale:
        return x
    return layers.EinsumDense(
        "bd,d->bd",
        x.shape[1:],
        kernel_initializer="ones",
        name="scale",
    )(x)


def dense_arguments(network: ResolvedNetwork) -> dict[str, Any]:
    """Return the arguments of `keras.layers.Dense` that the parameters of a network decide.

    These are the initializers and the penalty of the weights. An initializer draws its
    seed when it is made, so the order of calls decides the first weights.
    """
    is_ntk = network.parametrization == "ntk"
    return {
        "kernel_initializer": network.kernel_initializer,
        "bias_initializer": (
            keras.initializers.RandomNormal(stddev=1.0) if is_ntk else "zeros"
        ),
        "kernel_regularizer": keras.regularizers.L2(network.l2) if network.l2 else None,
    }


def output_layer(network: ResolvedNetwork, schema: Schema) -> keras.layers.Dense:
    """Return the last layer, whose units and activation depend on the task.

    With the neural tangent parametrisation, the output starts at 0.
    """
    task = schema.learning_task
    initializer = (
        "zeros" if network.parametrization == "ntk" else network.kernel_initializer
    )
    return layers.Dense(
        task.n_outputs,
        task.output_activation,
        kernel_initializer=initializer,
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
    """
    median, scale = robust_statistics(columns)
    scales = relevance(smooth_clip((x - median) * scale, np), y)
    units = network.embedding.units if network.embedding else 1
    return np.repeat(
        scales,
        np.where(np.arange(len(scales)) < columns.n_numbers, units, 1),
    )


def relevance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compare how much of the target each column explains with the best of as many noise columns.

    Of `columns` columns of noise, the largest n r² is about 2 ln(columns), where r is
    the correlation with the target (Donoho and Johnstone, "Ideal spatial adaptation by
    wavelet shrinkage", 1994). The relevance is n r² / (2 ln(columns)), from
    `LEAST_SCALE` to 1, with the output for which it is largest. Values are rounded to
    integers, whose sums are the same in any order.

    Args:
        x: Columns, shape (n, columns).
        y: Targets, shape (n, outputs).

    Returns:
        Float32, shape (columns,).
    """
    x, y = (np.rint(values.astype(np.float64) * LEVELS) for values in (x, y))
    n = len(x)
    sum_x = x.sum(axis=0)
    sum_y = y.sum(axis=0)
    covariance = n * (x.T @ y) - np.outer(sum_x, sum_y)
    variance_x = n * np.square(x).sum(axis=0) - sum_x**2
    variance_y = n * np.square(y).sum(axis=0) - sum_y**2
    variances = np.outer(variance_x, variance_y)
    r2 = np.divide(
        covariance**2,
        variances,
        out=np.zeros_like(variances),
        where=variances > 0,
    )
    largest_of_noise = 2 * round(math.log(max(x.shape[1], 2)), 3)
    return np.clip(n * r2.max(axis=1) / largest_of_noise, LEAST_SCALE, 1).astype(
        np.float32,
    )
