"""Networks of one architecture as one network, whose weights have the members as an axis.

One `EinsumDense` for all members takes as long to load and to trace as the `Dense` of
one.
"""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np

from keras_tabular.network.backend import keras

layers = keras.layers
N_ROWS = 16  # random rows that a stacked network and its members predict


def is_stackable(model: keras.Model) -> bool:
    """Return whether a stacked network predicts the same as its members.

    Args:
        model: A member, which gets random weights.
    """
    rng = np.random.default_rng(0)
    members = [
        [rng.normal(0, 0.1, weight.shape) for weight in model.weights] for _ in range(2)
    ]
    rows = keras.tree.map_structure(
        lambda x: rng.normal(size=(N_ROWS, *x.shape[1:])),
        model.input,
    )
    try:
        predictions = np.asarray(stack(model, members)(rows))
        expected = []
        for weights in members:
            model.set_weights(weights)
            expected.append(np.asarray(model(rows)))
        return np.allclose(
            predictions,
            np.stack(expected, axis=1),
            rtol=1e-3,
            atol=1e-5,
        )
    except Exception:  # a layer can refuse the axis of members in any way
        return False


def stack(model: keras.Model, weights: Sequence[Sequence[np.ndarray]]) -> keras.Model:
    """Build one model of all members: from the inputs of `model` to (rows, members, outputs).

    Dense layers get the weights of all members. Any other layer has to work on the last
    axis or on each number by itself; `is_stackable` finds out. The stacked model has no
    `Dropout` and no regularizers, which do nothing after the training.

    Args:
        model: A member, or a model with the same layers.
        weights: Weights of each member, as `get_weights` returns them.
    """
    # of tensors with the axis of members
    n_members = len(weights)
    stacked_ids = set[int]()
    pairs = zip(model.weights, zip(*weights, strict=True), strict=True)
    stacked_weights = {id(variable): np.stack(arrays) for variable, arrays in pairs}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        inputs = keras.tree.flatten(args)
        if isinstance(layer, layers.Dropout):
            return inputs[0]
        if type(layer) in (layers.Dense, layers.EinsumDense):
            dense = _stacked_dense(layer, id(inputs[0]) in stacked_ids, n_members)
            outputs = dense(inputs[0])
            dense.set_weights(
                [stacked_weights[id(variable)] for variable in layer.weights],
            )
        elif stacked_ids.intersection(map(id, inputs)):
            for number, value in enumerate(inputs):
                if (
                    isinstance(value, keras.KerasTensor)
                    and id(value) not in stacked_ids
                ):
                    shared = keras.ops.expand_dims(value, 1)
                    inputs[number] = keras.ops.repeat(shared, n_members, axis=1)
            args = keras.tree.pack_sequence_as(args, inputs)
            outputs = _stacked_layer(layer, n_members)(*args, **kwargs)
        else:
            return layer(*args, **kwargs)
        stacked_ids.add(id(outputs))
        return outputs

    inputs = keras.tree.map_structure(lambda x: keras.Input(x.shape[1:]), model.input)
    return keras.models.clone_model(
        model,
        inputs,
        lambda layer: layer,
        call_function=call,
    )


def _stacked_dense(
    layer: Any,
    has_members: bool,
    n_members: int,
) -> keras.layers.EinsumDense:
    """Build a dense layer for all members; `has_members` says whether its input has their axis."""
    if isinstance(layer, layers.Dense):
        batch_axes = ascii_lowercase[: len(layer.input.shape) - 1]
        equation = f"{batch_axes}y,yz->{batch_axes}z"
        bias_axes = "z"
    else:
        equation = layer.equation
        bias_axes = layer.bias_axes
    x, kernel, output = equation.replace("->", ",").split(",")
    axis = next(letter for letter in ascii_lowercase if letter not in equation)
    return layers.EinsumDense(
        f"{x[0]}{axis if has_members else ''}{x[1:]},{axis}{kernel}->{output[0]}{axis}{output[1:]}",
        (n_members, *layer.output.shape[1:]),
        activation=layer.activation,
        bias_axes=None if layer.bias is None else axis + bias_axes,
        name=layer.name,
    )


def _stacked_layer(layer: Any, n_members: int) -> Any:
    """Build a layer without weights, or an operation, for inputs with the axis of members."""
    if isinstance(layer, layers.Flatten):
        return layers.Reshape((n_members, -1))
    if isinstance(layer, layers.Concatenate):
        return layers.Concatenate(axis=-1)
    return type(layer).from_config(layer.get_config())
