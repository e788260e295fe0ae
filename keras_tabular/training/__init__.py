"""The training of an ensemble, in the order in which `stages/train.py` calls it.

- `setup`: read and preprocess the rows (`dataset`), draw `folds`, and build each `architecture`.
- `fit`: train the networks of each architecture on every fold, cycle by cycle, until another cycle
  does not help. A `trainer` runs the steps, and a `checkpoint` keeps each snapshot of a network.
- `ensemble`: weigh the snapshots, assemble them into one model, and save it.
- `forward_chaining`: do the same for earlier rows only, to predict later rows.
"""
