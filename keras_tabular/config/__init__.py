"""The files params.yaml and data/schema.yaml; the tasks, and the names of metrics.

Nothing here reads a table; how scores are computed is in `evaluation`.
"""
