"""Keras, and the functions that turn the keys of a network into layers."""

from keras_tabular.network.backend import keras
from keras_tabular.network.features import (
    dense_arguments,
    embed_numbers,
    learn_scale,
    output_layer,
)

__all__ = ["dense_arguments", "embed_numbers", "keras", "learn_scale", "output_layer"]
