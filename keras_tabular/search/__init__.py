"""A search for parameters of `train`, scored by cross-validation; test rows have no part in it."""
