"""How a network learns: the optimizer, the schedule of its learning rate, and its weights."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_tabular.config.sections import ResolvedNetwork
from keras_tabular.core.errors import UserError
from keras_tabular.networks.backend import keras, tf

ops = keras.ops
FIRST_CYCLE_STEPS = 30  # each cycle of `cosine_restarts` is twice as long as the one before


def learning_rate_factors(model: keras.Model, network: ResolvedNetwork) -> list[float]:
    """Return by what factor of the learning rate each trainable weight learns.

    With the neural tangent parametrisation it is 1 / sqrt(inputs) for a kernel, 0.1 for a bias and
    6 for a learnt scale, as in RealMLP (arXiv 2407.04491). Otherwise it is 1.
    """
    factors = {}
    for layer in model.layers if network.parametrization == "ntk" else []:
        if isinstance(layer, keras.layers.Dense):
            factors[id(layer.kernel)] = layer.kernel.shape[0] ** -0.5
        elif getattr(layer, "equation", None) == "bd,d->bd":
            factors[id(layer.kernel)] = 6.0
        if isinstance(layer, keras.layers.Dense | keras.layers.EinsumDense):
            factors[id(layer.bias)] = 0.1  # without a bias, this is the id of None
    return [factors.get(id(weight), 1.0) for weight in model.trainable_weights]


class FlatModel(keras.layers.Layer):
    """A model whose trainable weights are one vector, each divided by its learning rate factor.

    The optimizer's operations are traced, compiled and run once and not for every kernel and bias.
    For an optimizer that works element by element, the numbers are the same. If its steps are in
    proportion to the learning rate, as Adam's are, it changes a weight by the weight's factor times
    its step.

    Args:
        model: The model, reproducible or not.
        factors: The result of `learning_rate_factors`.
    """

    def __init__(self, model: keras.Model, factors: list[float]) -> None:
        super().__init__()
        self.other_variables = model.non_trainable_variables
        # A function, or Keras would also train the weights of the model.
        self.model: Callable[[], keras.Model] = lambda: model
        self._factors = factors
        pairs = zip(model.trainable_weights, factors, strict=True)
        weights = [np.ravel(np.asarray(weight)) / np.float32(factor) for weight, factor in pairs]
        vector = np.concatenate(weights)
        self.vector = self.add_weight(
            shape=vector.shape, initializer=lambda shape, dtype: ops.cast(vector, dtype)
        )
        self.built = True

    def split_weights(self) -> list[tuple[keras.Variable, Any]]:
        """Pair each trainable weight of the model with its value, cut from the vector."""
        weights = self.model().trainable_weights
        sizes = [math.prod(weight.shape) for weight in weights]
        cuts = tf.split(ops.convert_to_tensor(self.vector), sizes)
        return [
            (weight, tf.reshape(cut if factor == 1 else cut * np.float32(factor), weight.shape))
            for weight, cut, factor in zip(weights, cuts, self._factors, strict=True)
        ]

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, ...]:
        """Return the shape of the output, so that Keras does not call the layer to infer it."""
        return self.model().output_shape

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        model = self.model()
        with keras.StatelessScope(state_mapping=self.split_weights()) as scope:
            outputs = model(inputs, training=training)
            losses = model.losses
        for variable in self.other_variables:
            if (value := scope.get_current_value(variable)) is not None:
                variable.assign(value)
        if losses:
            self.add_loss(sum(losses))  # in their order
        return outputs


def learnt_weights(compiled: keras.Model) -> list[np.ndarray]:
    """Return the weights of the network that `compiled` trains, which is its last layer."""
    flat = compiled.layers[-1]
    for weight, value in flat.split_weights():
        weight.assign(value)
    return flat.model().get_weights()


def build_optimizer(network: ResolvedNetwork, steps: int) -> keras.optimizers.Optimizer:
    """Build the optimizer for a training of `steps` steps.

    Raises:
        UserError: The optimizer does not take an argument of `network.optimizer_arguments`.
    """
    rate: Any = network.learning_rate
    if network.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    elif network.trains_in_cycles:
        rate = CosineRestarts(rate)
    optimizer_class = type(keras.optimizers.get(network.optimizer))
    # AdamW has its own default, which it uses if `weight_decay` is 0.
    decay = {"weight_decay": network.weight_decay} if network.weight_decay else {}
    try:
        return optimizer_class(learning_rate=rate, **decay, **network.optimizer_arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"optimizer_arguments of {network.optimizer}: {error}") from None


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
