"""The training of an ensemble: a setup, folds, members, their weights, one model."""
