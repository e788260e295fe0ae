"""The files params.yaml and data/schema.yaml: their keys, types and checks.

Nothing here parses a table: `stage_inputs` only computes the hashes of its files.
"""
