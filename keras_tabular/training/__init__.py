"""The training of an ensemble, in the order in which `stages/train.py` calls it.

How a model is calibrated, scored or explained is not here.

- `setup`: read and preprocess the rows (`dataset`), draw `folds`, and build each
  `architecture`.
- `rounds`: train the networks of each architecture on every fold, cycle by cycle, until
  another cycle does not help. A `trainer` runs the steps, and a `checkpoint` keeps each
  snapshot of a network. To predict later rows, do the same for earlier rows only.
- `ensemble`: weigh the snapshots, assemble them into one model, and describe both.
"""
