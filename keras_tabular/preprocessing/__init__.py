"""Raw columns as what networks read."""
