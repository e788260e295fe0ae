"""The training loop: the steps of a part of a dataset are one compiled graph."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from tabular.core.errors import UserError
from tabular.model.backend import keras, tf
from tabular.model.training.checkpoint import Checkpoint
from tabular.table.parquet import prefetch

STEPS = 30  # of a call, where a training is cycles
TEST_ROWS = 8192  # rows of a step that only scores: few steps, bounded memory
# Handles of the variables that the graphs called from here read and change.
HANDLES: ContextVar[list[tf.Tensor]] = ContextVar("HANDLES")
# Keras keeps the losses of a call in its layers, which models share: one thread at a time calls
# them outside of a graph.
TRACING = threading.RLock()
Logs = dict[str, tf.Tensor]


class Rows(NamedTuple):
    """The preprocessed rows of a part, as arrays or tensors.

    Attributes:
        x: (rows, width), float32.
        y: (rows, outputs), float32.
        weight: (rows,), float32.
        indices: The rows to use, (n,), int32.
    """

    x: tf.Tensor
    y: tf.Tensor
    weight: tf.Tensor
    indices: np.ndarray


class Dataset(Protocol):
    """The parts of a table by their index: a list, or what reads each when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Rows: ...


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
                self._traced[shapes] = self._trace(*tensors)
        return self._traced[shapes](*tensors)

    def _trace(self, *tensors: Any) -> Callable[..., Any]:
        traced = self._function.get_concrete_function(*tensors)
        places = {id(handle): place for place, handle in enumerate(handles(self._model))}
        for handle in traced.captured_inputs:
            if (place := places.get(id(handle))) is not None:
                traced.replace_capture_with_deferred_capture(
                    handle, partial(_current_handle, place), tf.TensorSpec([], tf.resource)
                )
        return traced


class Trainer:
    """A compiled model and its graphs; it fits as often as it is asked to, compiled once.

    Args:
        model: from `Architecture.untrained`; its variables are what `fit` changes.
        batch_size: rows of a step; the last step of a part takes what is left, and other rows to
            fill it with weight 0.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self._model = model
        self._batch_size = batch_size
        self._cancelled = threading.Event()
        self._steps = Graph(self._train_steps, model)
        self._test = Graph(self._test_steps, model)
        self._end = Graph(self._end_of_epoch, model)
        self._predict = Graph(lambda x, order: model(tf.gather(x, order), training=False), model)

    def _train_steps(
        self, rows: tf.Tensor, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor
    ) -> None:
        """Steps with the first `rows` indices of `order`, (steps, batch size)."""
        size = order.shape[1]

        def step(number: tf.Tensor) -> None:
            n, count = order[number], tf.minimum(rows - number * size, size)
            self._train_step(tf.gather(x, n), tf.gather(y, n), tf.gather(weight, n), count)

        _repeat(step, (rows + size - 1) // size)

    def _train_step(self, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, count: tf.Tensor) -> None:
        """Keras's, of the first `count` rows of a batch: a short one needs no graph of its own.

        A layer that looks at a batch, such as `BatchNormalization`, sees the others too.
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

    def _test_steps(self, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor) -> None:
        def step(n: tf.Tensor) -> None:
            self._model.test_step((tf.gather(x, n), tf.gather(y, n), tf.gather(weight, n)))

        count, rest = divmod(order.shape[0], TEST_ROWS)
        if count:
            _repeat(lambda i: step(tf.slice(order, [i * TEST_ROWS], [TEST_ROWS])), count)
        if rest:
            step(order[-rest:])

    def _end_of_epoch(self, *validation: tf.Tensor) -> tuple[Logs, Logs]:
        logs = _results(self._model)
        self._test_steps(*validation)
        return logs, _results(self._model)

    def cancel(self) -> None:
        """Let every `fit` in another thread end after its epoch, with a `CancelledError`."""
        self._cancelled.set()

    def fit(
        self,
        model: keras.Model,
        train: Dataset,
        validation: Dataset,
        *,
        epochs: int,
        seed: int,
        callbacks: list[keras.callbacks.Callback],
        checkpoint: Checkpoint | None = None,
    ) -> list[dict[str, float]]:
        """Train as `model.fit` does, without its work between the steps.

        Each epoch sees every row once: the parts and the rows within each in an order drawn from
        `seed` and the epoch's number. Callbacks get the events of the training and of its epochs;
        `model.stop_training` ends it. With a `checkpoint`, it goes on from the last epoch that
        this one holds.

        Returns:
            The logs of each epoch: `loss`, the compiled metrics, and the same with `val_` where
            there are validation rows.

        Raises:
            UserError: a loss is not finite; the message names the epoch.
        """
        model.stop_training = False
        HANDLES.set(handles(model))
        events = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs)
        events.on_train_begin()
        history = checkpoint.restore(variables(model), callbacks) if checkpoint else []
        for number in range(len(history), epochs):
            if model.stop_training:
                break
            if self._cancelled.is_set():
                raise CancelledError
            events.on_epoch_begin(number)
            rng = np.random.default_rng([seed, number])
            logs, scores = self._epoch(model, train, validation, rng)
            logs = logs | {f"val_{name}": score for name, score in scores.items()}
            history.append({name: float(value) for name, value in logs.items()})
            _check_finite(history)
            events.on_epoch_end(number, history[-1])
            if checkpoint:
                checkpoint.save(variables(model), history, callbacks)
        events.on_train_end(history[-1])
        if checkpoint:
            checkpoint.save(variables(model), history, callbacks, ended=True)
        return history

    def fit_steps(
        self, model: keras.Model, train: Dataset, steps: int, seed: Sequence[int]
    ) -> dict[str, float]:
        """Train for some steps, each of a whole batch.

        The rows come in orders drawn from `seed`, again and again until there are enough; those
        that fill no batch of a part are left out, other ones each time.

        Returns:
            `loss` and the compiled metrics, means over the steps.

        Raises:
            UserError: the loss is not finite.
        """
        HANDLES.set(handles(model))
        for rows, order, count in self._chunks(train, steps, np.random.default_rng(seed)):
            if self._cancelled.is_set():
                raise CancelledError
            self._steps(tf.constant(count * order.shape[1]), *rows[:3], tf.constant(order))
        logs = {name: float(value) for name, value in _results(model).items()}
        _check_finite([logs])
        return logs

    def _chunks(
        self, train: Dataset, steps: int, rng: np.random.Generator
    ) -> Iterator[tuple[Rows, np.ndarray, int]]:
        """Rows, the indices of those in `STEPS` batches, and how many of these to use.

        So there is one graph for cycles of any length.
        """
        while steps:
            for rows in _read(train, rng.permutation(len(train))):
                if not steps:
                    return
                indices = rows.indices
                size = min(self._batch_size, len(indices))
                whole = len(indices) // size * size
                passes = math.ceil(steps * size / whole) if len(train) == 1 else 1
                order = np.concatenate([rng.permutation(indices)[:whole] for _ in range(passes)])
                batches = min(len(order) // size, steps)
                steps -= batches
                for start in range(0, batches, STEPS):
                    count = min(STEPS, batches - start)
                    some = order[start * size : (start + count) * size]
                    yield rows, np.resize(some, (STEPS, size)), count

    def _epoch(
        self, model: keras.Model, train: Dataset, validation: Dataset, rng: np.random.Generator
    ) -> tuple[Logs, Logs]:
        """Train for an epoch, and return the logs of the training and of the validation rows."""
        for rows in _read(train, rng.permutation(len(train))):
            order = rng.permutation(rows.indices)
            size = min(self._batch_size, len(order))
            batches = np.resize(order, (math.ceil(len(order) / size), size))
            self._steps(tf.constant(len(order)), *rows[:3], tf.constant(batches))
        if len(train) == len(validation) == 1:  # to start a graph takes as long as twenty steps
            rows = validation[0]
            return self._end(*rows[:3], tf.constant(rows.indices))
        logs = _results(model)
        for rows in _read(validation, range(len(validation))):
            self._test(*rows[:3], tf.constant(rows.indices))
        return logs, _results(model) if len(validation) else {}

    def predict(self, model: keras.Model, dataset: Dataset) -> list[np.ndarray]:
        """The outputs for the rows of each part: float32, (rows, outputs)."""
        HANDLES.set(handles(model))
        parts = _read(dataset, range(len(dataset)))
        return [self._predict(rows.x, tf.constant(rows.indices)).numpy() for rows in parts]


def handles(model: keras.Model) -> list[tf.Tensor]:
    """Return the handles of all variables that a graph of the model may read or change."""
    return [variable.value.handle for variable in (*variables(model), *model.metrics_variables)]


def _current_handle(place: int) -> tf.Tensor:
    return HANDLES.get()[place]


def variables(model: keras.Model) -> list[keras.Variable]:
    """All that training changes: weights, seeds of dropout, the optimizer's variables."""
    of_layers = [variable for layer in model.layers for variable in layer.variables]
    return [*of_layers, *model.optimizer.variables]


def _read(dataset: Dataset, order: Sequence[int] | np.ndarray) -> Iterator[Rows]:
    """The parts in `order`, each read while the caller works on the one before it."""
    return prefetch(dataset[index] for index in order)


def _repeat(step: Callable[[tf.Tensor], None], count: Any) -> None:
    """Call `step` in a graph for each number below `count`."""

    def body(number: tf.Tensor) -> list[tf.Tensor]:
        step(number)
        return [number + 1]

    tf.while_loop(lambda number: number < count, body, [0])


def _results(model: keras.Model) -> Logs:
    """Return the loss and the metrics, and reset them."""
    results = model.get_metrics_result()
    model.reset_metrics()
    return results


def _check_finite(history: list[dict[str, float]]) -> None:
    logs = history[-1]
    if not all(map(math.isfinite, logs.values())):
        values = ", ".join(f"{name} {value}" for name, value in logs.items())
        raise UserError(
            f"training diverged in epoch {len(history)}, NaN or infinite: {values}; try a smaller "
            "learning_rate or another activation in train.networks, or normalization: standard"
        )
