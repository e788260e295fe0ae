"""The files params.yaml and data/schema.yaml: their keys, types and checks.

Nothing here reads a table.
"""
