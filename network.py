"""The layers of a network. To change them, edit `build`; see `keras-tabular docs own-parts`."""

from typing import Any

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Embedding, ResolvedNetwork
from keras_tabular.network.backend import keras

layers = keras.layers


def build(
    inputs: list[keras.KerasTensor], network: ResolvedNetwork, schema: Schema
) -> keras.KerasTensor:
    """Build the layers of a network, and return its output.

    Args:
        inputs: The prepared columns, shape (rows, width). If `network.embedding` is set and there
            are number columns, there are two or three tensors instead: the numbers, shape
            (rows, numbers), their bins, shape (rows, numbers, bins), and the other columns, if any.
        network: The parameters of an element of `train.networks`, with a value for every `auto`;
            `network.options` has keys of your own.
        schema: The table, with its task and classes.

    Returns:
        The probability of the positive class, shape (rows, 1); the probabilities of
        `schema.classes`, shape (rows, classes); or, for regression, the standardised value, shape
        (rows, 1).
    """
    ntk = network.parametrization == "ntk"
    # An initializer draws its seed when it is made, so their order decides the first weights.
    bias: Any = keras.initializers.RandomNormal(stddev=1.0) if ntk else "zeros"
    x = inputs[0]
    if network.embedding and len(inputs) > 1:
        x = embed_numbers(inputs, network.embedding)
    if network.learnt_scale:
        x = layers.EinsumDense("bd,d->bd", x.shape[1:], kernel_initializer="ones", name="scale")(x)
    for number, units in enumerate(network.units, start=1):
        x = layers.Dense(
            units,
            activation=network.activation,
            kernel_initializer=network.kernel_initializer,
            bias_initializer=bias,
            kernel_regularizer=keras.regularizers.L2(network.l2) if network.l2 else None,
            name=f"hidden-{number}",
        )(x)
        if network.dropout:
            x = layers.Dropout(network.dropout)(x)
    units, activation, name = schema.learning_task.output_layer
    initializer = "zeros" if ntk else network.kernel_initializer
    return layers.Dense(units, activation, kernel_initializer=initializer, name=name)(x)


def embed_numbers(inputs: list[keras.KerasTensor], embedding: Embedding) -> keras.KerasTensor:
    """Embed each number by its value and its bins, and put the embeddings before other columns."""
    numbers, bins, *other_columns = inputs
    shape = (numbers.shape[1], embedding.units)
    normal = keras.initializers.RandomNormal(stddev=1.0)
    by_value = layers.EinsumDense(
        "bc,cu->bcu", shape, kernel_initializer=normal, name="value-embedding"
    )(numbers)
    by_bins = layers.EinsumDense(
        "bck,cku->bcu", shape, bias_axes="cu", kernel_initializer="zeros", name="bin-embedding"
    )(bins)
    return layers.Concatenate()([layers.Flatten()(by_value + by_bins), *other_columns])
