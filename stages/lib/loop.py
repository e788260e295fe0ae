"""The training loop: every block of rows is one compiled graph of Keras's own train steps."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from stages.lib.backend import keras, tf
from stages.lib.checkpoint import Checkpoint
from stages.lib.stage import UserError

TEST_ROWS = 8192  # rows of a step that only scores: few steps, bounded memory

# Multiply-adds of a step's forward pass up to which XLA wins. Measured on two AVX-512 cores,
# microseconds a step with XLA and as a plain graph: 590 (batch 5, 8-8-6-1) 2 and 69,
# 37k (256, 8-16-1) 29 and 87, 150k (32, 8-64-64-1) 111 and 91, 590k (4096, 8-16-1) 388 and 649,
# 660k (256, 8-64-32-1) 428 and 158, 2.6M (16, 64-512-256-1) 2134 and 664.
SMALL_STEP = 600_000


def small_steps(batch_size: int, widths: Sequence[int]) -> bool:
    """Whether a step is small enough for XLA, which repeats on any CPU; else on the same CPU.

    Args:
        batch_size: rows of a step.
        widths: of the prepared columns, each hidden layer and the output.
    """
    return batch_size * sum(a * b for a, b in pairwise(widths)) <= SMALL_STEP


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
    """A `tf.function` that is found again by the shapes of its tensors alone.

    TensorFlow's own search for the traced function takes as long as an epoch of small steps.
    """

    def __init__(self, function: Callable[..., Any], *, xla: bool) -> None:
        self._function = tf.function(function, jit_compile=xla, autograph=False)
        self._traced: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def traced(self, *tensors: Any) -> Callable[..., Any]:
        """The graph for tensors of these shapes; each argument has one dtype in all calls."""
        shapes = tuple(tuple(tensor.shape) for tensor in tensors)
        if shapes not in self._traced:
            self._traced[shapes] = self._function.get_concrete_function(*tensors)
        return self._traced[shapes]

    def __call__(self, *tensors: Any) -> Any:
        return self.traced(*tensors)(*tensors)


class Loop:
    """A compiled model and its graphs; it fits as often as it is asked to, compiled once.

    Args:
        model: compiled; its variables are what `fit` changes.
        batch_size: rows of a step; the last step of a block takes what is left.
        xla: compile the graphs with XLA, see `small_steps`.
    """

    def __init__(self, model: keras.Model, *, batch_size: int, xla: bool) -> None:
        self.model = model
        self._xla = xla

        # Traced once, for the full steps and the short last one.
        @tf.function(autograph=False)
        def train_step(x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor) -> None:
            model.train_step((x, y, weight))

        def train(
            x: tf.Tensor, y: tf.Tensor, weight: tf.Tensor, order: tf.Tensor, first: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            any_rows = [tf.TensorSpec([None, *part.shape[1:]]) for part in (x, y, weight)]
            do = train_step.get_concrete_function(*any_rows)

            def step(n: tf.Tensor) -> None:
                do(tf.gather(x, n), tf.gather(y, n), tf.gather(weight, n))

            _when(first, model.reset_metrics)
            _in_batches(step, order, batch_size)
            return model.get_metrics_result()

        def test(
            x: tf.Tensor, y: tf.Tensor, order: tf.Tensor, first: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            def step(n: tf.Tensor) -> None:
                model.test_step((tf.gather(x, n), tf.gather(y, n)))

            _when(first, model.reset_metrics)
            _in_batches(step, order, TEST_ROWS)
            return model.get_metrics_result()

        def predict(x: tf.Tensor, order: tf.Tensor) -> tf.Tensor:
            return model(tf.gather(x, order), training=False)

        self._train, self._test, self._predict = (
            Graph(function, xla=xla) for function in (train, test, predict)
        )

    @property
    def variables(self) -> list[keras.Variable]:
        """All that training changes: weights, seeds of dropout, the optimizer's variables."""
        return variables(self.model)

    def assign(self, model: keras.Model) -> None:
        """Start again from the state of another model of the same kind."""
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(self.variables, variables(model), strict=True):
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
        self._prepare(train, validation)
        model.stop_training = False
        events = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs)
        events.on_train_begin()
        history: list[dict[str, float]] = []
        if checkpoint:
            history = checkpoint.restore(model, self.variables, callbacks)
        for number in range(len(history), epochs):
            if model.stop_training:
                break
            events.on_epoch_begin(number)
            rng = np.random.default_rng([seed, number])
            logs: dict[str, tf.Tensor] = {}
            for count, rows in enumerate(read_ahead(train, rng.permutation(len(train)))):
                order = _chosen(rows)[rng.permutation(len(_chosen(rows)))]
                logs = self._train(*rows[:3], tf.constant(order), tf.constant(count == 0))
            scores: dict[str, tf.Tensor] = {}
            for count, rows in enumerate(read_ahead(validation, range(len(validation)))):
                scores = self._test(*rows[:2], tf.constant(_chosen(rows)), tf.constant(count == 0))
            logs = logs | {f"val_{name}": score for name, score in scores.items()}
            history.append({name: float(value) for name, value in logs.items()})
            _check_finite(history)
            events.on_epoch_end(number, history[-1])
            if checkpoint:
                checkpoint.save(model, self.variables, callbacks, history)
        events.on_train_end(history[-1])
        if checkpoint:
            checkpoint.save(model, self.variables, callbacks, history, ended=True)
        return history

    def _prepare(self, train: Blocks, validation: Blocks) -> None:
        """Make what a graph cannot make, and trace one graph while XLA compiles the other."""
        if self.model.optimizer.built:
            return
        rows = train[0]
        self.model.optimizer.build(self.model.trainable_variables)
        guess = tf.zeros((1, *self.model.output_shape[1:]))
        self.model.compute_loss(y=rows.y[:1], y_pred=guess)
        self.model.compute_metrics(None, rows.y[:1], guess)
        if not len(validation):
            return
        first = tf.constant(True)
        held_out = (*validation[0][:2], tf.constant(_chosen(validation[0])), first)
        self._test.traced(*held_out)
        compiler = ThreadPoolExecutor(1)
        compiler.submit(self._test, *held_out)
        self._train.traced(*rows[:3], tf.constant(_chosen(rows)), first)
        # It changes the metrics alone, and at once: from there goes on a plain graph, or the second
        # block of an epoch.
        compiler.shutdown(wait=not self._xla or len(train) > 1)

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


# TensorFlow's own control flow, not Python's translated: half the time to trace.
def _when(condition: tf.Tensor, do: Callable[[], Any]) -> None:
    """In a graph: `if condition: do()`."""
    tf.cond(condition, lambda: [do()][1:], list)


def _in_batches(step: Callable[[tf.Tensor], None], order: tf.Tensor, size: int) -> None:
    """In a graph: `step` for each `size` row numbers of `order`, then for the rest."""
    rows = order.shape[0]
    size = min(size, rows)

    def body(number: tf.Tensor) -> list[tf.Tensor]:
        step(tf.slice(order, [number * size], [size]))
        return [number + 1]

    if rows == size:
        step(order)
        return
    tf.while_loop(lambda number: number < rows // size, body, [0])
    if rows % size:
        step(order[rows - rows % size :])


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
