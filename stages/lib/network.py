"""The network between the prepared columns and the output, as Keras layers."""

from typing import Any

import numpy as np

from stages.lib.backend import keras
from stages.lib.params import LOSSES, Data, Train

ops = keras.ops


class OneVector(keras.layers.Layer):
    """Dense and dropout layers one after the other, with all their weights in one vector.

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
        self.ends = np.cumsum([np.prod(shape) for shape in self.shapes])
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
        cuts = ops.split(vector, self.ends[:-1].tolist())
        return [ops.reshape(cut, shape) for cut, shape in zip(cuts, self.shapes, strict=True)]

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        parts = iter(self.parts(self.vector))
        for layer in self.stack:
            if isinstance(layer, keras.layers.Dense):
                products = ops.expand_dims(inputs, 2) * next(parts)
                inputs = layer.activation(ops.sum(products, axis=1) + next(parts))
            else:
                inputs = layer(inputs, training=training)
        return inputs


def layers(train: Train, data: Data) -> list[keras.layers.Layer]:
    """A dense layer (and dropout) for each number of `train.units`, then the output.

    The output is the probability of the positive class, the probabilities of `data.classes` in
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
        "multiclass": (len(data.classes), "softmax", "output-probabilities"),
        "regression": (1, "linear", "output-standardised"),
    }[data.task]
    initializer = train.kernel_initializer
    output = keras.layers.Dense(units, activation, kernel_initializer=initializer, name=name)
    return [*stack, output]


def compiled(
    stack: list[keras.layers.Layer], width: int, train: Train, data: Data, *, one_vector: bool
) -> keras.Model:
    """A compiled Keras model of these layers over `width` prepared columns, see `OneVector`."""
    model = keras.Sequential(
        [keras.Input((width,)), *([OneVector(stack)] if one_vector else stack)]
    )
    optimizer = keras.optimizers.get(
        {"class_name": train.optimizer, "config": {"learning_rate": train.learning_rate}}
    )
    loss = LOSSES[data.task][0] if train.loss == "auto" else train.loss
    metric = "mean_absolute_error" if data.task == "regression" else "accuracy"
    model.compile(optimizer=optimizer, loss=loss, metrics=[metric], jit_compile=False)
    return model


def weights(model: keras.Model) -> list[np.ndarray]:
    """The weights of a compiled network as `get_weights` of its dense layers gives them."""
    layer = model.layers[0]
    if isinstance(layer, OneVector):
        return [np.asarray(part) for part in layer.parts(layer.vector)]
    return model.get_weights()
