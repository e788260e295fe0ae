"""The layers of a network.

To change them, edit `build`; see `keras-tabular docs own-parts`.
"""

from keras_tabular.own_parts import ResolvedNetwork, Schema
from keras_tabular.own_parts.layers import (
    dense_arguments,
    embed_numbers,
    keras,
    learn_scale,
    output_layer,
)

layers = keras.layers


def build(
    inputs: list[keras.KerasTensor],
    network: ResolvedNetwork,
    schema: Schema,
) -> keras.KerasTensor:
    """Connect the layers of a network, from the prepared columns to the output.

    The library finds the layer of `learn_scale` by its name and its equation. If you
    write your own, see the docstring of `learn_scale`.

    Args:
        inputs: The prepared columns, shape (rows, width). If `network.embedding` is set
            and there are number columns, there are two or three tensors instead: the
            numbers, shape (rows, numbers), their bins, shape (rows, numbers, bins), and
            the other columns, if any.
        network: The parameters of an element of `train.networks`, with a value for
            every `auto`; `network.options` has keys of your own.
        schema: The table, with its task and classes.

    Returns:
        The probability of the positive class, shape (rows, 1); the probabilities of
        `schema.classes`, shape (rows, classes); or, for regression, the standardised
        value, shape (rows, 1).
    """
    arguments = dense_arguments(network)
    x = embed_numbers(inputs, network)
    x = learn_scale(x, network)
    for number, units in enumerate(network.units, start=1):
        x = layers.Dense(
            units,
            network.activation,
            name=f"hidden-{number}",
            **arguments,
        )(x)
        x = layers.Dropout(network.dropout)(x)
    return output_layer(network, schema)(x)
