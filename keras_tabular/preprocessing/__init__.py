"""The preprocessing, from raw columns to what networks read."""
