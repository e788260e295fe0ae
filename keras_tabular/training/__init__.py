"""The training of an ensemble, in the order in which `stages/train.py` calls it.

- `setup`: preprocess the training rows, and draw their `folds`.
- `fit`: train each `architecture` on every fold, until another round does not help. A `trainer`
  runs the rounds of a network, and a `checkpoint` holds its results.
- `ensemble`: weigh the networks, assemble them into one model, and save it.
- `forward_chaining`: do the same for earlier rows, to predict later ones.
"""
