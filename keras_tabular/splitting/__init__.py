"""The subset of each row of a table: train, validation or test; `training` draws the folds."""
