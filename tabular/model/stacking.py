"""Networks of one architecture as one, whose weights have an axis of members before their own.

One `EinsumDense` for all members takes as long to load and to trace as the `Dense` of one.
"""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np

from tabular.model.backend import keras
from tabular.model.exact import APPROXIMATE

layers = keras.layers
# Layers and operations that work on each number by itself.
ELEMENTWISE = (
    *APPROXIMATE,
    *("ReLU", "LeakyReLU", "Rescaling", "Relu", "Square", "Sqrt", "Negative", "Absolute"),
    *("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Average"),
)


class NotStackableError(Exception):
    """A layer has no stacked form; the message is its class."""


def stack(model: keras.Model, weights: Sequence[list[np.ndarray]]) -> keras.Model:
    """Build one model of all members: from what `model` reads to (rows, members, outputs).

    It has no `Dropout` and no regularizers, which do nothing after the training.

    Args:
        model: A member, or a model with the same layers.
        weights: Weights of each member, as `get_weights` returns them.

    Raises:
        NotStackableError: a layer is no `Dense` or `EinsumDense`, nor one of each number by itself.
    """
    count, stacked = len(weights), set[int]()  # the tensors that have the axis of members
    arrays = {
        id(variable): np.stack(of_members)
        for variable, of_members in zip(model.weights, zip(*weights, strict=True), strict=True)
    }

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        inputs = keras.tree.flatten(args)
        if not type(layer).__module__.startswith("keras."):  # which plain Keras cannot load
            raise NotStackableError(type(layer).__name__)
        if isinstance(layer, layers.Dropout):
            return inputs[0]
        if type(layer) in (layers.Dense, layers.EinsumDense):
            dense = _stacked_dense(layer, id(inputs[0]) in stacked, count)
            outputs = dense(inputs[0])
            dense.set_weights([arrays[id(variable)] for variable in layer.weights])
        elif stacked.intersection(map(id, inputs)):
            spread = [_for_members(one, id(one) in stacked, count) for one in inputs]
            outputs = _stacked(layer, count)(*keras.tree.pack_sequence_as(args, spread), **kwargs)
        else:
            _stacked(layer, count)  # raises where it has no such form
            return layer(*args, **kwargs)
        stacked.add(id(outputs))
        return outputs

    tensors = [keras.Input(tensor.shape[1:]) for tensor in model.inputs]
    return keras.models.clone_model(
        model,
        input_tensors=tensors if isinstance(model.input, list) else tensors[0],
        clone_function=lambda layer: layer,
        call_function=call,
    )


def _stacked_dense(layer: Any, apart: bool, count: int) -> keras.layers.EinsumDense:
    """Without its weights."""
    equation = getattr(layer, "equation", "")
    if isinstance(layer, layers.Dense):
        of_rows = ascii_lowercase[: len(layer.input.shape) - 1]
        equation = f"{of_rows}y,yz->{of_rows}z"
    x, kernel, output = equation.replace("->", ",").split(",")
    if "." in equation or x[0] != output[0] or layer.output.shape[1:].count(None):
        raise NotStackableError(f"{type(layer).__name__} {equation}")
    axis = next(letter for letter in ascii_lowercase if letter not in equation)
    bias = layer.bias_axes if isinstance(layer, layers.EinsumDense) else "z"
    return layers.EinsumDense(
        f"{x[0]}{axis if apart else ''}{x[1:]},{axis}{kernel}->{output[0]}{axis}{output[1:]}",
        (count, *layer.output.shape[1:]),
        activation=layer.activation,
        bias_axes=None if layer.bias is None else axis + bias,
        name=layer.name,
    )


def _for_members(value: Any, apart: bool, count: int) -> Any:
    """A tensor that all members share, once for each of them."""
    if apart or not isinstance(value, keras.KerasTensor):
        return value
    return keras.ops.repeat(keras.ops.expand_dims(value, 1), count, axis=1)


def _stacked(layer: Any, count: int) -> Any:
    """A layer without weights for tensors that have the axis of members."""
    if isinstance(layer, layers.Flatten):
        return layers.Reshape((count, -1))
    config, rank = layer.get_config(), len(keras.tree.flatten(layer.output)[0].shape)
    if isinstance(layer, layers.Concatenate) and layer.axis in (-1, rank - 1):
        return layers.Concatenate(axis=-1)
    if type(layer).__name__ not in ELEMENTWISE:
        raise NotStackableError(type(layer).__name__)
    return type(layer).from_config(config)


def is_stackable(model: keras.Model) -> bool:
    """Whether networks of these layers can be one."""
    try:
        stack(model, [model.get_weights()])
    except NotStackableError:
        return False
    return True
