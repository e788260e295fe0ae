"""An architecture of network with its optimizer, ready to be trained."""

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ResolvedNetwork, ResolvedTrain
from keras_tabular.core.errors import UserError, truncate
from keras_tabular.network import features, lookups, reproducible, stacking
from keras_tabular.network.backend import KerasTensor, keras, tf
from keras_tabular.network.features import ColumnSample
from keras_tabular.training.dataset import Dataset
from keras_tabular.training.trainer import Trainer

ops = keras.ops
# Each cycle of `cosine_restarts` takes twice as many steps as the one before.
FIRST_CYCLE_STEPS = 30
# Number of rows from which the first weights of a learnt scale are computed.
MAX_ROWS_FOR_FIRST_SCALE = 20_000
# Number of characters of Keras's message that a message quotes.
MAX_QUOTED = 500
# Builds the layers of a network from the outputs of `build_features`: network.py of a
# project.
Build = Callable[[Any, ResolvedNetwork, Schema], KerasTensor]


def learning_rate_factors(model: keras.Model, network: ResolvedNetwork) -> list[float]:
    """Return by what factor of the learning rate each trainable weight learns.

    With the neural tangent parametrisation it is 1 / sqrt(inputs) for a kernel, 0.1 for
    a bias and 6 for a learnt scale, as in RealMLP (arXiv 2407.04491). Otherwise it is
    1.
    """
    weights = model.trainable_weights
    if network.parametrization != "ntk":
        return [1.0] * len(weights)
    factors = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            n_inputs = layer.kernel.shape[0]
            factors[id(layer.kernel)] = n_inputs**-0.5
        elif isinstance(layer, keras.layers.EinsumDense):
            if layer.equation == features.SCALE_EQUATION:  # a learnt scale
                factors[id(layer.kernel)] = 6.0
        else:
            continue
        factors[id(layer.bias)] = 0.1  # without a bias, this is the id of None
    return [factors.get(id(weight), 1.0) for weight in weights]


class FlatModel(keras.layers.Layer):
    """A model whose trainable weights are one vector, each divided by its factor.

    The optimizer's operations are traced, compiled and run once and not for every
    kernel and bias. For an optimizer that works element by element, the numbers are the
    same. If its steps are in proportion to the learning rate, as Adam's are, it changes
    a weight by the weight's factor times its step.

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
        weights = [
            np.ravel(weight) / np.float32(factor)
            for weight, factor in zip(model.trainable_weights, factors, strict=True)
        ]
        vector = np.concatenate(weights)
        self.vector = self.add_weight(
            vector.shape,
            lambda shape, dtype: ops.cast(vector, dtype),
        )
        self.built = True

    def split_weights(self) -> list[Any]:
        """Pair each trainable weight with its value, which is cut from the vector."""
        weights = self.model().trainable_weights
        sizes = [math.prod(weight.shape) for weight in weights]
        pieces = tf.split(ops.convert_to_tensor(self.vector), sizes)
        pairs = []
        for weight, piece, factor in zip(weights, pieces, self._factors, strict=True):
            if factor != 1:
                piece = piece * np.float32(factor)
            pairs.append((weight, tf.reshape(piece, weight.shape)))
        return pairs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output; Keras would call the layer to infer it."""
        return self.model().output_shape

    def call(
        self,
        inputs: KerasTensor,
        training: bool | None = None,
    ) -> KerasTensor:
        """Call the model with the weights of the vector."""
        model = self.model()
        with keras.StatelessScope(state_mapping=self.split_weights()) as scope:
            outputs = model(inputs, training=training)
            losses = model.losses
        for variable in self.other_variables:
            value = scope.get_current_value(variable)
            if value is not None:
                variable.assign(value)
        if losses:
            self.add_loss(sum(losses))  # in their order
        return outputs


def learnt_weights(compiled: keras.Model) -> list[np.ndarray]:
    """Return the weights of the network that a compiled model trains."""
    flat = compiled.layers[-1]
    with keras.StatelessScope(flat.split_weights()):
        return [np.array(weight) for weight in flat.model().weights]


def build_optimizer(network: ResolvedNetwork, steps: int) -> keras.optimizers.Optimizer:
    """Build the optimizer for a training of `steps` steps.

    Raises:
        UserError: The optimizer does not take an argument of
            `network.optimizer_arguments`.
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
        return optimizer_class(
            learning_rate=rate,
            **decay,
            **network.optimizer_arguments,
        )
    except (TypeError, ValueError) as error:
        raise UserError(
            f"optimizer_arguments of {network.optimizer}: {error}",
        ) from None


class CosineRestarts(keras.optimizers.schedules.LearningRateSchedule):
    """Cosine annealing with warm restarts, where each cycle also begins at a rate of 0.

    A cycle is one wave of the cosine, from 0 to `learning_rate` and back. Four cycles
    are the schedule coslog4 of RealMLP (arXiv 2407.04491).
    """

    def __init__(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of a step."""
        waves = ops.log2(1.0 + ops.cast(step, "float32") / FIRST_CYCLE_STEPS)
        return self._learning_rate * 0.5 * (1.0 - ops.cos(2 * math.pi * waves))


class Architecture:
    """An element of `train.members`, whose networks differ only by fold and seed.

    Args:
        name: Key of the architecture in `train.networks`.
        train: The parameters.
        schema: The table.
        build: Builds the layers of a network.
        columns: Sample of the columns that networks read.

    Attributes:
        params: The parameters of its networks.
        features: The model from prepared columns to what the layers read, see
            `build_features`.
        network: A network that is not trained.
        is_stackable: Whether its networks can be saved as one.
        max_steps: Number of steps in `params.epochs` epochs.
        max_cycles: Largest number of cycles; 0 if its networks train in epochs.
        trainer: The compiled graphs of all its networks.

    Raises:
        UserError: Keras cannot load the layers in safe mode.
    """

    def __init__(
        self,
        name: str,
        train: ResolvedTrain,
        schema: Schema,
        build: Build,
        columns: ColumnSample,
    ) -> None:
        self.name = name
        self.params = train.networks[name]
        self._train = train
        self._schema = schema
        self._columns = columns
        self._build_layers = build
        self.features = features.build_features(columns, self.params)
        self.features.name = f"{name}-features"
        # Where the 0/1 columns of categories are in the last tensor. Numbers are in
        # tensors of their own, if there are several.
        offset = columns.n_numbers if len(self.features.outputs) > 1 else 0
        self._categories = {
            column: (begin - offset, end - offset)
            for column, (begin, end) in columns.categories.items()
        }
        self.network = self._build_network()
        check_safe_mode(self.network, name)
        self.is_stackable = stacking.is_stackable(self.network)
        learnt_rows = columns.n_rows * max(train.folds - 1, 1) / train.folds
        steps_per_epoch = math.ceil(learnt_rows / self.params.batch_size)
        self.max_steps = steps_per_epoch * self.params.epochs
        self.max_cycles = 0
        if self.params.trains_in_cycles:
            # The first n cycles take FIRST_CYCLE_STEPS * (2**n - 1) steps.
            cycles = math.log2(self.max_steps // FIRST_CYCLE_STEPS + 1)
            self.max_cycles = max(math.floor(cycles), 1)

    @cached_property
    def trainer(self) -> Trainer:
        """The compiled graphs of all its networks, made before the first one trains."""
        return Trainer(self.build_compiled(), self.params.batch_size)

    def _build_network(self) -> keras.Model:
        inputs = [keras.Input(tensor.shape[1:]) for tensor in self.features.outputs]
        params = self.params.model_copy(update={"categories": self._categories})
        return keras.Model(inputs, self._build_layers(inputs, params, self._schema))

    def first_state(
        self,
        seed: int,
        rows: Dataset,
    ) -> list[np.ndarray]:
        """Build a new network, and return the state of a compiled model that trains it.

        To build a compiled model takes longer, so several networks train in the same
        one.

        Args:
            seed: Seed of the first weights and of dropout.
            rows: Rows to learn from; the first rows decide where a learnt scale starts.
        """
        keras.utils.set_random_seed(seed)
        network = self._build_network()
        if self.params.learnt_scale:
            self._set_first_scale(network, rows)
        factors = learning_rate_factors(network, self.params)
        flat = FlatModel(network, factors)
        # The optimizer of the trainer's own model takes no steps.
        variables = flat.variables + self.trainer.model.optimizer.variables
        return [np.array(variable) for variable in variables]

    def _set_first_scale(self, network: keras.Model, rows: Dataset) -> None:
        """Set the first weights of the layer that learns a scale, if there is one."""
        if features.SCALE_NAME not in [layer.name for layer in network.layers]:
            return
        read_first_part = rows[0]
        part = read_first_part()
        sample = part.indices[:MAX_ROWS_FOR_FIRST_SCALE]
        x = np.asarray(part.x)[sample]
        y = np.asarray(part.y)[sample]
        task = self._schema.learning_task
        targets = task.indicators(y) if task.classes else features.smooth_clip(y)
        scales = features.initial_scales(self._columns, self.params, x, targets)
        network.get_layer(features.SCALE_NAME).kernel.assign(scales)

    def build_compiled(self) -> keras.Model:
        """Build a compiled model that trains networks, from prepared columns on.

        `learnt_weights` returns the weights of the network.
        """
        train = self._train
        params = self.params
        network = self._build_network()
        factors = learning_rate_factors(network, params)
        inputs = keras.Input(self.features.input_shape[1:])
        tensors = self.features(inputs)
        if train.exact:
            network = lookups.add_lookups(network, params.batch_size)
            tensors = lookups.MarkLookups(features.looked_up(self._categories))(tensors)
        flat = FlatModel(network, factors)
        compiled = keras.Model(inputs, flat(tensors))
        compiled.compile(
            optimizer=build_optimizer(params, self.max_steps),
            loss=reproducible.MeanLoss(train.loss) if train.exact else train.loss,
            jit_compile=False,
        )
        # Make the variables of the optimizer here: a graph cannot make them.
        compiled.optimizer.build(compiled.trainable_variables)
        return compiled

    def steps_after(self, cycles: int) -> int:
        """Return the number of steps of the first cycles together; 0 without cycles."""
        return FIRST_CYCLE_STEPS * (2**cycles - 1) if self.max_cycles else 0

    def steps_in(self, round_number: int) -> int:
        """Return the number of steps of a round, numbered from 0; 0 without cycles."""
        return FIRST_CYCLE_STEPS * 2**round_number if self.max_cycles else 0

    def epochs_after(self, rounds: int) -> float:
        """Return the number of epochs of the first rounds, either cycles or epochs."""
        if not self.max_cycles:
            return rounds
        return self.steps_after(rounds) * self.params.epochs / self.max_steps


def check_safe_mode(network: keras.Model, name: str) -> None:
    """Save a network and load it as plain Keras does, before it is trained.

    Args:
        name: Name of the architecture, for the message.

    Raises:
        UserError: Keras cannot load it in safe mode.
    """
    custom_objects = keras.saving.get_custom_objects()
    registered = custom_objects.copy()
    # Another process does not have the classes that network.py registers.
    custom_objects.clear()
    try:
        with TemporaryDirectory() as folder:
            file = Path(folder, "network.keras")
            network.save(file)
            keras.models.load_model(file, safe_mode=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a layer can fail in any way
        problem = str(error).rpartition("Exception encountered: ")[2]
        # One line, without Keras's advice to register a class.
        problem = problem.partition("\n")[0].partition(". ")[0]
        raise UserError(
            f"network.py: the network {name} may only have layers and functions of"
            " keras, so that its file opens without this code. It cannot be loaded in"
            f" safe mode: {truncate(problem, MAX_QUOTED)}. For example, write"
            " 2 * keras.ops.tanh(x) in `build`, and no layer of your own.",
        ) from None
    finally:
        custom_objects.update(registered)
