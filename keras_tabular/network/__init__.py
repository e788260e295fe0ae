"""The way from raw columns to an output: TensorFlow, preprocessing layers, exact products.

How weights are learnt is in `training`.
"""
