"""Networks of one architecture as one network, whose weights have a members axis.

One `EinsumDense` for all members takes as long to load and to trace as the `Dense` of
one.
"""

import re
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np

from keras_tabular.network.backend import keras

layers = keras.layers

# Random rows that a stacked network and its members predict.
N_ROWS = 16


def is_stackable(model: keras.Model) -> bool:
    """Return whether a stacked network predicts the same as its members.

    Args:
        model: A member, which gets random weights.
    """
    rng = np.random.default_rng(0)
    shapes = [weight.shape for weight in model.weights]
    members = [[rng.normal(0, 0.1, shape) for shape in shapes] for _ in range(2)]
    rows = keras.tree.map_structure(
        lambda x: rng.normal(size=(N_ROWS, *x.shape[1:])),
        model.input,
    )
    try:
        predictions = np.asarray(stack(model, members)(rows))
        by_member = []
        for weights in members:
            model.set_weights(weights)
            by_member.append(np.asarray(model(rows)))
        expected = np.stack(by_member, axis=1)  # (rows, members, outputs)
        return np.allclose(predictions, expected, rtol=1e-3, atol=1e-5)
    except Exception:  # a layer can refuse the axis of members in any way
        return False


def stack(model: keras.Model, weights: Sequence[Sequence[np.ndarray]]) -> keras.Model:
    """Build one model of all members, whose output is (rows, members, outputs).

    It has the inputs of `model`. Dense layers get the weights of all members. Any other
    layer has to work on the last axis or on each number by itself; `is_stackable` finds
    out. The stacked model has no `Dropout` and no regularizers, which do nothing after
    the training.

    Args:
        model: A member, or a model with the same layers.
        weights: Weights of each member, as `get_weights` returns them.
    """
    n_members = len(weights)
    stacked_weights = {
        id(variable): np.stack(arrays)
        for variable, *arrays in zip(model.weights, *weights, strict=True)
    }
    # The tensors that have the axis of members.
    stacked_ids = set()

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Do for all members what a layer or an operation does for one."""
        inputs = keras.tree.flatten(args)
        if isinstance(layer, layers.Dropout):
            return inputs[0]
        is_stacked = [id(value) in stacked_ids for value in inputs]
        if type(layer) in (layers.Dense, layers.EinsumDense):
            dense = _stacked_dense(layer, is_stacked[0], n_members)
            outputs = dense(inputs[0])
            dense.set_weights([stacked_weights[id(v)] for v in layer.weights])
        elif any(is_stacked):
            for number, value in enumerate(inputs):
                if isinstance(value, keras.KerasTensor) and not is_stacked[number]:
                    shared = keras.ops.expand_dims(value, 1)
                    inputs[number] = keras.ops.repeat(shared, n_members, axis=1)
            args = keras.tree.pack_sequence_as(args, inputs)
            outputs = _stacked_layer(layer, n_members)(*args, **kwargs)
        else:
            return layer(*args, **kwargs)
        stacked_ids.add(id(outputs))
        return outputs

    inputs = keras.tree.map_structure(
        lambda x: keras.Input(x.shape[1:]),
        model.input,
    )
    # `call` decides what becomes of a layer; it is not to be cloned before.
    return keras.models.clone_model(
        model,
        inputs,
        clone_function=lambda layer: layer,
        call_function=call,
    )


def _stacked_dense(
    layer: Any,
    has_members: bool,
    n_members: int,
) -> keras.layers.EinsumDense:
    """Build a dense layer for all members.

    Args:
        layer: The layer of one member.
        has_members: Whether the input has the axis of members.
        n_members: Number of members.
    """
    if isinstance(layer, layers.Dense):
        batch_axes = ascii_lowercase[: len(layer.input.shape) - 1]
        equation = f"{batch_axes}y,yz->{batch_axes}z"
        bias_axes = "z"
    else:
        equation = layer.equation
        bias_axes = layer.bias_axes
    x, kernel, product = re.split(",|->", equation)
    axis = min(set(ascii_lowercase) - set(equation))  # of the members
    # It follows that of the rows, and comes first in the weights.
    if has_members:
        x = x[0] + axis + x[1:]
    product = product[0] + axis + product[1:]
    return layers.EinsumDense(
        f"{x},{axis}{kernel}->{product}",
        (n_members, *layer.output.shape[1:]),
        activation=layer.activation,
        bias_axes=None if layer.bias is None else axis + bias_axes,
        name=layer.name,
    )


def _stacked_layer(layer: Any, n_members: int) -> Any:
    """Build a layer without weights, or an operation, for inputs of all members."""
    if isinstance(layer, layers.Flatten):
        return layers.Reshape((n_members, -1))
    if isinstance(layer, layers.Concatenate):
        return layers.Concatenate(axis=-1)
    return type(layer).from_config(layer.get_config())
