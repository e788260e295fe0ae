"""The steps of a round of training, and predictions, as compiled graphs."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextvars import ContextVar
from typing import Any

import numpy as np

from keras_tabular.core.parallel import worker_count
from keras_tabular.networks.backend import keras, tf
from keras_tabular.table.parquet import prefetch
from keras_tabular.training.dataset import Dataset, Rows

GRAPH_STEPS = 30  # of a call, if a round is a number of steps
# Handles of the variables that the graphs called from here read and change.
HANDLES: ContextVar[list[tf.Tensor]] = ContextVar("HANDLES")
# Keras keeps the losses of a call in its layers, which models share: one thread at a time calls
# them outside of a graph.
TRACING = threading.RLock()


# Rows of a part, indices of their batches, (steps, batch size), and how many of these to use.
Batches = tuple[Rows, np.ndarray, int]


class Graph:
    """A function compiled by XLA, found again by the shapes of its tensors alone.

    TensorFlow's own search for the traced function takes as long as an epoch of small steps. The
    variables of `model` are replaced by those of `HANDLES` whenever it is called: so several models
    train at the same time with what was compiled once. Of the default's two kinds that takes 2.4
    seconds, and all steps of its 20 networks 1.3.
    """

    def __init__(self, function: Callable[..., Any], model: keras.Model) -> None:
        self._function = tf.function(function, jit_compile=True, autograph=False)
        self._traced: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._model = model

    def __call__(self, *tensors: Any) -> Any:
        """Run the graph for tensors of these shapes; an argument has one dtype in all calls."""
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        with TRACING:
            if shapes not in self._traced:
                traced = self._traced[shapes] = self._function.get_concrete_function(*tensors)
                captured = {id(handle) for handle in traced.captured_inputs}
                for place, handle in enumerate(handles(self._model)):
                    if id(handle) in captured:
                        traced.replace_capture_with_deferred_capture(
                            handle,
                            lambda place=place: HANDLES.get()[place],
                            tf.TensorSpec([], tf.resource),
                        )
        return self._traced[shapes](*tensors)


class Trainer:
    """The compiled graphs that train and predict with all networks of one architecture.

    Args:
        model: A compiled model from `Architecture.untrained`; the others have the same layers.
        batch_size: Number of rows of a step.

    Attributes:
        idle: Compiled models that no network uses at the moment. To build one takes as long as
            100 steps.
        cancelled: When it is set, each thread ends its training after its present steps.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.idle = deque[keras.Model](maxlen=worker_count())
        self.cancelled = threading.Event()
        self._model = model
        self._batch_size = batch_size
        self._train = Graph(self._train_steps, model)
        self._results = Graph(self._take_results, model)
        self._predict = Graph(lambda x, order: model(tf.gather(x, order), training=False), model)

    def train(
        self, model: keras.Model, dataset: Dataset, seed: Sequence[int], steps: int | None = None
    ) -> dict[str, float]:
        """Train for a round: an epoch, or a number of steps with whole batches.

        Args:
            model: Compiled model, whose `variables` change.
            dataset: Rows to learn from.
            seed: Seed of the order of the parts and of the rows within them.
            steps: Number of steps; None for an epoch, which sees every row once.

        Returns:
            `loss` and the compiled metrics, means over the round.

        Raises:
            CancelledError: `cancelled` was set.
        """
        HANDLES.set(handles(model))
        rng = np.random.default_rng(seed)
        batches = self._epoch(dataset, rng) if steps is None else self._steps(dataset, steps, rng)
        for rows, order, count in batches:
            if self.cancelled.is_set():
                raise CancelledError
            self._train(tf.constant(count), *rows[:3], tf.constant(order))
        return {name: float(value) for name, value in self._results().items()}

    def predict(self, model: keras.Model, dataset: Dataset) -> np.ndarray:
        """Predict the rows of all parts: float32, (rows, outputs)."""
        HANDLES.set(handles(model))
        parts = _read(dataset, range(len(dataset)))
        predictions = [self._predict(rows.x, tf.constant(rows.indices)).numpy() for rows in parts]
        return np.concatenate([np.empty((0, model.output_shape[1]), np.float32), *predictions])

    def _epoch(self, dataset: Dataset, rng: np.random.Generator) -> Iterator[Batches]:
        """Yield the batches of an epoch, part by part; the last batch of a part may be short."""
        for rows in _read(dataset, rng.permutation(len(dataset))):
            order = rng.permutation(rows.indices)
            size = min(self._batch_size, len(order))
            yield rows, np.resize(order, (math.ceil(len(order) / size), size)), len(order)

    def _steps(self, dataset: Dataset, steps: int, rng: np.random.Generator) -> Iterator[Batches]:
        """Yield whole batches for some steps, `GRAPH_STEPS` at a time: one graph for all cycles.

        The rows come in new orders until there are enough. Those that fill no whole batch of a
        part are left out, other ones each time.
        """
        while steps:
            for rows in _read(dataset, rng.permutation(len(dataset))):
                if not steps:
                    return
                size = min(self._batch_size, len(rows.indices))
                whole = len(rows.indices) // size * size
                passes = math.ceil(steps * size / whole) if len(dataset) == 1 else 1
                orders = [rng.permutation(rows.indices)[:whole] for _ in range(passes)]
                batches = np.concatenate(orders).reshape(-1, size)[:steps]
                steps -= len(batches)
                for start in range(0, len(batches), GRAPH_STEPS):
                    some = batches[start : start + GRAPH_STEPS]
                    yield rows, np.resize(some, (GRAPH_STEPS, size)), some.size

    def _train_steps(
        self, rows: tf.Tensor, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor
    ) -> None:
        """Take steps with the first `rows` indices of `order`, (steps, batch size)."""
        size = order.shape[1]

        def step(number: tf.Tensor) -> list[tf.Tensor]:
            n, count = order[number], tf.minimum(rows - number * size, size)
            self._train_step(tf.gather(x, n), tf.gather(y, n), tf.gather(weight, n), count)
            return [number + 1]

        tf.while_loop(lambda number: number * size < rows, step, [0])

    def _train_step(self, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, count: tf.Tensor) -> None:
        """Take Keras's step with the first `count` rows of a batch.

        So a short batch needs no graph of its own. A layer that looks at a batch, such as
        `BatchNormalization`, sees the other rows too.
        """
        model, size = self._model, weight.shape[0]
        real = tf.cast(tf.range(size) < count, tf.float32)
        rows = tf.cast(count, tf.float32)
        with tf.GradientTape() as tape:
            y_pred = model(x, training=True)
            loss = model.compute_loss(x, y, y_pred, weight * real * (size / rows), training=True)
        model.optimizer.apply(tape.gradient(loss, model.trainable_weights))
        mean_loss, *metrics = model.metrics
        mean_loss.update_state(loss, rows)
        for metric in metrics:
            metric.update_state(y, y_pred, weight * real)

    def _take_results(self) -> dict[str, tf.Tensor]:
        """Return the loss and the metrics since the last call."""
        results = self._model.get_metrics_result()
        self._model.reset_metrics()
        return results


def handles(model: keras.Model) -> list[tf.Tensor]:
    """Return the handles of all variables that a graph of the model may read or change."""
    return [variable.value.handle for variable in (*variables(model), *model.metrics_variables)]


def variables(model: keras.Model) -> list[keras.Variable]:
    """All that training changes: weights, seeds of dropout, the optimizer's variables."""
    of_layers = [variable for layer in model.layers for variable in layer.variables]
    return [*of_layers, *model.optimizer.variables]


def get_state(model: keras.Model) -> list[np.ndarray]:
    """Return a copy of the `variables` of a model."""
    return [np.array(variable) for variable in variables(model)]


def set_state(model: keras.Model, state: list[np.ndarray]) -> None:
    """Assign to a model what `get_state` returned for one with the same layers."""
    for variable, value in zip(variables(model), state, strict=True):
        variable.assign(value)


def _read(dataset: Dataset, order: Sequence[int] | np.ndarray) -> Iterator[Rows]:
    """The parts in `order`, each read while the caller works on the one before it."""
    return prefetch(dataset[index] for index in order)
