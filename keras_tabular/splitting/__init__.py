"""Which row of a table is in train, validation or test; the folds are drawn in `training`."""
