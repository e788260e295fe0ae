"""Train networks for a cycle or an epoch, and predict with them, by compiled graphs."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.core.parallel import worker_count
from keras_tabular.network.backend import Tensor, keras, tf
from keras_tabular.table.parquet import prefetch
from keras_tabular.training.dataset import Dataset, Rows

# Maximum in one call of a compiled graph. With 30 steps, a tenth of the training of a
# small network was the time of the calls. With more than 120, a large network would end
# later after Ctrl-C.
STEPS_PER_CALL = 120
# Handles of the variables that the graphs called from this thread read and change.
HANDLES: ContextVar[list[Tensor]] = ContextVar("HANDLES")
# Keras keeps the losses of a call in the layers, which models share. So only one thread
# at a time may call layers outside of a graph.
TRACING = threading.RLock()


class Batches(NamedTuple):
    """The batches of one call of a compiled graph.

    Attributes:
        rows: The rows of a part.
        order: Indices of the rows of each batch, int32, shape (steps, batch size).
        n_indices: Number of these indices to use.
    """

    rows: Rows
    order: np.ndarray
    n_indices: int


class Graph:
    """A function that XLA compiles once for each combination of tensor shapes.

    Networks that train at the same time share what was compiled: at each call, the
    graph uses the variables in `HANDLES` instead of the variables of `model`. Compiling
    the two architectures of the default takes 1.9 seconds, and all steps of its 20
    networks take 1.3 seconds. TensorFlow's own search for the compiled function would
    take as long as an epoch of small steps.

    Args:
        function: Takes tensors, and calls `model`.
        model: A compiled model.
    """

    def __init__(self, function: Callable[..., Any], model: keras.Model) -> None:
        self._function = tf.function(function, jit_compile=True, autograph=False)
        self._traced: dict[Any, Any] = {}
        self._model = model

    def __call__(self, *tensors: Any) -> Any:
        """Call the function; the dtypes of the tensors are the same in all calls."""
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        with TRACING:
            if shapes not in self._traced:
                self._traced[shapes] = self._trace(*tensors)
        return self._traced[shapes](*tensors)

    def _trace(self, *tensors: Any) -> Callable[..., Any]:
        """Compile the function for some shapes, with the variables in `HANDLES`."""
        traced = self._function.get_concrete_function(*tensors)
        captured = {id(handle) for handle in traced.captured_inputs}
        for place, handle in enumerate(handles(self._model)):
            if id(handle) in captured:
                traced.replace_capture_with_deferred_capture(
                    handle,
                    lambda place=place: HANDLES.get()[place],
                    tf.TensorSpec([], tf.resource),
                )
        return traced


class Trainer:
    """The compiled graphs that train and predict with all networks of one architecture.

    Args:
        model: A model from `Architecture.build_compiled`, with the layers of all
            networks.
        batch_size: Number of rows of a step.

    Attributes:
        model: The model, which no network uses.
        idle: Compiled models that no network uses at the moment. To build one takes as
            long as 100 steps.
        cancelled: An event that ends the training of each thread after its present
            steps.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.idle = deque[keras.Model](maxlen=worker_count())
        self.cancelled = threading.Event()
        self.model = model
        self._batch_size = batch_size
        self._train = Graph(self._train_steps, model)
        self._mean_loss = Graph(self._take_mean_loss, model)
        self._predict = Graph(
            lambda x, order: model(tf.gather(x, order), training=False),
            model,
        )

    def train(
        self,
        model: keras.Model,
        dataset: Dataset,
        seed: Sequence[int],
        steps: int = 0,
    ) -> float:
        """Train for a cycle, a number of steps with whole batches, or for an epoch.

        Args:
            model: Compiled model, whose `variables` change.
            dataset: Rows to learn from.
            seed: Seed of the order of the parts, and of the rows of a part.
            steps: Number of steps of the cycle; 0 for an epoch, which uses each row
                once.

        Returns:
            The mean loss over the cycle or epoch.

        Raises:
            CancelledError: `cancelled` was set.
        """
        HANDLES.set(handles(model))
        rng = np.random.default_rng(seed)
        calls = self._cycle(dataset, steps, rng) if steps else self._epoch(dataset, rng)
        for rows, order, n_indices in calls:
            if self.cancelled.is_set():
                raise CancelledError
            self._train(
                tf.constant(n_indices),
                rows.x,
                rows.y,
                rows.weight,
                tf.constant(order),
            )
        return float(self._mean_loss())

    def predict(self, model: keras.Model, dataset: Dataset) -> np.ndarray:
        """Predict the rows of all parts: float32, shape (rows, outputs)."""
        HANDLES.set(handles(model))
        predictions = [np.empty((0, model.output_shape[1]), np.float32)]
        for rows in _read_parts(dataset, range(len(dataset))):
            # XLA compiles for each number of rows, which takes 0.4 s. So the first rows
            # are repeated up to a power of two.
            n_rows = len(rows.indices)
            size = 1 << (n_rows - 1).bit_length()
            indices = np.resize(rows.indices, size)
            y_pred = self._predict(rows.x, tf.constant(indices))
            y_pred = y_pred.numpy()
            predictions.append(y_pred[:n_rows])
        return np.concatenate(predictions)

    def _epoch(
        self,
        dataset: Dataset,
        rng: np.random.Generator,
    ) -> Iterator[Batches]:
        """Yield the batches of an epoch; the last batch of a part may be smaller."""
        for rows in _read_parts(dataset, rng.permutation(len(dataset))):
            order = rng.permutation(rows.indices)
            count = len(order)
            size = min(self._batch_size, count)
            shape = (math.ceil(count / size), size)
            yield Batches(rows, np.resize(order, shape), count)

    def _cycle(
        self,
        dataset: Dataset,
        steps: int,
        rng: np.random.Generator,
    ) -> Iterator[Batches]:
        """Yield whole batches for the steps of a cycle, `STEPS_PER_CALL` at a time.

        So one graph is enough for all cycles. The rows come in a new order until there
        are enough steps. In each order, the last rows of a part that do not fill a
        batch are left out.
        """
        while steps:
            for rows in _read_parts(dataset, rng.permutation(len(dataset))):
                size = min(self._batch_size, len(rows.indices))
                steps_per_pass = len(rows.indices) // size
                passes = 1
                if len(dataset) == 1:
                    passes = math.ceil(steps / steps_per_pass)
                orders = [rng.permutation(rows.indices) for _ in range(passes)]
                whole = [order[: steps_per_pass * size] for order in orders]
                order = np.concatenate(whole).reshape(-1, size)[:steps]
                shape = (STEPS_PER_CALL, size)
                for start in range(0, len(order), STEPS_PER_CALL):
                    in_call = order[start : start + STEPS_PER_CALL]
                    # The last call repeats some indices, which it does not use.
                    yield Batches(rows, np.resize(in_call, shape), in_call.size)
                steps -= len(order)
                if not steps:
                    break

    def _train_steps(
        self,
        count: Tensor,
        x: Tensor,
        y: Tensor,
        weight: Tensor,
        order: Tensor,
    ) -> None:
        """Take steps with the first indices of `order`, shape (steps, batch size).

        Args:
            count: Number of these indices.
        """
        size = order.shape[1]

        def has_rows(step: Tensor) -> Tensor:
            return step * size < count

        def take_step(step: Tensor) -> list[Tensor]:
            batch = order[step]
            remaining = count - step * size
            self._train_step(
                tf.gather(x, batch),
                tf.gather(y, batch),
                tf.gather(weight, batch),
                tf.minimum(remaining, size),
            )
            return [step + 1]

        tf.while_loop(has_rows, take_step, [0])

    def _train_step(
        self,
        x: Tensor,
        y: Tensor,
        weight: Tensor,
        count: Tensor,
    ) -> None:
        """Take the step of Keras's `fit` with the first `count` rows of a batch.

        So a smaller last batch needs no graph of its own. A layer that computes with a
        whole batch, such as `BatchNormalization`, also reads the other rows.
        """
        model = self.model
        size = weight.shape[0]
        is_real = tf.cast(tf.range(size) < count, tf.float32)
        rows = tf.cast(count, tf.float32)
        with tf.GradientTape() as tape:
            y_pred = model(x, training=True)
            # The loss is a mean over `size` rows.
            real_weight = weight * is_real * (size / rows)
            loss = model.compute_loss(x, y, y_pred, real_weight, training=True)
        model.optimizer.apply(tape.gradient(loss, model.trainable_weights))
        (mean_loss,) = model.metrics
        mean_loss.update_state(loss, rows)

    def _take_mean_loss(self) -> Tensor:
        """Return the mean loss since the last call."""
        (mean_loss,) = self.model.metrics
        loss = mean_loss.result()
        mean_loss.reset_state()
        return loss


def handles(model: keras.Model) -> list[Tensor]:
    """Return the handles of all variables that a graph may read or change."""
    all_variables = variables(model) + model.metrics_variables
    return [variable.value.handle for variable in all_variables]


def variables(model: keras.Model) -> list[keras.Variable]:
    """Return all variables that training changes: layers, dropout and optimizer."""
    return model.variables + model.optimizer.variables


def get_state(model: keras.Model) -> list[np.ndarray]:
    """Return a copy of the `variables` of a model."""
    return [np.array(variable) for variable in variables(model)]


def set_state(model: keras.Model, state: Sequence[np.ndarray]) -> None:
    """Set the `variables` of a model to the state of a model with the same layers."""
    for variable, value in zip(variables(model), state, strict=True):
        variable.assign(value)


def _read_parts(dataset: Dataset, order: Iterable[int]) -> Iterator[Rows]:
    """Yield the parts in this order; the next one is read while the caller uses one."""
    return prefetch(dataset[index]() for index in order)
