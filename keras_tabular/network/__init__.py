"""Preprocessing and networks as Keras models, from raw columns to predictions.

The record of a training, which is a part of the model's file, is here too. How weights
are learnt is in `training`.
"""
