"""A first schema of a table, with questions to its owner."""
