"""The training loop: every block of rows is one compiled graph of Keras's own train steps."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from stages.lib.backend import keras, tf
from stages.lib.checkpoint import Checkpoint
from stages.lib.stage import UserError

TEST_ROWS = 8192  # rows of a step that only scores: few steps, bounded memory

YES, NO = tf.constant(True), tf.constant(False)

Logs = dict[str, tf.Tensor]


class Rows(NamedTuple):
    """A block of prepared rows, as arrays or tensors.

    `x` (rows, width), `y` (rows, outputs), `weight` (rows,), all float32; `chosen` (n,), int32,
    the numbers of the rows to use, or None for all of them.
    """

    x: tf.Tensor
    y: tf.Tensor
    weight: tf.Tensor
    chosen: np.ndarray | None = None


class Blocks(Protocol):
    """Blocks of one table by their number: a list, or what reads each when it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Rows: ...


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


class Loop:
    """A compiled model and its graphs; it fits as often as it is asked to, compiled once.

    Args:
        model: compiled; its variables are what `fit` changes.
        batch_size: rows of a step; the last step of a block takes what is left.
    """

    def __init__(self, model: keras.Model, batch_size: int) -> None:
        self.model = model
        self._batch_size = batch_size

        # Traced once, for the full steps and the short last one.
        @tf.function(autograph=False)
        def train_step(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> None:
            model.train_step((x, y, weight))

        def steps_of(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> Callable[[tf.Tensor], None]:
            any_rows = [tf.TensorSpec([None, *part.shape[1:]]) for part in (x, y, weight)]
            do = train_step.get_concrete_function(*any_rows)
            return lambda n: do(tf.gather(x, n), tf.gather(y, n), tf.gather(weight, n))

        # Neither does a step unless `go`: so both can be compiled at the same time.
        def full_steps(
            go: tf.Tensor, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor
        ) -> None:
            size = min(batch_size, order.shape[0])
            count = order.shape[0] // size
            _in_batches(steps_of(x, y, weight), order, size, tf.where(go, count, 0))

        def last_step(
            go: tf.Tensor, x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor
        ) -> None:
            if order.shape[0]:
                step = steps_of(x, y, weight)

                def once() -> list[tf.Tensor]:
                    step(order)
                    return []

                tf.cond(go, once, list)

        def test(x: tf.Tensor, y: tf.Tensor, order: tf.Tensor) -> None:
            def step(n: tf.Tensor) -> None:
                model.test_step((tf.gather(x, n), tf.gather(y, n)))

            count, rest = divmod(order.shape[0], TEST_ROWS)
            if count:
                _in_batches(step, order, TEST_ROWS, count)
            if rest:
                step(order[-rest:])

        # Without `go` too it leaves the metrics as they were, at their start.
        def end_of_epoch(*tensors: tf.Tensor) -> tuple[Logs, Logs]:
            last_step(*tensors[:5])
            logs = _results(model)
            if len(tensors) == 5:
                return logs, {}
            test(*tensors[5:])
            return logs, _results(model)

        def predict(x: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
            return model(tf.gather(x, order), training=False)

        self._full, self._last, self._test, self._end, self._predict = (
            Graph(function) for function in (full_steps, last_step, test, end_of_epoch, predict)
        )

    def assign(self, model: keras.Model) -> None:
        """Start again from the state of another model of the same kind."""
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(variables(self.model), variables(model), strict=True):
            variable.assign(value)

    def fit(
        self,
        train: Blocks,
        validation: Blocks,
        *,
        epochs: int,
        seed: int,
        callbacks: list[keras.callbacks.Callback],
        checkpoint: Checkpoint | None = None,
    ) -> list[dict[str, float]]:
        """Train as `model.fit` does, without its work between the steps.

        Each epoch sees every chosen row once: the blocks and the rows within each in an order
        drawn from `seed` and the epoch's number. Callbacks get the events of the training and of
        its epochs; `model.stop_training` ends it. With a `checkpoint`, it goes on from the last
        epoch that this one holds.

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
            logs, scores = self._run(train, validation, np.random.default_rng([seed, number]))
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
            y, guess = tf.zeros((1, 1)), tf.zeros((1, *self.model.output_shape[1:]))
            self.model.compute_loss(y=y, y_pred=guess)
            self.model.compute_metrics(None, y, guess)
            self.model.reset_metrics()

    def _run(
        self, train: Blocks, validation: Blocks, rng: np.random.Generator
    ) -> tuple[Logs, Logs]:
        """One epoch: what its steps and its validation rows, if any, give."""
        # To start a graph takes as long as twenty small steps: of single blocks there are two.
        if len(train) == 1 and len(validation) < 2:
            watched = validation[0] if len(validation) else None
            return self._train(train[0], rng, self._end, *(_scored(watched) if watched else ()))
        for rows in read_ahead(train, rng.permutation(len(train))):
            self._train(rows, rng, self._last)
        logs = _results(self.model)
        if not len(validation):
            return logs, {}
        for rows in read_ahead(validation, range(len(validation))):
            self._test(*_scored(rows))
        return logs, _results(self.model)

    def _train(self, rows: Rows, rng: np.random.Generator, end: Graph, *watched: tf.Tensor) -> Any:
        """All steps of a block; what the graph of the last one returns."""
        order = rng.permutation(_chosen(rows))
        rest = len(order) % min(self._batch_size, len(order))
        full_steps, last_step = map(tf.constant, np.split(order, [len(order) - rest]))
        calls = (
            (self._full, (*rows[:3], full_steps)),
            (end, (*rows[:3], last_step, *watched)),
        )
        if any(graph.is_new(NO, *tensors) for graph, tensors in calls):
            with ThreadPoolExecutor() as compilers:
                for graph, tensors in calls:
                    graph.traced(NO, *tensors)
                    compilers.submit(graph, NO, *tensors)
        for graph, tensors in calls:
            result = graph(YES, *tensors)
        return result

    def predict(self, blocks: Blocks) -> list[np.ndarray]:
        """The outputs for the chosen rows of each block: float32, (rows, outputs)."""
        parts = read_ahead(blocks, range(len(blocks)))
        return [self._predict(rows.x, tf.constant(_chosen(rows))).numpy() for rows in parts]


def variables(model: keras.Model) -> list[keras.Variable]:
    """All that training changes: weights, seeds of dropout, the optimizer's variables."""
    of_layers = [variable for layer in model.layers for variable in layer.variables]
    return [*of_layers, *model.optimizer.variables]


def read_ahead(blocks: Blocks, order: Sequence[int] | np.ndarray) -> Iterator[Rows]:
    """The blocks in `order`, each read while the caller works on the one before it."""
    if len(order) < 2:
        yield from (blocks[number] for number in order)
        return
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(blocks.__getitem__, order[0])
        for number in order[1:]:
            block = waiting.result()
            waiting = reader.submit(blocks.__getitem__, number)
            yield block
        yield waiting.result()


def _in_batches(step: Callable[[tf.Tensor], None], order: tf.Tensor, size: int, count: Any) -> None:
    """In a graph: `step` for `size` row numbers of `order`, `count` times."""

    def body(number: tf.Tensor) -> list[tf.Tensor]:
        step(tf.slice(order, [number * size], [size]))
        return [number + 1]

    tf.while_loop(lambda number: number < count, body, [0])


def _results(model: keras.Model) -> Logs:
    """The loss and the metrics, which then begin again."""
    results = model.get_metrics_result()
    model.reset_metrics()
    return results


def _scored(rows: Rows) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return (*rows[:2], tf.constant(_chosen(rows)))


def _chosen(rows: Rows) -> np.ndarray:
    return np.arange(len(rows.x), dtype=np.int32) if rows.chosen is None else rows.chosen


def _check_finite(history: list[dict[str, float]]) -> None:
    logs = history[-1]
    if not all(map(math.isfinite, logs.values())):
        found = ", ".join(f"{name} {value}" for name, value in logs.items())
        raise UserError(
            f"training left the finite numbers in epoch {len(history)}: {found}; try a smaller "
            "train.learning_rate, train.normalization: standard, or another train.activation"
        )
