"""The network between the preprocessed columns and the output, as Keras layers."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tabular.model.backend import keras, tf
from tabular.params.train import LOSSES, Train
from tabular.schema import Schema

ops = keras.ops

# Multiply-adds of a step's forward pass up to which `FlatDense` takes its place: from there on
# it gets slow, and its graph large. Microseconds of a step with it, with dense layers, and with
# those in a graph without XLA, on two AVX-512 cores: 590 (batch 5, 8-8-6-1) 4, 9 and 81;
# 37k (256, 8-16-1) 24, 21 and 78; 150k (32, 8-64-64-1) 87, 17 and 95; 590k (4096, 8-16-1) 314, 316
# and 476; 660k (256, 8-64-32-1) 242, 69 and 131; 2.6M (16, 64-512-256-1) 1124, 266 and 646.
SMALL_STEP = 600_000


def small_steps(batch_size: int, widths: Sequence[int]) -> bool:
    """Whether a step is small enough for `FlatDense`, which repeats on any CPU.

    Args:
        batch_size: rows of a step.
        widths: of the preprocessed columns, each hidden layer and the output.
    """
    return batch_size * sum(a * b for a, b in pairwise(widths)) <= SMALL_STEP


class FlatDense(keras.layers.Layer):
    """Dense and dropout layers one after the other, with all their weights in one flat vector.

    The optimizer's operations are traced, compiled and run once and not for every kernel and bias;
    for an optimizer that works element by element the numbers are the same. Matrix products are
    written as multiply and sum: a product adds in an order that depends on the CPU, and under XLA
    this does not. It serves the training alone; the saved model has `Dense` layers.
    """

    def __init__(self, stack: list[keras.layers.Layer]) -> None:
        super().__init__()
        self.stack = stack

    def build(self, input_shape: tuple[int | None, int]) -> None:
        """Draw the first weights as the layers would, in their order."""
        self.shapes: list[tuple[int, ...]] = []
        first, penalty = [], []
        width = input_shape[-1]
        for layer in self.stack:
            if isinstance(layer, keras.layers.Dense):
                shape, width = (width, layer.units), layer.units
                self.shapes += [shape, (width,)]
                first += [layer.kernel_initializer(shape), np.zeros(width)]
                l2 = float(layer.kernel_regularizer.l2) if layer.kernel_regularizer else 0.0
                penalty += [np.full(shape, l2, np.float32), np.zeros(width, np.float32)]
        vector, squares = (
            np.concatenate([np.ravel(part) for part in parts]) for parts in (first, penalty)
        )
        self.vector = self.add_weight(
            shape=vector.shape,
            initializer=lambda shape, dtype: ops.cast(vector, dtype),
            regularizer=(lambda v: ops.sum(squares * ops.square(v))) if squares.any() else None,
        )
        self.built = True

    def parts(self, vector: Any) -> list[Any]:
        """Kernel and bias of each dense layer, cut from the vector."""
        cuts = tf.split(vector, [math.prod(shape) for shape in self.shapes])
        return [tf.reshape(cut, shape) for cut, shape in zip(cuts, self.shapes, strict=True)]

    def compute_output_shape(self, input_shape: tuple[int | None, int]) -> tuple[int | None, ...]:
        """Said here, or Keras calls the layer once to find out."""
        return (input_shape[0], *self.shapes[-1])

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        parts = iter(self.parts(self.vector))
        for layer in self.stack:
            if isinstance(layer, keras.layers.Dense):
                products = ops.expand_dims(inputs, 2) * next(parts)
                inputs = layer.activation(ops.sum(products, axis=1) + next(parts))
            else:
                inputs = layer(inputs, training=training)
        return inputs


def layers(train: Train, schema: Schema) -> list[keras.layers.Layer]:
    """A dense layer (and dropout) for each number of `train.units`, then the output.

    The output is the probability of the positive class, the probabilities of `schema.classes` in
    their order, or the standardised value of a regression.
    """
    stack: list[keras.layers.Layer] = []
    for number, units in enumerate(train.units, start=1):
        stack.append(
            keras.layers.Dense(
                units,
                activation=train.activation,
                kernel_initializer=train.kernel_initializer,
                kernel_regularizer=keras.regularizers.L2(train.l2) if train.l2 else None,
                name=f"hidden-{number}",
            )
        )
        if train.dropout:
            stack.append(keras.layers.Dropout(train.dropout, seed=train.seed + number))
    units, activation, name = {
        "binary": (1, "sigmoid", "output-probability"),
        "multiclass": (len(schema.classes), "softmax", "output-probabilities"),
        "regression": (1, "linear", "output-standardised"),
    }[schema.task]
    initializer = train.kernel_initializer
    output = keras.layers.Dense(units, activation, kernel_initializer=initializer, name=name)
    return [*stack, output]


def compiled(
    stack: list[keras.layers.Layer], width: int, train: Train, schema: Schema, *, flat: bool
) -> keras.Model:
    """A compiled Keras model of these layers over `width` preprocessed columns, see `FlatDense`."""
    model = keras.Sequential([keras.Input((width,)), *([FlatDense(stack)] if flat else stack)])
    optimizer = keras.optimizers.get(
        {"class_name": train.optimizer, "config": {"learning_rate": train.learning_rate}}
    )
    loss = LOSSES[schema.task][0] if train.loss == "auto" else train.loss
    metric = "mean_absolute_error" if schema.task == "regression" else "accuracy"
    model.compile(optimizer=optimizer, loss=loss, metrics=[metric], jit_compile=False)
    return model


def weights(model: keras.Model) -> list[np.ndarray]:
    """The weights of a compiled network as `get_weights` of its dense layers gives them."""
    layer = model.layers[0]
    if isinstance(layer, FlatDense):
        return [np.asarray(part) for part in layer.parts(layer.vector)]
    return model.get_weights()
