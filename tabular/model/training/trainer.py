"""The training loop: every part of a dataset is one compiled graph of Keras's own train steps."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
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
WARM_UP, STEP = tf.constant(True), tf.constant(False)
# Keras keeps the losses of a call in its layers, which models share: one thread at a time calls
# them outside of a graph.
TRACING = threading.RLock()
Logs = dict[str, tf.Tensor]


class Rows(NamedTuple):
    """The preprocessed rows of a part, as arrays or tensors.

    `x` (rows, width), `y` (rows, outputs), `weight` (rows,), all float32; `codes` (rows, columns),
    int32, the categories of the columns with target statistics, if there are any; `texts` (rows,
    folds, width), float32, what the text columns say where each fold is left out, if there are any;
    `indices` (n,), int32, those of the rows to use, or None for all of them.
    """

    x: tf.Tensor
    y: tf.Tensor
    weight: tf.Tensor
    codes: np.ndarray | None = None
    texts: np.ndarray | None = None
    indices: np.ndarray | None = None


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

    def is_new(self, *tensors: Any) -> bool:
        """Whether there is no graph for tensors of these shapes yet."""
        return _shapes(tensors) not in self._traced

    def traced(self, *tensors: Any) -> Callable[..., Any]:
        """The graph for tensors of these shapes; each argument has one dtype in all calls."""
        shapes = _shapes(tensors)
        with TRACING:
            if shapes not in self._traced:
                self._traced[shapes] = self._trace(tensors)
        return self._traced[shapes]

    def _trace(self, tensors: tuple[Any, ...]) -> Callable[..., Any]:
        traced = self._function.get_concrete_function(*tensors)
        places = {id(handle): place for place, handle in enumerate(handles(self._model))}
        for handle in traced.captured_inputs:
            if (place := places.get(id(handle))) is not None:
                traced.replace_capture_with_deferred_capture(
                    handle, partial(_handle, place), tf.TensorSpec([], tf.resource)
                )
        return traced

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
        self._model = model
        self._batch_size = batch_size

        @tf.function(autograph=False)  # traced once, for the full steps and the short last one
        def train_step(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> None:
            model.train_step((x, y, weight))

        self._train_step = train_step
        self._cancelled = threading.Event()
        self._build(model)

        def graph(function: Callable[..., Any]) -> Graph:
            return Graph(function, model)

        self._full, self._last = graph(self._full_steps), graph(self._last_step)
        self._test, self._end = graph(self._test_steps), graph(self._end_of_epoch)
        self._predict, self._some = graph(self._predict_step), graph(self._some_steps)

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

    def _some_steps(
        self, count: tf.Tensor, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor
    ) -> None:
        """The first `count` of `STEPS` steps: one graph for cycles of any length."""
        _in_batches(self._step(x, y, weight), order, order.shape[0] // STEPS, count)

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
            self._model.test_step((tf.gather(x, n), tf.gather(y, n)))

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
        logs = _results(self._model)
        if len(tensors) == 5:
            return logs, {}
        self._test_steps(*tensors[5:])
        return logs, _results(self._model)

    def _predict_step(self, x: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
        return self._model(tf.gather(x, order), training=False)

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
        self.use(model)
        events = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs)
        events.on_train_begin()
        history: list[dict[str, float]] = []
        if checkpoint:
            history = checkpoint.restore(model, variables(model), callbacks)
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
                checkpoint.save(model, variables(model), callbacks, history)
        events.on_train_end(history[-1])
        if checkpoint:
            checkpoint.save(model, variables(model), callbacks, history, ended=True)
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
        self.use(model)
        for rows, order, count in self._chunks(train, steps, np.random.default_rng(seed)):
            if self._cancelled.is_set():
                raise CancelledError
            self._some(tf.constant(count), *rows[:3], tf.constant(order))
        logs = {name: float(value) for name, value in _results(model).items()}
        _check_finite([logs])
        return logs

    def _chunks(
        self, train: Dataset, steps: int, rng: np.random.Generator
    ) -> Iterator[tuple[Rows, np.ndarray, int]]:
        """Rows, the indices of those in `STEPS` batches, and how many of these batches to use."""
        while steps:
            for rows in _read(train, rng.permutation(len(train))):
                if not steps:
                    return
                indices = _indices(rows)
                size = min(self._batch_size, len(indices))
                whole = len(indices) // size * size
                passes = math.ceil(steps * size / whole) if len(train) == 1 else 1
                order = np.concatenate([rng.permutation(indices)[:whole] for _ in range(passes)])
                batches = min(len(order) // size, steps)
                steps -= batches
                for start in range(0, batches, STEPS):
                    count = min(STEPS, batches - start)
                    some = order[start * size : (start + count) * size]
                    yield rows, np.resize(some, STEPS * size), count

    def use(self, model: keras.Model) -> None:
        """Let the graphs that this thread calls work on the variables of `model`."""
        with TRACING:
            self._build(model)
        HANDLES.set(handles(model))

    @staticmethod
    def _build(model: keras.Model) -> None:
        """Make the variables of the optimizer and the metrics, which a graph cannot make."""
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
            y, y_pred = tf.zeros((1, 1)), tf.zeros((1, *model.output_shape[1:]))
            model.compute_loss(y=y, y_pred=y_pred)
            model.compute_metrics(None, y, y_pred)
            model.reset_metrics()

    def _epoch(
        self, model: keras.Model, train: Dataset, validation: Dataset, rng: np.random.Generator
    ) -> tuple[Logs, Logs]:
        """One epoch: what its steps and its validation rows, if any, give."""
        # To start a graph takes as long as twenty small steps: of single parts there are two.
        if len(train) == 1 and len(validation) < 2:
            tested = _tested(validation[0]) if len(validation) else ()
            return self._train(train[0], rng, self._end, *tested)
        for rows in _read(train, rng.permutation(len(train))):
            self._train(rows, rng, self._last)
        logs = _results(model)
        if not len(validation):
            return logs, {}
        for rows in _read(validation, range(len(validation))):
            self._test(*_tested(rows))
        return logs, _results(model)

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
                    compilers.submit(copy_context().run, graph, WARM_UP, *tensors)
        for graph, tensors in calls:
            result = graph(STEP, *tensors)
        return result

    def predict(self, model: keras.Model, dataset: Dataset) -> list[np.ndarray]:
        """The outputs for the rows of each part: float32, (rows, outputs)."""
        self.use(model)
        parts = _read(dataset, range(len(dataset)))
        return [self._predict(rows.x, tf.constant(_indices(rows))).numpy() for rows in parts]


def handles(model: keras.Model) -> list[tf.Tensor]:
    """Of all variables that a graph of the model may read or change."""
    found = [*variables(model), *model.metrics_variables]
    return [variable.value.handle for variable in found]


def _handle(place: int) -> tf.Tensor:
    return HANDLES.get()[place]


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
            f"training diverged in epoch {len(history)}, NaN or infinite: {found}; try a smaller "
            "learning_rate or another activation in train.networks, or normalization: standard"
        )
