"""The files params.yaml and data/schema.yaml, typed and checked; nothing that reads a table."""
