"""One network: what its layers read, and how it learns. A function of the project builds them."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedNetwork
from keras_tabular.networks.backend import keras, tf

ops = keras.ops
FIRST_CYCLE_STEPS = 30  # steps; each cycle of `cosine_restarts` is twice as long as the one before
LEAST_SCALE = 0.05  # with which a column of noise starts
MAX_SCALED = 1e6  # of quartile widths from the median; beyond, the square of a float32 may overflow
# Builds the layers of a network from the outputs of `build_features`: network.py of a project.
Build = Callable[[list[keras.KerasTensor], ResolvedNetwork, Schema], keras.KerasTensor]


class ColumnSample(NamedTuple):
    """A sample of the training rows, as prepared columns.

    Attributes:
        values: The rows, float32, shape (n, width). Number columns, which may be put into bins,
            come first; then the columns of 0 and 1, then the encoded texts.
        n_numbers: Number of number columns.
    """

    values: np.ndarray
    n_numbers: int


def build_features(columns: ColumnSample, network: ResolvedNetwork) -> keras.Model:
    """Build what the layers of a network read of the prepared columns, by rules without weights.

    - Columns are scaled by median and quartiles and clipped smoothly (Holzmüller et al., "Better by
      default", 2024, arXiv 2407.04491): z = (x - median) / IQR, z / sqrt(1 + (z/3)²).
    - Each number is also put into bins between quantiles (Gorishniy et al., "On embeddings for
      numerical features in tabular deep learning", 2022, arXiv 2203.05556):
      clip((z - low) / (high - low), 0, 1) for each bin.

    Returns:
        A model from columns, (rows, width), to the same shape; or with an embedding to the numbers,
        (rows, numbers), their bins, (rows, numbers, bins), and the other columns, if any.
    """
    sample = columns.values
    inputs = rest = keras.Input(sample.shape[1:])
    if network.robust_scaling:
        median, scale = robust_statistics(sample)
        rest = keras.layers.Rescaling(scale.tolist(), (-median * scale).tolist())(rest)
        rest = smooth_clip(rest, ops)
        sample = smooth_clip((sample - median) * scale, np)
    if not network.embedding or not columns.n_numbers:
        return keras.Model(inputs, [rest])
    numbers, rest = rest[:, : columns.n_numbers], rest[:, columns.n_numbers :]
    low, slope = bins(sample[:, : columns.n_numbers], network.embedding.bins)
    outputs = [numbers, ops.clip((ops.expand_dims(numbers, 2) - low) * slope, 0, 1)]
    if rest.shape[1]:
        outputs.append(rest)
    return keras.Model(inputs, outputs)


def smooth_clip(x: Any, ops: Any) -> Any:
    """x / sqrt(1 + (x/3)²), by a root of all: XLA may replace a division by a root.

    Args:
        ops: NumPy or Keras's operations.
    """
    x = ops.clip(x, -MAX_SCALED, MAX_SCALED)
    return ops.sign(x) * ops.sqrt(ops.square(x) / (1 + ops.square(x / 3)))


def robust_statistics(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The median of each column and what to multiply by, float32, shape (width,).

    That is 1 / IQR; 2 / (max - min) where the quartiles are equal, and 0 for a constant column.
    """
    low, median, high = np.quantile(sample, [0.25, 0.5, 0.75], axis=0)
    width = np.where(high > low, high - low, (sample.max(axis=0) - sample.min(axis=0)) / 2)
    scale = np.divide(1, width, out=np.zeros_like(width), where=width > 0)
    return median.astype(np.float32), scale.astype(np.float32)


def bins(sample: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The lower end and one over the width of bins between quantiles, (columns, bins), float32.

    A column of few values has fewer bins; the others have a slope of 0.
    """
    low, slope = np.zeros((2, sample.shape[1], count), np.float32)
    quantiles = np.quantile(sample, np.linspace(0, 1, count + 1), axis=0).astype(np.float32)
    for column, edges in enumerate(map(np.unique, quantiles.T)):
        n_bins = len(edges) - 1
        low[column, :n_bins] = edges[:-1]
        slope[column, :n_bins] = 1 / np.diff(edges)
    return low, slope


def initialise_scale(
    model: keras.Model,
    columns: ColumnSample,
    network: ResolvedNetwork,
    x: np.ndarray,
    y: np.ndarray,
) -> None:
    """Let the learnt scale start at the `relevance` of each column.

    Args:
        x: prepared columns of rows to learn from, (rows, width).
        y: what the columns are to say something of, about as wide as ±3, (rows, outputs).
    """
    median, scale = robust_statistics(columns.values)
    scales = relevance(smooth_clip((x - median) * scale, np), y)
    n_embedded, units = (
        (columns.n_numbers, network.embedding.units) if network.embedding else (0, 1)
    )
    of_numbers = np.repeat(scales[:n_embedded], units)
    first = np.concatenate([of_numbers, scales[n_embedded:]])
    model.get_layer("scale").kernel.assign(first)


def relevance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How much more of the target a column explains than one of noise would: float32, (columns,).

    It is n r² / (2 ln columns), from `LEAST_SCALE` to 1, with r the correlation with the output of
    which the column says most: of so many columns of noise the greatest n r² is about 2 ln columns
    (Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994). The numbers are
    rounded to integers, whose sums are the same in any order.

    Args:
        x, y: (n, columns) and (n, outputs).
    """
    x, y = (np.rint(values.astype(np.float64) * 1024) for values in (x, y))
    n, sum_x, sum_y = len(x), x.sum(axis=0), y.sum(axis=0)
    both = n * (x.T @ y) - np.outer(sum_x, sum_y)
    each = np.outer(
        n * np.square(x).sum(axis=0) - sum_x**2, n * np.square(y).sum(axis=0) - sum_y**2
    )
    r2 = np.divide(both**2, each, out=np.zeros_like(both), where=each > 0).max(axis=1)
    of_noise = 2 * round(math.log(max(x.shape[1], 2)), 3)
    return np.clip(n * r2 / of_noise, LEAST_SCALE, 1).astype(np.float32)


def learning_rate_factors(model: keras.Model, network: ResolvedNetwork) -> list[float]:
    """Compute how much faster than the learning rate each trainable weight learns.

    With the neural tangent parametrisation 1 / sqrt(inputs) for a kernel, 0.1 for a bias and 6 for
    a learnt scale, as in RealMLP (arXiv 2407.04491); else 1.
    """
    factors = {}
    for layer in model.layers if network.parametrization == "ntk" else []:
        if isinstance(layer, keras.layers.Dense):
            factors[id(layer.kernel)] = layer.kernel.shape[0] ** -0.5
        elif getattr(layer, "equation", None) == "bd,d->bd":
            factors[id(layer.kernel)] = 6.0
        if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense):
            factors[id(layer.bias)] = 0.1  # without a bias, the key is of no weight
    return [factors.get(id(weight), 1.0) for weight in model.trainable_weights]


class FlatModel(keras.layers.Layer):
    """A model whose trainable weights are one vector, each divided by its rate.

    The optimizer's operations are traced, compiled and run once and not for every kernel and bias;
    for an optimizer that works element by element the numbers are the same.

    Args:
        model: A model, with exact products or not.
        learning_rate_factors: The result of `learning_rate_factors`. An optimizer whose steps are
            in proportion to the learning rate, such as Adam, changes a weight by its factor times
            its step.
    """

    def __init__(self, model: keras.Model, learning_rate_factors: list[float]) -> None:
        super().__init__()
        self.state = model.non_trainable_variables
        # A function, or Keras would train the model's weights beside the vector.
        self.model: Callable[[], keras.Model] = lambda: model
        self._rates = learning_rate_factors
        pairs = zip(model.trainable_weights, learning_rate_factors, strict=True)
        vector = np.concatenate(
            [np.ravel(np.asarray(weight)) / np.float32(rate) for weight, rate in pairs]
        )
        self.vector = self.add_weight(
            shape=vector.shape, initializer=lambda shape, dtype: ops.cast(vector, dtype)
        )
        self.built = True

    def weights_of_model(self) -> list[Any]:
        """Cut the trainable weights of the model from the vector."""
        weights = self.model().trainable_weights
        cuts = tf.split(ops.convert_to_tensor(self.vector), [math.prod(w.shape) for w in weights])
        return [
            tf.reshape(cut if rate == 1 else cut * np.float32(rate), weight.shape)
            for cut, rate, weight in zip(cuts, self._rates, weights, strict=True)
        ]

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, ...]:
        """Return the shape of the output, so that Keras does not call the layer to infer it."""
        return self.model().output_shape

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        model = self.model()
        weights = list(zip(model.trainable_weights, self.weights_of_model(), strict=True))
        with keras.StatelessScope(state_mapping=weights) as scope:
            outputs = model(inputs, training=training)
            losses = model.losses
        for variable in self.state:
            if (value := scope.get_current_value(variable)) is not None:
                variable.assign(value)
        if losses:
            self.add_loss(sum(losses))  # in their order
        return outputs


def build_optimizer(network: ResolvedNetwork, steps: int) -> keras.optimizers.Optimizer:
    """Build the optimizer for a training of `steps` steps."""
    rate: Any = network.learning_rate
    if network.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    elif network.trains_in_cycles:
        rate = CosineRestarts(rate)
    kind = type(keras.optimizers.get(network.optimizer))
    # AdamW has a default of its own, which it uses if `weight_decay` is 0.
    decay = {"weight_decay": network.weight_decay} if network.weight_decay else {}
    return kind(learning_rate=rate, **decay)


class CosineRestarts(keras.optimizers.schedules.LearningRateSchedule):
    """Cosine annealing with warm restarts, where each cycle also begins at a rate of 0.

    A cycle is one wave of the cosine, from 0 to `learning_rate` and back. Four cycles are
    the schedule coslog4 of RealMLP (arXiv 2407.04491).
    """

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        waves = ops.log2(1.0 + ops.cast(step, "float32") / FIRST_CYCLE_STEPS)
        return self._learning_rate * 0.5 * (1.0 - ops.cos(2 * math.pi * waves))


def learnt_weights(compiled: keras.Model) -> list[np.ndarray]:
    """Return the weights of the network that `compiled` trains, which is its last layer."""
    model = compiled.layers[-1]
    if isinstance(model, FlatModel):
        flat, model = model, model.model()
        for weight, value in zip(model.trainable_weights, flat.weights_of_model(), strict=True):
            weight.assign(value)
    return model.get_weights()
