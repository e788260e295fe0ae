"""The training of an ensemble.

How a model is calibrated, scored or explained is not here. `train.train_model` does
everything that is, in this order:

- `setup`: read and preprocess the rows (`dataset`), draw `folds`, and build each
  `architecture`.
- `rounds`: train the networks of each architecture on every fold, cycle by cycle, until
  another cycle does not help. A `trainer` runs the steps, and a `checkpoint` keeps each
  snapshot of a network.
- `ensemble`: weigh the snapshots, assemble them into one model, and describe both.
"""
