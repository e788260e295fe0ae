"""The training loop: every part of a dataset is one compiled graph of Keras's own train steps."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from tabular.errors import UserError
from tabular.model.backend import keras, tf
from tabular.model.checkpoint import Checkpoint
from tabular.table.parquet import prefetch

TEST_ROWS = 8192  # rows of a step that only scores: few steps, bounded memory

WARM_UP, STEP = tf.constant(True), tf.constant(False)

Logs = dict[str, tf.Tensor]


class Rows(NamedTuple):
    """The preprocessed rows of a part, as arrays or tensors.

    `x` (rows, width), `y` (rows, outputs), `weight` (rows,), all float32; `indices` (n,), int32,
    those of the rows to use, or None for all of them.
    """

    x: tf.Tensor
    y: tf.Tensor
    weight: tf.Tensor
    indices: np.ndarray | None = None


class Dataset(Protocol):
    """The parts of a table by their index: a list, or what reads each when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Rows: ...


class Graph:
    """A function compiled by XLA, found again by the shapes of its tensors alone.

    TensorFlow's own search for the traced function takes as long as an epoch of small steps.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = tf.function(function, jit_compile=True, autograph=False)
        self._traced: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def is_new(self, *tensors: Any) -> bool:
        """Whether there is no graph for tensors of these shapes yet."""
        return _shapes(tensors) not in self._traced

    def traced(self, *tensors: Any) -> Callable[..., Any]:
        """The graph for tensors of these shapes; each argument has one dtype in all calls."""
        shapes = _shapes(tensors)
        if shapes not in self._traced:
            self._traced[shapes] = self._function.get_concrete_function(*tensors)
        return self._traced[shapes]

    def __call__(self, *tensors: Any) -> Any:
        return self.traced(*tensors)(*tensors)


def _shapes(tensors: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tensor.shape) for tensor in tensors)


class Trainer:
    """A compiled model and its graphs; it fits as often as it is asked to, compiled once.

    The graphs of training steps take `warm_up` first: with True they are compiled and do no step,
    so that two of them can be compiled at the same time.

    Args:
        model: compiled; its variables are what `fit` changes.
        batch_size: rows of a step; the last step of a part takes what is left.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.model = model
        self._batch_size = batch_size

        @tf.function(autograph=False)  # traced once, for the full steps and the short last one
        def train_step(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> None:
            model.train_step((x, y, weight))

        self._train_step = train_step
        self._full, self._last = Graph(self._full_steps), Graph(self._last_step)
        self._test, self._end = Graph(self._test_steps), Graph(self._end_of_epoch)
        self._predict = Graph(self._predict_step)

    def _step(self, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> Callable[[tf.Tensor], None]:
        """In a graph: what does a training step with the rows of some indices."""
        any_rows = [tf.TensorSpec([None, *part.shape[1:]]) for part in (x, y, weight)]
        step = self._train_step.get_concrete_function(*any_rows)
        return lambda n: step(tf.gather(x, n), tf.gather(y, n), tf.gather(weight, n))

    def _full_steps(
        self, warm_up: tf.Tensor, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor
    ) -> None:
        size = min(self._batch_size, order.shape[0])
        count = order.shape[0] // size
        _in_batches(self._step(x, y, weight), order, size, tf.where(warm_up, 0, count))

    def _last_step(
        self, warm_up: tf.Tensor, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor
    ) -> None:
        if order.shape[0]:
            step = self._step(x, y, weight)

            def once() -> list[tf.Tensor]:
                step(order)
                return []

            tf.cond(warm_up, list, once)

    def _test_steps(self, x: tf.Tensor, y: tf.Tensor, order: tf.Tensor) -> None:
        def step(n: tf.Tensor) -> None:
            self.model.test_step((tf.gather(x, n), tf.gather(y, n)))

        count, rest = divmod(order.shape[0], TEST_ROWS)
        if count:
            _in_batches(step, order, TEST_ROWS, count)
        if rest:
            step(order[-rest:])

    def _end_of_epoch(self, *tensors: tf.Tensor) -> tuple[Logs, Logs]:
        """The last step, then the validation rows if there are any.

        A warm-up too leaves the metrics as they were, at their start.
        """
        self._last_step(*tensors[:5])
        logs = _results(self.model)
        if len(tensors) == 5:
            return logs, {}
        self._test_steps(*tensors[5:])
        return logs, _results(self.model)

    def _predict_step(self, x: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
        return self.model(tf.gather(x, order), training=False)

    def assign(self, model: keras.Model) -> None:
        """Start again from the state of another model of the same kind."""
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(variables(self.model), variables(model), strict=True):
            variable.assign(value)

    def fit(
        self,
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
        model = self.model
        model.stop_training = False
        self._build()
        events = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs)
        events.on_train_begin()
        history: list[dict[str, float]] = []
        if checkpoint:
            history = checkpoint.restore(model, variables(model), callbacks)
        for number in range(len(history), epochs):
            if model.stop_training:
                break
            events.on_epoch_begin(number)
            logs, scores = self._epoch(train, validation, np.random.default_rng([seed, number]))
            logs = logs | {f"val_{name}": score for name, score in scores.items()}
            history.append({name: float(value) for name, value in logs.items()})
            _check_finite(history)
            events.on_epoch_end(number, history[-1])
            if checkpoint:
                checkpoint.save(model, variables(model), callbacks, history)
        events.on_train_end(history[-1])
        if checkpoint:
            checkpoint.save(model, variables(model), callbacks, history, ended=True)
        return history

    def _build(self) -> None:
        """Make the variables of the optimizer and the metrics, which a graph cannot make."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
            y, y_pred = tf.zeros((1, 1)), tf.zeros((1, *self.model.output_shape[1:]))
            self.model.compute_loss(y=y, y_pred=y_pred)
            self.model.compute_metrics(None, y, y_pred)
            self.model.reset_metrics()

    def _epoch(
        self, train: Dataset, validation: Dataset, rng: np.random.Generator
    ) -> tuple[Logs, Logs]:
        """One epoch: what its steps and its validation rows, if any, give."""
        # To start a graph takes as long as twenty small steps: of single parts there are two.
        if len(train) == 1 and len(validation) < 2:
            tested = _tested(validation[0]) if len(validation) else ()
            return self._train(train[0], rng, self._end, *tested)
        for rows in _read(train, rng.permutation(len(train))):
            self._train(rows, rng, self._last)
        logs = _results(self.model)
        if not len(validation):
            return logs, {}
        for rows in _read(validation, range(len(validation))):
            self._test(*_tested(rows))
        return logs, _results(self.model)

    def _train(self, rows: Rows, rng: np.random.Generator, end: Graph, *tested: tf.Tensor) -> Any:
        """All steps of a part; what the graph of the last one returns."""
        order = rng.permutation(_indices(rows))
        rest = len(order) % min(self._batch_size, len(order))
        full_steps, last_step = map(tf.constant, np.split(order, [len(order) - rest]))
        calls = (
            (self._full, (*rows[:3], full_steps)),
            (end, (*rows[:3], last_step, *tested)),
        )
        if any(graph.is_new(WARM_UP, *tensors) for graph, tensors in calls):
            with ThreadPoolExecutor() as compilers:
                for graph, tensors in calls:
                    graph.traced(WARM_UP, *tensors)
                    compilers.submit(graph, WARM_UP, *tensors)
        for graph, tensors in calls:
            result = graph(STEP, *tensors)
        return result

    def predict(self, dataset: Dataset) -> list[np.ndarray]:
        """The outputs for the rows of each part: float32, (rows, outputs)."""
        parts = _read(dataset, range(len(dataset)))
        return [self._predict(rows.x, tf.constant(_indices(rows))).numpy() for rows in parts]


def variables(model: keras.Model) -> list[keras.Variable]:
    """All that training changes: weights, seeds of dropout, the optimizer's variables."""
    of_layers = [variable for layer in model.layers for variable in layer.variables]
    return [*of_layers, *model.optimizer.variables]


def _read(dataset: Dataset, order: Sequence[int] | np.ndarray) -> Iterator[Rows]:
    """The parts in `order`, each read while the caller works on the one before it."""
    return prefetch(dataset[index] for index in order)


def _in_batches(step: Callable[[tf.Tensor], None], order: tf.Tensor, size: int, count: Any) -> None:
    """In a graph: `step` for `size` indices of `order`, `count` times."""

    def body(number: tf.Tensor) -> list[tf.Tensor]:
        step(tf.slice(order, [number * size], [size]))
        return [number + 1]

    tf.while_loop(lambda number: number < count, body, [0])


def _results(model: keras.Model) -> Logs:
    """The loss and the metrics, which then begin again."""
    results = model.get_metrics_result()
    model.reset_metrics()
    return results


def _tested(rows: Rows) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return (*rows[:2], tf.constant(_indices(rows)))


def _indices(rows: Rows) -> np.ndarray:
    return np.arange(len(rows.x), dtype=np.int32) if rows.indices is None else rows.indices


def _check_finite(history: list[dict[str, float]]) -> None:
    logs = history[-1]
    if not all(map(math.isfinite, logs.values())):
        found = ", ".join(f"{name} {value}" for name, value in logs.items())
        raise UserError(
            f"training left the finite numbers in epoch {len(history)}: {found}; try a smaller "
            "train.learning_rate, train.normalization: standard, or another train.activation"
        )
