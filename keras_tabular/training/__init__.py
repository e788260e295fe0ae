"""The training of an ensemble, in the order in which `stages/train.py` calls it.

How a model is scored or explained is not here.

- `setup`: read and preprocess the rows (`dataset`), draw `folds`, and build each `architecture`.
- `fit`: train the networks of each architecture on every fold, cycle by cycle, until another cycle
  does not help. A `trainer` runs the steps, an `optimizer` says how a network learns, and a
  `checkpoint` keeps each snapshot of a network.
- `ensemble`: weigh the snapshots, assemble them into one model, and describe both.
- `out_of_fold`: write and read the predictions of networks that have not learnt from the row.
- `forward_chaining`: do the same for earlier rows only, to predict later rows.
"""
