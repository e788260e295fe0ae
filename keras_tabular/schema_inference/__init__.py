"""A first schema of a table."""
