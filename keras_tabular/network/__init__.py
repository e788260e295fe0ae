"""Preprocessing and networks as Keras models, from raw columns to predictions.

How weights are learnt is in `training`.
"""
