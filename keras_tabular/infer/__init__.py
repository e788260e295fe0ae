"""A first schema of a table, with questions to its owner; the stages read only the result."""
